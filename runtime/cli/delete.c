/* The end of containers: what is left of one is removed, and what nobody else will remove. */
#include "common/cleanup.h"
#include "common/log.h"
#include "runtime/cli/container.h"
#include "runtime/oci/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A sentry that did not answer when its container was killed (so that nobody recorded how that
 * ended) is not asked for long again. */
enum { GOFER_TIMEOUT_MS = 800, ASK_AGAIN_MS = 50 };

void container_kill_hard(const struct state *s)
{
    bool sandbox = strcmp(s->id, s->sandbox) == 0;
    struct cgroup cg;

    if (sandbox)
        process_signal_kill(&s->sentry);
    if (*s->cgroups && cgroup_init_path(&cg, s->cgroups, NULL) == 0) {
        cgroup_unthrottle(&cg);
        cgroup_kill(&cg);
    }
    if (sandbox)
        (void)process_await(&s->sentry, CONTAINER_KILL_MS);
    (void)process_kill(&s->monitor, CONTAINER_KILL_MS);
}

/* The name under which the gofer of a container with an overlay keeps large files (see mounts.c).
 */
static void remove_scratch(const struct state *s)
{
    CLEANUP(close_dir) DIR *d = NULL;
    struct dirent *e;
    char path[4300];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/.berm-scratch-%s", s->rootfs, s->id);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = fd < 0 ? NULL : fdopendir(fd);
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.')
            (void)unlinkat(fd, e->d_name, 0);
    if (d)
        (void)rmdir(path);
}

static int delete_one(struct cli *cli, int dirfd, const struct state *s, struct error *err)
{
    struct error ignored = ERROR_INIT;
    bool sandbox = strcmp(s->id, s->sandbox) == 0;
    struct cgroup cg, leaf;
    int status, known = state_exit_status(dirfd, &status, NULL);

    if (cgroup_init_path(&cg, s->cgroups, NULL) == 0)
        cgroup_unthrottle(&cg);
    (void)container_call_within(
        cli, s, "delete", known == 0 || process_alive(&s->monitor) ? CONTROL_ASK_MS : ASK_AGAIN_MS,
        NULL, &ignored);
    /* The sandbox's end is the end of all its containers' processes; their own verbs clean up after
     * them. */
    if (sandbox)
        process_signal_kill(&s->sentry);
    process_signal_kill(&s->gofer);
    process_signal_kill(&s->monitor);
    if (sandbox && !process_await(&s->sentry, CONTAINER_KILL_MS))
        return error_set(err, -EBUSY, "the sentry of \"%s\" (pid %d) does not die", s->id,
                         (int)s->sentry.pid);
    /* It may hang in a call to a file system whose server is gone, and hold nothing but itself. */
    if (!process_await(&s->gofer, GOFER_TIMEOUT_MS))
        log_warn("gofer of \"%s\" (pid %d) does not die: a file system does not answer", s->id,
                 (int)s->gofer.pid);
    if (!process_await(&s->monitor, CONTAINER_KILL_MS))
        log_warn("monitor of \"%s\" (pid %d) does not die", s->id, (int)s->monitor.pid);
    if (sandbox && s->armed)
        disarm(&cli->config, s->sandbox);
    if (*cg.path) {
        /* If the sentry is stopped, the container's guest processes are still there. */
        cgroup_kill(&cg);
        cgroup_remove(&cg);
        cgroup_sibling(&cg, s->id, &leaf);
        if (sandbox && !s->standalone)
            cgroup_remove(&leaf);
    }
    remove_scratch(s);
    state_remove(cli->root, s->id);
    container_hooks(s, "poststop", "stopped");
    return 0;
}

/* containerd removes a container's bundle last: whatever it asked for before has failed or was
 * killed half-way, and it will not ask again. */
static bool forsaken(const struct state *s)
{
    char path[4200];

    (void)snprintf(path, sizeof(path), "%s/config.json", s->bundle);
    return !s->standalone && access(path, F_OK) < 0 && errno == ENOENT;
}

/* A verb is not at it, and its monitor does not live. */
static void sweep_one(struct cli *cli, const char *id, const char *sandbox)
{
    CLEANUP(close_fd) int fd = state_open_dead(cli->root, id);
    struct error err = ERROR_INIT;
    struct state s;
    int r = fd < 0 ? fd : state_load(fd, id, &s, &err);

    if (fd >= 0 && r == -ENOENT) /* interrupted while it was made */
        state_remove(cli->root, id);
    if (r < 0)
        return;
    if (!process_alive(&s.monitor) && (strcmp(s.sandbox, sandbox) == 0 || forsaken(&s)))
        (void)delete_one(cli, fd, &s, &err);
    state_free(&s);
}

/* Containers of a sandbox that is gone are dead. Their own verbs clean up after them; where the
 * shim was killed, containerd 2 never calls those. */
static void sweep(struct cli *cli, const char *sandbox)
{
    CLEANUP(close_dir) DIR *d = opendir(cli->root);
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (oci_id_check(e->d_name, NULL) == 0)
            sweep_one(cli, e->d_name, sandbox);
}

int container_delete(struct cli *cli, int dirfd, const struct state *s, struct error *err)
{
    int r = delete_one(cli, dirfd, s, err);

    if (r == 0 && strcmp(s->id, s->sandbox) == 0 && !s->standalone)
        sweep(cli, s->id);
    return r;
}
