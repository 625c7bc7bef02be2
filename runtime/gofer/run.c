/*
 * What the gofer keeps: descriptors of its container's trees, six capabilities over files, some
 * fifty system calls, and a root with nothing in it but those trees that receive mounts from the
 * host (only a mount in a namespace does).
 */
#include "runtime/gofer/run.h"

#include "common/cleanup.h"
#include "runtime/guard.h"
#include "runtime/security/confine.h"
#include "runtime/security/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(cap) (1ULL << (cap))
#define GOFER_CAPS                                                                                 \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |         \
     BIT(CAP_FSETID))

static int attach(const struct gofer_tree *t, unsigned number, struct error *err)
{
    char path[64];
    int r;

    (void)snprintf(path, sizeof(path), CONFINE_PLACE "/%u", number);
    r = t->directory ? mkdir(path, 0500) : mknod(path, S_IFREG | 0400, 0);
    if (r < 0 || syscall(SYS_move_mount, t->fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(err, -errno, "attach mount %u", number);
    return 0;
}

static int make_root(const struct gofer_process *p, struct error *err)
{
    int r = confine_root_begin(p->n_trees, err);

    for (unsigned i = 0; i < p->n_trees && r == 0; i++)
        if (p->trees[i].slave)
            r = attach(&p->trees[i], i, err);
    return r < 0 ? r : confine_root_finish(err);
}

static int fence(const struct gofer_process *p, struct error *err)
{
    CLEANUP(free_ptr) struct confine_tree *trees = calloc(p->n_trees + 1, sizeof(*trees));
    unsigned n = p->n_trees;

    if (!trees)
        return error_errno(err, -ENOMEM, "landlock");
    for (unsigned i = 0; i < n; i++)
        trees[i] = (struct confine_tree){p->trees[i].fd, p->trees[i].readonly};
    if (p->scratch >= 0)
        trees[n++] = (struct confine_tree){p->scratch, false};
    return confine_landlock(trees, n, err);
}

/* The order matters: mounts need privileges, Landlock needs no_new_privs, the filter comes last. */
static int confine(const struct gofer_process *p, struct error *err)
{
    int r = GUARDED(GOFER_ROOT) ? make_root(p, err) : 0;

    if (r == 0)
        r = confine_capabilities(GOFER_CAPS, err);
    if (r == 0)
        r = confine_no_new_privs(err);
    if (r == 0)
        r = confine_undumpable(err);
    if (r == 0 && GUARDED(GOFER_ROOT))
        r = fence(p, err);
    confine_no_core();
    return r < 0 ? r : filter_install(FILTER_GOFER, err);
}

int gofer_run(const struct gofer_process *p, struct error *err)
{
    struct gofer_server server = GOFER_SERVER_INIT;
    CLEANUP(free_ptr) struct gofer_mount *mounts = calloc(p->n_trees, sizeof(*mounts));
    CLEANUP(free_ptr) int *keep = calloc(p->n_trees + 4, sizeof(*keep));
    unsigned n = 0;
    int r;

    if (!mounts || !keep)
        return error_errno(err, -ENOMEM, "gofer");
    (void)umask(0);
    r = confine_stdio(err);
    if (r == 0 && gofer_server_init(&server) < 0)
        r = error_set(err, -EIO, "open /proc/self/fd");
    for (unsigned i = 0; i < p->n_trees; i++) {
        keep[n++] = p->trees[i].fd;
        mounts[i] = (struct gofer_mount){.root = p->trees[i].fd,
                                         .readonly = p->trees[i].readonly,
                                         .connect = p->trees[i].connect};
    }
    keep[n++] = p->sock;
    keep[n++] = p->scratch;
    keep[n++] = p->ready_fd;
    keep[n++] = server.proc_fd;
    if (r == 0)
        r = confine_descriptors(keep, n, err);
    if (r == 0)
        r = confine(p, err);
    if (r < 0)
        return error_wrap(err, "gofer");
    server.mounts = mounts;
    server.n_mounts = p->n_trees;
    server.scratch_root = p->scratch;
    server.hidden = p->scratch >= 0 ? p->hidden : NULL;
    (void)close(p->ready_fd);
    r = gofer_serve(&server, p->sock);
    return r < 0 ? error_errno(err, r, "gofer") : 0;
}
