/*
 * What is lent to guests' host processes (lend.h). One lock for all: lending and taking back are
 * rare. It is a leaf; plat_take_back under it waits for one read of the stub at most.
 */
#include "runtime/sentry/vfs/lend.h"

#include "runtime/guard.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/notify.h"
#include "runtime/sentry/vfs/regular.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CALLS_BEFORE = 6, /* lending costs as much as some reads */
    DOUBLED_MAX = 3,  /* and is put off for longer each time that it comes back */
    HEAP_MAX = 65536, /* smaller files of SUPER_SMALL_IN_HEAP have no host descriptor yet */
    HEAP_MAX_DIRECT = 4096,
};

struct lends {
    struct list link; /* g_lends */
    struct plat_space *space;
    bool watches; /* the stub answers for watches of an epoll */
    struct lent_at {
        struct file *file; /* the table's reference */
        bool pos, times, known;
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

/* What the stub read and wrote is told the inode as if it had been asked. */
static void note_use_locked(const struct lends *l, int fd)
{
    struct inode *i = l->at[fd].file->inode;
    struct plat_lent_use use;
    nsec_t now;

    if (!plat_lent_used(l->space, fd, &use))
        return;
    now = time_realtime();
    if (use.read && use.written && use.read_ago > use.written_ago)
        (void)regular_touch_atime(l->at[fd].file, now - (nsec_t)use.read_ago);
    if (use.written)
        inode_written_at(i, now - (nsec_t)use.written_ago);
    if (use.read)
        (void)regular_touch_atime(l->at[fd].file, now - (nsec_t)use.read_ago);
}

static void take_back_locked(struct lends *l, int fd)
{
    struct file *f = l->at[fd].file;
    int64_t pos = plat_take_back(l->space, fd);

    if (l->at[fd].times) {
        note_use_locked(l, fd);
        (void)__atomic_sub_fetch(&f->inode->lent_times, 1, __ATOMIC_SEQ_CST);
    }
    if (l->at[fd].pos)
        f->pos = pos;
    l->at[fd].file = NULL;
    count(f, -1);
    if (l->at[fd].known) {
        plat_known(l->space, fd, 0, NULL);
        l->at[fd].known = false;
        return;
    }
    f->reads = 0;
    if (f->lent_often < DOUBLED_MAX)
        f->lent_often++;
}

void lends_touch(struct lends *l, int fd)
{
    if (fd < 0 || fd >= PLAT_LENT_MAX || !l->at[fd].file || (!l->at[fd].pos && !l->at[fd].known))
        return;
    mutex_lock(&g_lend_lock);
    if (l->at[fd].file)
        take_back_locked(l, fd);
    mutex_unlock(&g_lend_lock);
}

void lends_drop(struct task *t, struct lends *l, int fd)
{
    if (l->watches && GUARDED(WATCH_DROP))
        plat_watch_drop(l->space, fd);
    if (fd < 0 || fd >= PLAT_LENT_MAX)
        return;
    mutex_lock(&g_lend_lock);
    if (l->at[fd].file)
        take_back_locked(l, fd);
    if (l->at[fd].held && t && t->th && plat_space_of(t->th) == l->space)
        l->at[fd].held = plat_revoke(t->th, fd) < 0;
    mutex_unlock(&g_lend_lock);
}

static void drop_watches(struct lends *l)
{
    if (l->watches && GUARDED(WATCH_DROP))
        plat_watch_drop_all(l->space);
    l->watches = false;
}

void lends_drop_all(struct task *t, struct lends *l)
{
    drop_watches(l);
    for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
        lends_drop(t, l, fd);
}

void lends_positions(struct lends *l)
{
    drop_watches(l);
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

void lend_watch(struct task *t, struct lends **lends, int epfd, int fd, bool watched)
{
    struct lends *l;

    if (mm_users(t->mm) != 1 || fdtable_users(t->files) != 1 || t->trace ||
        !seccomp_allows_lent(t->seccomp))
        return;
    l = lends_get(lends, plat_space_of(t->th));
    if (l) {
        l->watches = true;
        plat_watch_grant(l->space, epfd, fd, watched);
    }
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

/* May its data be written to by the stub? What the sentry looks at in each write forbids it. */
static bool lends_writing(struct task *t, const struct file *f)
{
    const struct inode *i = f->inode;

    return g_sentry.boot->data_plane_direct && !(f->flags & (O_APPEND | O_DSYNC | O_SYNC)) &&
           !(i->mode & (S_ISUID | S_ISGID)) && task_rlimit(t, RLIMIT_FSIZE) == RLIM_INFINITY;
}

/*
 * Of files that are opened for reading only, f->host_fd, which is for reading only too: where the
 * data is now is asked again after inode->lent says that we lend, which a copy-up looks at after it
 * has moved the data. Of files that are opened for both, any descriptor, for the guest may map it
 * writable anyway.
 */
static int lend_file(struct task *t, int fd, struct file *f, struct lent_at *at)
{
    struct inode *i = f->inode;
    bool write = file_writable(f) && lends_writing(t, f);
    struct plat_lend how = {.pos = at->pos ? &f->pos : NULL, .times = file_writable(f)};
    int host_fd = i->ops->data_fd ? i->ops->data_fd(i, write) : -1, r;

    if (host_fd < 0 || (!file_writable(f) && host_fd != f->host_fd))
        return -ESTALE;
    if (write)
        how.limit = __atomic_load_n(&i->size, __ATOMIC_ACQUIRE);
    r = plat_lend(t->th, fd, host_fd, &how);
    at->times = r == 0 && how.times;
    if (at->times)
        (void)__atomic_add_fetch(&i->lent_times, 1, __ATOMIC_SEQ_CST);
    return r;
}

static void lend(struct task *t, struct lends *l, int fd, struct file *f, bool with_pos)
{
    int sock = socket_stream_fd(f), r;

    mutex_lock(&g_lend_lock);
    if (l->at[fd].file)
        take_back_locked(l, fd);
    l->at[fd].pos = with_pos;
    l->at[fd].times = l->at[fd].known = false;
    count(f, 1);
    r = sock >= 0 ? plat_lend_stream(t->th, fd, sock, file_nonblock(f))
                  : lend_file(t, fd, f, &l->at[fd]);
    if (r == 0) {
        l->at[fd].file = f;
        l->at[fd].held = true;
    } else {
        count(f, -1);
        f->lent_often = DOUBLED_MAX;
    }
    mutex_unlock(&g_lend_lock);
}

/* Files for both, too: then sizes don't change meanwhile. */
static void lend_steadily(struct task *t, struct lends *l, int fd, struct file *f, bool with_pos)
{
    bool changes = f->inode && file_writable(f);

    if (changes)
        mutex_lock(&f->inode->io_lock);
    lend(t, l, fd, f, with_pos);
    if (changes)
        mutex_unlock(&f->inode->io_lock);
}

bool lend_possible(const struct file *f)
{
    const struct inode *i = f->inode;
    bool direct = g_sentry.boot->data_plane_direct;

    if (f->flags & O_ASYNC) /* a write that finds no room is to be seen */
        return false;
    if (f->host_fd >= 0 || socket_stream_fd(f) >= 0)
        return true;
    if (!i || f->ops != &regular_file_ops || !file_readable(f) || !file_writable(f) ||
        i->sealable || (f->flags & O_DIRECT))
        return false;
    if (direct && (i->super->flags & SUPER_SIZED))
        return false;
    return !(i->super->flags & SUPER_SMALL_IN_HEAP) ||
           __atomic_load_n(&i->size, __ATOMIC_RELAXED) >= (direct ? HEAP_MAX_DIRECT : HEAP_MAX);
}

void lend_consider(struct task *t, struct lends **lends, int fd, struct file *f, bool with_pos)
{
    struct lends *l;
    int users = mm_users(t->mm);

    if (++f->reads < CALLS_BEFORE << f->lent_often || fd < 0 || fd >= PLAT_LENT_MAX)
        return;
    f->reads = 0;
    if (users != fdtable_users(t->files) || t->trace || !seccomp_allows_lent(t->seccomp) ||
        (f->inode && __atomic_load_n(&g_inotify_watches, __ATOMIC_RELAXED)))
        return;
    with_pos &= f->inode != NULL;
    /* The table's reference, and the caller's. */
    if (with_pos && (users != 1 || __atomic_load_n(&f->ref.n, __ATOMIC_ACQUIRE) != 2))
        return;
    l = lends_get(lends, plat_space_of(t->th));
    if (l && (!l->at[fd].file || l->at[fd].known || (with_pos && !l->at[fd].pos)))
        lend_steadily(t, l, fd, f, with_pos);
}

/*
 * A file that is only read, of a file system that nobody changes but us: what a change of its inode
 * could make untrue is taken back by lend_recall, as all of it is by the next call that uses the
 * descriptor.
 */
static bool is_steady(const struct file *f)
{
    const struct inode *i = f->inode;

    return i && f->host_fd >= 0 && !file_writable(f) && !(f->flags & (O_DIRECT | O_PATH)) &&
           S_ISREG(i->mode) && !i->ops->revalidate && !i->locks &&
           !__atomic_load_n(&i->writers, __ATOMIC_SEQ_CST) &&
           !__atomic_load_n(&i->shared_writable, __ATOMIC_SEQ_CST) &&
           !__atomic_load_n(&g_inotify_watches, __ATOMIC_RELAXED);
}

/* All of f's data, if it is little and reading it leaves no trace. Before anybody looks at it. */
static bool put_data(struct lends *l, struct file *f, const struct stat *st)
{
    return st->st_size > 0 && st->st_size <= PLAT_KNOWN_BYTES && !f->pos &&
           regular_keeps_atime(f) &&
           pread(f->host_fd, plat_known_data(l->space), (size_t)st->st_size, 0) == st->st_size;
}

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Whoever comes to change it behind count() recalls it; before, its times have changed. */
static bool know_locked(struct task *t, struct lends *l, int fd, struct file *f, unsigned what,
                        const struct stat *before)
{
    struct stat st;

    if (l->at[fd].file)
        return false;
    count(f, 1);
    if (!is_steady(f) || vfs_stat_file(t, f, &st) < 0) {
        count(f, -1);
        return false;
    }
    if ((what & PLAT_KNOWN_DATA) && !is_unchanged(before, &st))
        what &= ~(unsigned)PLAT_KNOWN_DATA;
    l->at[fd].file = f;
    l->at[fd].pos = l->at[fd].times = false;
    l->at[fd].known = true;
    plat_known(l->space, fd, what, &st);
    return what & PLAT_KNOWN_DATA;
}

bool lend_known(struct task *t, struct lends **lends, int fd, struct file *f, enum lend_what want)
{
    unsigned what = PLAT_KNOWN_STAT | PLAT_KNOWN_CLOSE;
    struct stat st;
    struct lends *l;
    bool data;

    if (fd >= PLAT_LENT_MAX || !is_steady(f) || mm_users(t->mm) != 1 ||
        fdtable_users(t->files) != 1 || t->trace || !seccomp_allows_lent(t->seccomp) ||
        __atomic_load_n(&f->ref.n, __ATOMIC_ACQUIRE) != 2)
        return false;
    l = lends_get(lends, plat_space_of(t->th));
    if (!l)
        return false;
    if (want == LEND_AT_END)
        what |= PLAT_KNOWN_END;
    else if (want == LEND_DATA && vfs_stat_file(t, f, &st) == 0 && put_data(l, f, &st))
        what |= PLAT_KNOWN_DATA;
    mutex_lock(&g_lend_lock);
    data = know_locked(t, l, fd, f, what, &st);
    mutex_unlock(&g_lend_lock);
    return data;
}

void lend_note_use(const struct inode *i)
{
    struct lends *l;

    mutex_lock(&g_lend_lock);
    list_for_each_entry (l, &g_lends, link)
        for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
            if (l->at[fd].file && l->at[fd].times && l->at[fd].file->inode == i)
                note_use_locked(l, fd);
    mutex_unlock(&g_lend_lock);
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
    if ((i && !__atomic_load_n(&i->lent, __ATOMIC_SEQ_CST)) || !GUARDED(KNOWN_RECALL))
        return;
    mutex_lock(&g_lend_lock);
    list_for_each_entry (l, &g_lends, link)
        for (int fd = 0; fd < PLAT_LENT_MAX; fd++)
            if (l->at[fd].file && (i ? l->at[fd].file->inode == i : l->at[fd].file->inode != NULL))
                take_back_locked(l, fd);
    mutex_unlock(&g_lend_lock);
}
