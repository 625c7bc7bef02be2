/*
 * Files that are likely to be opened next come with the one that is opened now: programs that read
 * whole trees (grep, tar, cp, git) go through a directory in the order in which it is listed, or in
 * that of the inode numbers. Their descriptors wait here. Of unchanging mounts only: a descriptor
 * stays right for as long as it is kept.
 */
#include "runtime/sentry/fs/gofer/goferfs.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    WAITING_MAX = 64,
    STRIDE = 4,      /* directories and files that are left out lie between */
    LISTED_RUN = 3,  /* files opened in the listing's order that make us believe in it */
    NUMBERED_RUN = 6 /* likewise; by chance rising more easily */
};

struct waiting {
    const struct goferfs *fs; /* NULL: free */
    uint64_t ino, dev;
    int fd;
};
static struct mutex g_lock = MUTEX_INIT;
static struct waiting g_waiting[WAITING_MAX]; /* g_lock */
static unsigned g_next;                       /* g_lock */

static int take(const struct gofer_node *n)
{
    const struct goferfs *fs = goferfs_of(&n->inode);
    int fd = -1;

    mutex_lock(&g_lock);
    for (unsigned i = 0; i < WAITING_MAX; i++) {
        struct waiting *w = &g_waiting[i];

        if (w->fs == fs && w->ino == n->host_ino && w->dev == n->host_dev) {
            fd = w->fd;
            w->fs = NULL;
            break;
        }
    }
    mutex_unlock(&g_lock);
    return fd;
}

static void keep(const struct goferfs *fs, const struct gofer_opened *o)
{
    struct waiting *w, old;

    mutex_lock(&g_lock);
    w = &g_waiting[g_next++ % WAITING_MAX];
    old = *w;
    *w = (struct waiting){fs, o->attr.ino, o->attr.dev, o->fd};
    mutex_unlock(&g_lock);
    if (old.fs)
        (void)close(old.fd);
}

void gofer_ahead_drop(const struct goferfs *fs)
{
    mutex_lock(&g_lock);
    for (unsigned i = 0; i < WAITING_MAX; i++) {
        if (g_waiting[i].fs != fs)
            continue;
        (void)close(g_waiting[i].fd);
        g_waiting[i].fs = NULL;
    }
    mutex_unlock(&g_lock);
}

/* Entries that come next, by index; how many. */
static unsigned next_listed(const struct gofer_dir *d, unsigned at, unsigned *ret)
{
    unsigned n = 0;

    for (unsigned i = at + 1; i < d->list->n && n < GOFER_AHEAD_MAX; i++)
        if (S_ISREG(d->known[i].attr.mode))
            ret[n++] = i;
    return n;
}

static unsigned next_numbered(const struct gofer_dir *d, unsigned at, unsigned *ret)
{
    uint64_t after = d->known[at].attr.ino;
    unsigned n = 0;

    for (unsigned i = 0; i < d->list->n; i++) {
        uint64_t ino = d->known[i].attr.ino;
        unsigned k = n;

        if (!S_ISREG(d->known[i].attr.mode) || ino <= after)
            continue;
        for (; k > 0 && d->known[ret[k - 1]].attr.ino > ino; k--)
            if (k < GOFER_AHEAD_MAX)
                ret[k] = ret[k - 1];
        if (k < GOFER_AHEAD_MAX)
            ret[k] = i;
        n += n < GOFER_AHEAD_MAX;
    }
    return n;
}

/* Notes that entry `at` is opened; what to open with it. */
static unsigned plan_locked(struct gofer_dir *d, unsigned at, unsigned *ret)
{
    uint64_t ino = d->known[at].attr.ino;

    d->listed_run = at > d->last_opened && at - d->last_opened <= STRIDE ? d->listed_run + 1 : 0;
    d->numbered_run = ino > d->known[d->last_opened].attr.ino ? d->numbered_run + 1 : 0;
    d->last_opened = at;
    if (d->listed_run >= LISTED_RUN)
        return next_listed(d, at, ret);
    return d->numbered_run >= NUMBERED_RUN ? next_numbered(d, at, ret) : 0;
}

/* Into names (room for GOFER_AHEAD_MAX): their size. */
static size_t plan(const struct gofer_node *n, char *names)
{
    struct gofer_node *dir = n->parent; /* nothing moves on such mounts */
    const struct gofer_known *k;
    unsigned next[GOFER_AHEAD_MAX], count = 0;
    size_t size = 0;

    if (!dir || !mutex_trylock(&dir->inode.dir_lock)) /* only a guess: not worth waiting */
        return 0;
    if (dir->dir && dir->dir->attrs && dir->dir->known) {
        k = gofer_dir_known(dir->dir, n->name, strlen(n->name));
        if (k)
            count = plan_locked(dir->dir, (unsigned)(k - dir->dir->known), next);
    }
    for (unsigned i = 0; i < count; i++) {
        const char *name = dir->dir->known[next[i]].name;
        size_t len = strlen(name) + 1;

        memcpy(names + size, name, len);
        size += len;
    }
    mutex_unlock(&dir->inode.dir_lock);
    return size;
}

int gofer_ahead_open(struct gofer_node *n, const char *path, struct gofer_attr *ret)
{
    struct goferfs *fs = goferfs_of(&n->inode);
    struct gofer_opened more[GOFER_AHEAD_MAX];
    char names[GOFER_AHEAD_MAX * (NAME_MAX + 1)];
    size_t size = plan(n, names);
    unsigned n_more;
    int fd = take(n);

    if (fd >= 0) {
        *ret = (struct gofer_attr){.ino = n->host_ino, .dev = n->host_dev};
        return fd;
    }
    fd = gofer_open_ahead(fs->g, fs->mount, path, names, size, ret, more, &n_more);
    for (unsigned i = 0; i < n_more; i++)
        keep(fs, &more[i]);
    return fd;
}
