/*
 * What berm's states say: which programs sandboxes were made with, and which of them live. States
 * lie at ROOT/ID, or at ROOT/NAMESPACE/ID where a container runtime has several. They are root's
 * own, and only read.
 */
#include "agent/node/used.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { STATE_MAX = 1 << 20, DEPTH = 2 };

struct walk {
    int (*fn)(void *ctx, int dirfd, const char *id);
    void *ctx;
};

static int walk(const struct walk *w, int fd, const char *name, int depth)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    int own, r = 0;
    struct dirent *d;

    if (faccessat(fd, "state.json", F_OK, 0) == 0 || faccessat(fd, "exit.json", F_OK, 0) == 0)
        return w->fn(w->ctx, fd, name);
    own = depth < DEPTH ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    dir = own < 0 ? NULL : fdopendir(own);
    if (own >= 0 && !dir)
        (void)close(own);
    while (r == 0 && dir && (d = readdir(dir))) {
        CLEANUP(close_fd) int sub = -1;

        if (d->d_name[0] == '.')
            continue;
        sub = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (sub >= 0)
            r = walk(w, sub, d->d_name, depth + 1);
    }
    return r;
}

static int each_state(const char *root, const struct walk *w)
{
    CLEANUP(close_fd) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 ? walk(w, fd, "", 0) : errno == ENOENT ? 0 : -errno;
}

struct search {
    const char *dir;
    size_t size;
};

/* One that can't be read, or names none, may have been made with any. */
static int is_of(void *ctx, int dirfd, const char *id)
{
    CLEANUP(free_ptr) char *text = NULL;
    const struct search *s = ctx;
    const char *program;
    json_t *state;
    size_t size;
    int r;

    (void)id;
    if (file_read_all(dirfd, "state.json", STATE_MAX, &text, &size, NULL) < 0)
        return 1;
    state = json_loadb(text, size, 0, NULL);
    program = json_string_value(json_object_get(state, "program"));
    r = !program || (strncmp(program, s->dir, s->size) == 0 && program[s->size] == '/');
    json_decref(state);
    return r;
}

int used_program(const char *root, const char *dir)
{
    struct search s = {dir, strlen(dir)};

    return each_state(root, &(struct walk){is_of, &s});
}

/* The monitor holds the lock as long as it lives. Pids would say nothing in another namespace. */
static int note_live(void *ctx, int dirfd, const char *id)
{
    CLEANUP(close_fd) int fd = openat(dirfd, "exit.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct used_live *live = ctx;

    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0;
    if (live->n++ == 0)
        (void)snprintf(live->first, sizeof(live->first), "%s", id);
    return 0;
}

int used_live(const char *root, struct used_live *ret)
{
    *ret = (struct used_live){0};
    return each_state(root, &(struct walk){note_live, ret});
}
