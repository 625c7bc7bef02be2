/*
 * Files that are likely to be opened next come with the one that is opened now: programs that read
 * whole trees (grep, tar, cp, git) go through a directory in the order in which it is listed, or in
 * that of the inode numbers. Their descriptors wait here. Of unchanging mounts only: a descriptor
 * stays right for as long as it is kept.
 *
 * While some wait to be used, the gofer opens the next ones on another processor: nobody waits for
 * that request ("begun") before they are wanted. Who went through one directory in order is
 * believed to do so in the next: its first files are begun when it is listed.
 */
#include "runtime/sentry/fs/gofer/goferfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    WAITING_MAX = 64,
    STRIDE = 4,       /* directories and files that are left out lie between */
    LISTED_RUN = 3,   /* files opened in the listing's order that make us believe in it */
    NUMBERED_RUN = 6, /* likewise; by chance rising more easily */
    FIRST_BATCH = 4,  /* while somebody waits; others are begun behind them */
    VAIN_MAX = 2,     /* directories begun whose files nobody wanted */
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
    struct goferfs *fs = goferfs_of(&n->inode);
    int fd = -1;

    mutex_lock(&g_lock);
    for (unsigned i = 0; i < WAITING_MAX; i++) {
        struct waiting *w = &g_waiting[i];

        if (w->fs == fs && w->ino == n->host_ino && w->dev == n->host_dev) {
            fd = w->fd;
            w->fs = NULL;
            fs->vain_guesses = 0;
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

/* Takes in what was begun; false: nothing was. */
static bool collect(struct goferfs *fs)
{
    struct gofer_opened more[1 + GOFER_AHEAD_MAX];
    unsigned n = gofer_open_end(fs->g, fs, more);

    for (unsigned i = 0; i < n; i++)
        keep(fs, &more[i]);
    return n > 0;
}

void gofer_ahead_drop(struct goferfs *fs)
{
    (void)collect(fs);
    mutex_lock(&g_lock);
    for (unsigned i = 0; i < WAITING_MAX; i++) {
        if (g_waiting[i].fs != fs)
            continue;
        (void)close(g_waiting[i].fd);
        g_waiting[i].fs = NULL;
    }
    mutex_unlock(&g_lock);
}

/* Entries that come behind index `at` (START: from the first one), by index; how many. */
static unsigned next_listed(const struct gofer_dir *d, unsigned at, unsigned *ret, unsigned max)
{
    unsigned n = 0;

    for (unsigned i = at == GOFER_DIR_START ? 0 : at + 1; i < d->list->n && n < max; i++)
        if (S_ISREG(d->known[i].attr.mode))
            ret[n++] = i;
    return n;
}

static unsigned next_numbered(const struct gofer_dir *d, unsigned at, unsigned *ret, unsigned max)
{
    uint64_t after = at == GOFER_DIR_START ? 0 : d->known[at].attr.ino;
    unsigned n = 0;

    for (unsigned i = 0; i < d->list->n; i++) {
        uint64_t ino = d->known[i].attr.ino;
        unsigned k = n;

        if (!S_ISREG(d->known[i].attr.mode) || ino <= after)
            continue;
        for (; k > 0 && d->known[ret[k - 1]].attr.ino > ino; k--)
            if (k < max)
                ret[k] = ret[k - 1];
        if (k < max)
            ret[k] = i;
        n += n < max;
    }
    return n;
}

/* Those that are to be opened next, which are noted as planned. */
static unsigned plan_locked(struct gofer_dir *d, unsigned *ret, unsigned max)
{
    unsigned n = 0;

    if (d->order == GOFER_LISTED)
        n = next_listed(d, d->planned, ret, max);
    else if (d->order == GOFER_NUMBERED)
        n = next_numbered(d, d->planned, ret, max);
    if (n)
        d->planned = ret[n - 1];
    return n;
}

/* Whether entry `at` comes closely behind the one opened last. */
static bool follows_listed(const struct gofer_dir *d, unsigned at)
{
    return at > d->last_opened && at - d->last_opened <= STRIDE;
}

/* Notes that entry `at` is opened, and what order that shows. */
static void note_locked(struct goferfs *fs, struct gofer_dir *d, unsigned at)
{
    uint64_t ino = d->known[at].attr.ino;
    bool first = !d->opened;

    d->listed_run = first || follows_listed(d, at) ? d->listed_run + 1 : 0;
    d->numbered_run = first || ino > d->known[d->last_opened].attr.ino ? d->numbered_run + 1 : 0;
    d->opened = true;
    d->last_opened = at;
    if (d->listed_run > LISTED_RUN)
        d->order = GOFER_LISTED;
    else if (d->numbered_run > NUMBERED_RUN)
        d->order = GOFER_NUMBERED;
    else if ((d->order == GOFER_LISTED && !d->listed_run) ||
             (d->order == GOFER_NUMBERED && !d->numbered_run))
        d->order = GOFER_UNORDERED;
    else
        return;
    __atomic_store_n(&fs->order, d->order, __ATOMIC_RELAXED);
}

/* Names of entries into buf, each with its NUL: their size. */
static size_t pack(const struct gofer_dir *d, const unsigned *which, unsigned n, char *buf)
{
    size_t size = 0;

    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(d->known[which[i]].name) + 1;

        memcpy(buf + size, d->known[which[i]].name, len);
        size += len;
    }
    return size;
}

/* Asks for the next files of dir without waiting for them. -EBUSY: others are under way. */
static int begin_locked(struct gofer_node *dir)
{
    struct goferfs *fs = goferfs_of(&dir->inode);
    unsigned next[1 + GOFER_AHEAD_MAX], planned = dir->dir->planned,
                                        n = plan_locked(dir->dir, next, ARRAY_SIZE(next));
    char names[GOFER_AHEAD_MAX * (NAME_MAX + 1)], path[GOFER_PATH_MAX];
    int r;

    if (!n)
        return -ENOENT;
    r = gofer_path(dir, dir->dir->known[next[0]].name, path);
    if (r == 0)
        r = gofer_open_begin(fs->g, fs->mount, fs, path, names,
                             pack(dir->dir, next + 1, n - 1, names));
    if (r < 0)
        dir->dir->planned = planned;
    return r;
}

static bool can_plan(const struct gofer_node *dir)
{
    return dir->dir && dir->dir->attrs && dir->dir->known;
}

void gofer_ahead_listed(struct gofer_node *dir)
{
    struct goferfs *fs = goferfs_of(&dir->inode);
    enum gofer_order order = __atomic_load_n(&fs->order, __ATOMIC_RELAXED);
    bool vain;

    if (order == GOFER_UNORDERED || !can_plan(dir))
        return;
    mutex_lock(&g_lock);
    vain = fs->vain_guesses >= VAIN_MAX;
    mutex_unlock(&g_lock);
    if (vain)
        return;
    (void)collect(fs);
    dir->dir->order = order;
    dir->dir->opened = false;
    dir->dir->listed_run = dir->dir->numbered_run = 0;
    dir->dir->planned = GOFER_DIR_START;
    if (begin_locked(dir) < 0)
        return;
    mutex_lock(&g_lock);
    fs->vain_guesses++;
    mutex_unlock(&g_lock);
}

/* Opens n, and with it what is planned behind it. */
static int open_with_more(struct gofer_node *n, struct gofer_dir *d, unsigned at, const char *path,
                          struct gofer_attr *ret)
{
    struct goferfs *fs = goferfs_of(&n->inode);
    struct gofer_opened more[GOFER_AHEAD_MAX];
    char names[GOFER_AHEAD_MAX * (NAME_MAX + 1)];
    unsigned next[GOFER_AHEAD_MAX], n_more = 0;
    size_t size = 0;
    int fd;

    if (d) {
        d->planned = at;
        size = pack(d, next, plan_locked(d, next, FIRST_BATCH), names);
    }
    fd = gofer_open_ahead(fs->g, fs->mount, path, names, size, ret, more, &n_more);
    for (unsigned i = 0; i < n_more; i++)
        keep(fs, &more[i]);
    return fd;
}

int gofer_ahead_open(struct gofer_node *n, const char *path, struct gofer_attr *ret)
{
    struct goferfs *fs = goferfs_of(&n->inode);
    struct gofer_node *dir = n->parent; /* nothing moves on such mounts */
    const struct gofer_known *k = NULL;
    /* Only a guess: not worth waiting. */
    bool locked = dir && mutex_trylock(&dir->inode.dir_lock), waited = false;
    unsigned at = 0;
    int fd;

    if (locked && can_plan(dir))
        k = gofer_dir_known(dir->dir, n->name, strlen(n->name));
    if (k) {
        at = (unsigned)(k - dir->dir->known);
        note_locked(fs, dir->dir, at);
    }
    *ret = (struct gofer_attr){.ino = n->host_ino, .dev = n->host_dev};
    fd = take(n);
    if (fd < 0) {
        waited = true;
        if (collect(fs))
            fd = take(n);
        if (fd < 0)
            fd = open_with_more(n, k ? dir->dir : NULL, at, path, ret);
    }
    if (waited && k)
        (void)begin_locked(dir);
    if (locked)
        mutex_unlock(&dir->inode.dir_lock);
    return fd;
}
