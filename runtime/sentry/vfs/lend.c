/*
 * What is lent to guests' host processes (lend.h). One lock for all: lending and taking back are
 * rare. It is a leaf; plat_take_back under it waits for one read of the stub at most.
 */
#include "runtime/sentry/vfs/lend.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/notify.h"

#include <errno.h>
#include <stdlib.h>

enum { READS_BEFORE = 6 }; /* lending costs as much as some reads */

struct lends {
    struct list link; /* g_lends */
    struct plat_space *space;
    struct {
        struct file *file; /* the table's reference */
        bool pos;
        bool held; /* the stub has a descriptor for it, valid or not */
    } at[PLAT_LENT_MAX];
};

static struct mutex g_lend_lock = MUTEX_INIT;
static struct list g_lends = LIST_INIT(g_lends);

static void count(struct file *f, int n)
{
    if (f->inode)
        (void)__atomic_add_fetch(&f->inode->lent, (unsigned)n, __ATOMIC_SEQ_CST);
}

static void take_back_locked(struct lends *l, int fd)
{
    struct file *f = l->at[fd].file;
    int64_t pos = plat_take_back(l->space, fd);

    if (l->at[fd].pos)
        f->pos = pos;
    l->at[fd].file = NULL;
    f->reads = 0;
    count(f, -1);
}

void lends_touch(struct lends *l, int fd)
{
    if (fd < 0 || fd >= PLAT_LENT_MAX || !l->at[fd].file || !l->at[fd].pos)
        return;
    mutex_lock(&g_lend_lock);
    if (l->at[fd].file)
        take_back_locked(l, fd);
    mutex_unlock(&g_lend_lock);
}

void lends_drop(struct task *t, struct lends *l, int fd)
{
    if (fd < 0 || fd >= PLAT_LENT_MAX)
        return;
    mutex_lock(&g_lend_lock);
    if (l->at[fd].file)
        take_back_locked(l, fd);
    if (l->at[fd].held && t && t->th && plat_space_of(t->th) == l->space)
        l->at[fd].held = plat_revoke(t->th, fd) < 0;
    mutex_unlock(&g_lend_lock);
}

void lends_drop_all(struct task *t, struct lends *l)
{
    for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
        lends_drop(t, l, fd);
}

void lends_positions(struct lends *l)
{
    for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
        lends_touch(l, fd);
}

static struct lends *lends_get(struct lends **at, struct plat_space *s)
{
    struct lends *l;

    mutex_lock(&g_lend_lock);
    l = *at;
    if (!l && (l = calloc(1, sizeof(*l)))) {
        plat_space_hold(s);
        l->space = s;
        list_append(&g_lends, &l->link);
        *at = l;
    }
    mutex_unlock(&g_lend_lock);
    return l;
}

void lends_free(struct lends *l)
{
    if (!l)
        return;
    lends_drop_all(NULL, l);
    mutex_lock(&g_lend_lock);
    list_remove(&l->link);
    mutex_unlock(&g_lend_lock);
    plat_space_release(l->space);
    free(l);
}

/* The host's descriptor is where the data is now; asked again after inode->lent says that we lend,
 * which a copy-up looks at after it has moved the data. */
static bool is_current(const struct file *f)
{
    struct inode *i = f->inode;

    return i->ops->data_fd && i->ops->data_fd(i, false) == f->host_fd;
}

/* A file's host descriptor, or that of a socket. */
static int lend_one(struct task *t, int fd, struct file *f, bool with_pos)
{
    int sock = socket_stream_fd(f);

    if (sock >= 0)
        return plat_lend_stream(t->th, fd, sock, file_nonblock(f));
    return is_current(f) ? plat_lend(t->th, fd, f->host_fd, with_pos ? &f->pos : NULL) : -ESTALE;
}

static void lend(struct task *t, struct lends *l, int fd, struct file *f, bool with_pos)
{
    mutex_lock(&g_lend_lock);
    if (l->at[fd].file)
        take_back_locked(l, fd);
    count(f, 1);
    if (lend_one(t, fd, f, with_pos) == 0) {
        l->at[fd].file = f;
        l->at[fd].pos = with_pos;
        l->at[fd].held = true;
    } else {
        count(f, -1);
    }
    mutex_unlock(&g_lend_lock);
}

void lend_consider(struct task *t, struct lends **lends, int fd, struct file *f, bool with_pos)
{
    struct lends *l;
    int users = mm_users(t->mm);

    if (++f->reads < READS_BEFORE || fd < 0 || fd >= PLAT_LENT_MAX)
        return;
    f->reads = 0;
    if (users != fdtable_users(t->files) || t->trace || t->seccomp ||
        (f->inode && __atomic_load_n(&g_inotify_watches, __ATOMIC_RELAXED)))
        return;
    with_pos &= f->inode != NULL;
    /* The table's reference, and the caller's. */
    if (with_pos && (users != 1 || __atomic_load_n(&f->ref.n, __ATOMIC_ACQUIRE) != 2))
        return;
    l = lends_get(lends, plat_space_of(t->th));
    if (l && (!l->at[fd].file || (with_pos && !l->at[fd].pos)))
        lend(t, l, fd, f, with_pos);
}

void lend_recall_file(const struct file *f)
{
    struct lends *l;

    mutex_lock(&g_lend_lock);
    list_for_each_entry (l, &g_lends, link)
        for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
            if (l->at[fd].file == f)
                take_back_locked(l, fd);
    mutex_unlock(&g_lend_lock);
}

void lend_recall(const struct inode *i)
{
    struct lends *l;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (i && !__atomic_load_n(&i->lent, __ATOMIC_SEQ_CST))
        return;
    mutex_lock(&g_lend_lock);
    list_for_each_entry (l, &g_lends, link)
        for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
            if (l->at[fd].file && (i ? l->at[fd].file->inode == i : l->at[fd].file->inode != NULL))
                take_back_locked(l, fd);
    mutex_unlock(&g_lend_lock);
}
