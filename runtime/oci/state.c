#include "runtime/oci/state.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STATE_MAX = 1 << 20 };

unsigned long long process_start_time(pid_t pid)
{
    CLEANUP(free_ptr) char *text = NULL;
    unsigned long long start = 0;
    char path[32], *p;
    char status;

    if (pid <= 0)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read_all(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
        return 0;
    /* The name may hold anything, parentheses and blanks too: go on behind the last one. */
    p = strrchr(text, ')');
    if (!p || sscanf(p + 1, " %c", &status) != 1 || status == 'Z' || status == 'X')
        return 0;
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p && sscanf(p, "%llu", &start) == 1 ? start : 0;
}

bool process_alive(const struct process_ref *p)
{
    return p->pid > 0 && p->start && process_start_time(p->pid) == p->start;
}

/* signal: 0 for none. */
static bool end_of(const struct process_ref *p, int signal, int timeout_ms)
{
    CLEANUP(close_fd) int fd = -1;
    struct pollfd pfd;

    if (p->pid <= 0)
        return true;
    fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (fd < 0 || !process_alive(p))
        return true;
    if (signal)
        (void)syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
    pfd = (struct pollfd){.fd = fd, .events = POLLIN};
    return poll(&pfd, 1, timeout_ms) == 1;
}

bool process_kill(const struct process_ref *p, int timeout_ms)
{
    return end_of(p, SIGKILL, timeout_ms);
}

void process_signal_kill(const struct process_ref *p)
{
    (void)end_of(p, SIGKILL, 0);
}

void process_wake(const struct process_ref *p)
{
    (void)end_of(p, SIGCONT, 0);
}

bool process_await(const struct process_ref *p, int timeout_ms)
{
    return end_of(p, 0, timeout_ms);
}

/* Does path still lead to fd's directory? Who held the lock before may have removed it. */
static bool still_there(const char *path, int fd)
{
    struct stat here, there;

    return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

static int open_dir(const char *root, const char *id, int lock, int *ret_fd)
{
    char path[4096];
    int fd, r = 0;

    if (snprintf(path, sizeof(path), "%s/%s", root, id) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    while (flock(fd, lock) < 0 && r == 0)
        if (errno != EINTR)
            r = errno == EWOULDBLOCK ? -EBUSY : -EIO;
    if (r == 0 && !still_there(path, fd))
        r = -ENOENT;
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int state_open(const char *root, const char *id, struct error *err)
{
    int fd = -1, r = open_dir(root, id, LOCK_EX, &fd);

    if (r == -ENOENT)
        return error_set(err, r, "container \"%s\" does not exist", id);
    if (r < 0)
        return error_errno(err, r, "open the state of container \"%s\"", id);
    return fd;
}

int state_open_dead(const char *root, const char *id)
{
    CLEANUP(close_fd) int fd = -1, record = -1;
    int r = open_dir(root, id, LOCK_EX | LOCK_NB, &fd);

    if (r < 0)
        return r;
    record = openat(fd, "exit.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (record >= 0 && flock(record, LOCK_EX | LOCK_NB) < 0)
        return -EBUSY;
    return TAKE_FD(fd);
}

/* Whether anything of what the directory tells of is still alive. */
static bool leftover(int dirfd, const char *id)
{
    struct state s;
    bool dead;

    if (state_load(dirfd, id, &s, NULL) < 0)
        return true; /* interrupted before its first state was written */
    dead = !process_alive(&s.monitor) && !process_alive(&s.sentry) && !process_alive(&s.gofer);
    state_free(&s);
    return dead;
}

int state_create(const char *root, const char *id, struct error *err)
{
    char path[4096];
    int fd = -1, r;

    r = mkdir_parents(root, 0711);
    if (r < 0)
        return error_errno(err, r, "create '%s'", root);
    if (snprintf(path, sizeof(path), "%s/%s", root, id) >= (int)sizeof(path))
        return error_errno(err, -ENAMETOOLONG, "state of container \"%s\"", id);
    for (int tries = 0; tries < 3; tries++) {
        bool fresh = mkdir(path, 0711) == 0;

        if (!fresh && errno != EEXIST)
            return error_errno(err, -errno, "create '%s'", path);
        r = open_dir(root, id, LOCK_EX, &fd);
        if (r == -ENOENT)
            continue; /* removed by somebody else in between */
        if (r < 0)
            return error_errno(err, r, "open '%s'", path);
        if (fresh)
            return fd;
        if (!leftover(fd, id)) {
            (void)close(fd);
            return error_set(err, -EEXIST, "container with id exists: %s", id);
        }
        state_remove(root, id);
        (void)close(fd);
    }
    return error_set(err, -EEXIST, "container with id exists: %s", id);
}

static const struct {
    const char *name;
    size_t offset, size;
} texts[] = {
#define TEXT(name, member)                                                                         \
    {                                                                                              \
        name, offsetof(struct state, member), sizeof(((struct state *)0)->member)                  \
    }
    TEXT("id", id),           TEXT("sandbox", sandbox), TEXT("bundle", bundle),
    TEXT("rootfs", rootfs),   TEXT("cgroups", cgroups), TEXT("created", created),
    TEXT("version", version), TEXT("program", program),
};

static json_t *ref_to_json(const struct process_ref *p)
{
    return json_pack("{s:i,s:I}", "pid", (int)p->pid, "start", (json_int_t)p->start);
}

static void ref_from_json(json_t *j, struct process_ref *p)
{
    p->pid = (pid_t)json_integer_value(json_object_get(j, "pid"));
    p->start = (unsigned long long)json_integer_value(json_object_get(j, "start"));
}

int state_save(int dirfd, const struct state *s, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_t *j = json_object();
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        (void)json_object_set_new(j, texts[i].name, json_string((const char *)s + texts[i].offset));
    (void)json_object_set_new(j, "monitor", ref_to_json(&s->monitor));
    (void)json_object_set_new(j, "sentry", ref_to_json(&s->sentry));
    (void)json_object_set_new(j, "gofer", ref_to_json(&s->gofer));
    (void)json_object_set_new(j, "uid", json_integer(s->uid));
    (void)json_object_set_new(j, "armed", json_boolean(s->armed));
    (void)json_object_set_new(j, "standalone", json_boolean(s->standalone));
    (void)json_object_set_new(j, "tty", json_boolean(s->tty));
    if (s->annotations)
        (void)json_object_set(j, "annotations", s->annotations);
    if (s->hooks)
        (void)json_object_set(j, "hooks", s->hooks);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    if (!text)
        return error_errno(err, -ENOMEM, "write state.json");
    /* No fsync: after a crash of the machine there is nothing left that it could describe. */
    {
        CLEANUP(close_fd)
        int fd = openat(dirfd, "state.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        r = fd < 0 ? -errno : write_full(fd, text, strlen(text));
    }
    if (r == 0 && renameat(dirfd, "state.json.new", dirfd, "state.json") < 0)
        r = -errno;
    return r < 0 ? error_errno(err, r, "write state.json") : 0;
}

int state_load(int dirfd, const char *id, struct state *ret, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_t *j;
    size_t size;
    int r;

    *ret = (struct state){0};
    r = file_read_all(dirfd, "state.json", STATE_MAX, &text, &size, err);
    if (r == -ENOENT)
        return error_set(err, r, "container \"%s\" does not exist: it was never completed", id);
    if (r < 0)
        return error_wrap(err, "container \"%s\"", id);
    j = json_loadb(text, size, 0, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        return error_set(err, -EINVAL, "container \"%s\": state.json is damaged", id);
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const char *v = json_string_value(json_object_get(j, texts[i].name));

        (void)snprintf((char *)ret + texts[i].offset, texts[i].size, "%s", v ? v : "");
    }
    ref_from_json(json_object_get(j, "monitor"), &ret->monitor);
    ref_from_json(json_object_get(j, "sentry"), &ret->sentry);
    ref_from_json(json_object_get(j, "gofer"), &ret->gofer);
    ret->uid = (unsigned)json_integer_value(json_object_get(j, "uid"));
    ret->armed = json_is_true(json_object_get(j, "armed"));
    ret->standalone = json_is_true(json_object_get(j, "standalone"));
    ret->tty = json_is_true(json_object_get(j, "tty"));
    ret->annotations = json_incref(json_object_get(j, "annotations"));
    ret->hooks = json_incref(json_object_get(j, "hooks"));
    json_decref(j);
    return 0;
}

void state_free(struct state *s)
{
    json_decref(s->annotations);
    json_decref(s->hooks);
    s->annotations = s->hooks = NULL;
}

void state_remove(const char *root, const char *id)
{
    static const char *const names[] = {"exit.json", "config.json", "control.sock",
                                        "state.json.new", "state.json"};
    char path[4200];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s/%s", root, id, names[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof(path), "%s/%s", root, id);
    (void)rmdir(path);
}

int state_exit_status(int dirfd, int *ret_status, bool *ret_oom)
{
    CLEANUP(free_ptr) char *text = NULL;
    int oom = 0, r = file_read_all(dirfd, "exit.json", 4096, &text, NULL, NULL);

    if (r < 0)
        return r;
    if (sscanf(text, "{\"status\":%d,\"oom\":%d", ret_status, &oom) != 2)
        return -EAGAIN;
    if (ret_oom)
        *ret_oom = oom;
    return 0;
}

int state_exit_open(int dirfd, struct error *err)
{
    int fd = openat(dirfd, "exit.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = error_errno(err, -errno, "create exit.json");

        close_fd(&fd);
        return r;
    }
    return fd;
}

void state_exit_write(int fd, int status, bool oom)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "{\"status\":%d,\"oom\":%d,\"time\":%lld}\n", status, oom,
                     (long long)time(NULL));

    (void)write_full(fd, text, (size_t)n);
}
