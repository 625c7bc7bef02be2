/*
 * File locks (fcntl(2), flock(2)). Record locks of one owner never overlap; setting one first cuts
 * its range out of what the owner has, then adds and merges. Waiters of a file share one queue and
 * look again after each change.
 *
 * Deadlocks among record locks of processes are found by walking "waits for" from the blocker on;
 * the table of who waits is global and guarded by its own lock, below the file's.
 *
 * The locks of files without an inode (pipes, sockets: both ends of a pipe are one) are found by
 * their number, and kept only as long as there are any.
 */
#include "runtime/sentry/vfs/lockfile.h"

#include "common/buf.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

struct held_lock {
    struct list link;
    const void *owner;
    struct record_lock l;
};

struct lock_table {
    struct mutex lock; /* guards what follows */
    struct list records, flocks;
    unsigned n;
    struct waitq released;

    uint64_t ino;     /* of an anonymous file; immutable */
    unsigned users;   /* calls that are at it; g_anonymous_lock */
    struct list link; /* the same */
};

static struct mutex g_anonymous_lock = MUTEX_INIT; /* below it: only a table's */
static struct list g_anonymous = LIST_INIT(g_anonymous);
unsigned g_anonymous_locks;

struct waiting {
    struct list link;
    const void *owner, *blocker;
};

static struct mutex g_waiting_lock = MUTEX_INIT;
static struct list g_waiting = LIST_INIT(g_waiting);

static struct lock_table *table_new(uint64_t ino)
{
    struct lock_table *lt = calloc(1, sizeof(*lt));

    if (!lt)
        return NULL;
    list_init(&lt->records);
    list_init(&lt->flocks);
    list_init(&lt->link);
    waitq_init(&lt->released);
    lt->ino = ino;
    return lt;
}

static struct lock_table *table_of_inode(struct inode *i)
{
    struct lock_table *lt;
    bool first = false;

    mutex_lock(&i->lock);
    lt = i->locks;
    if (!lt && (lt = table_new(0))) {
        __atomic_store_n(&i->locks, lt, __ATOMIC_RELEASE);
        first = true;
    }
    mutex_unlock(&i->lock);
    if (first)
        lend_recall(i); /* a close lets go of locks: it can't wait any more */
    return lt;
}

static struct lock_table *find_anonymous_locked(uint64_t ino)
{
    struct lock_table *lt;

    list_for_each_entry (lt, &g_anonymous, link)
        if (lt->ino == ino)
            return lt;
    return NULL;
}

static struct lock_table *anonymous_table(uint64_t ino, bool make)
{
    struct lock_table *lt;

    mutex_lock(&g_anonymous_lock);
    lt = find_anonymous_locked(ino);
    if (!lt && make && g_anonymous_locks < FILE_LOCKS_MAX && (lt = table_new(ino))) {
        list_append(&g_anonymous, &lt->link);
        (void)__atomic_add_fetch(&g_anonymous_locks, 1, __ATOMIC_RELAXED);
    }
    if (lt)
        lt->users++;
    mutex_unlock(&g_anonymous_lock);
    return lt;
}

/* f's locks, for a while: table_put ends it. NULL: there are none, or (make) out of memory. */
static struct lock_table *table_get(struct file *f, bool make)
{
    if (!f->inode)
        return anonymous_table(f->ino, make);
    return make ? table_of_inode(f->inode) : __atomic_load_n(&f->inode->locks, __ATOMIC_ACQUIRE);
}

static void table_put(const struct file *f, struct lock_table *lt)
{
    bool unused;

    if (f->inode)
        return;
    mutex_lock(&g_anonymous_lock);
    unused = --lt->users == 0 && lt->n == 0; /* who changes n is a user */
    if (unused) {
        list_remove(&lt->link);
        (void)__atomic_sub_fetch(&g_anonymous_locks, 1, __ATOMIC_RELAXED);
    }
    mutex_unlock(&g_anonymous_lock);
    if (unused)
        free(lt);
}

static void free_list(struct list *l)
{
    struct held_lock *h, *next;

    list_for_each_entry_safe (h, next, l, link)
        free(h);
}

void lock_table_free(struct lock_table *lt)
{
    if (!lt)
        return;
    free_list(&lt->records);
    free_list(&lt->flocks);
    free(lt);
}

static bool overlaps(const struct record_lock *a, const struct record_lock *b)
{
    return a->start <= b->end && b->start <= a->end;
}

static struct held_lock *conflict_locked(struct lock_table *lt, const void *owner,
                                         const struct record_lock *l)
{
    struct held_lock *h;

    list_for_each_entry (h, &lt->records, link)
        if (h->owner != owner && overlaps(&h->l, l) && (h->l.type == F_WRLCK || l->type == F_WRLCK))
            return h;
    return NULL;
}

/* Takes l's range out of what owner holds. `spare` is used up if a lock is split in two. */
static void cut_locked(struct lock_table *lt, const void *owner, const struct record_lock *l,
                       struct held_lock **spare)
{
    struct held_lock *h, *next;

    list_for_each_entry_safe (h, next, &lt->records, link) {
        if (h->owner != owner || !overlaps(&h->l, l))
            continue;
        if (h->l.start < l->start && h->l.end > l->end) {
            struct held_lock *tail = *spare;

            *spare = NULL;
            *tail = *h;
            tail->l.start = l->end + 1;
            h->l.end = l->start - 1;
            list_prepend(&h->link, &tail->link);
            lt->n++;
            return;
        }
        if (h->l.start < l->start) {
            h->l.end = l->start - 1;
        } else if (h->l.end > l->end) {
            h->l.start = l->end + 1;
        } else {
            list_remove(&h->link);
            free(h);
            lt->n--;
        }
    }
}

/* Joins the new lock with neighbours of the same owner and type. */
static void merge_locked(struct lock_table *lt, struct held_lock *n)
{
    struct held_lock *h, *next;

    list_for_each_entry_safe (h, next, &lt->records, link) {
        if (h == n || h->owner != n->owner || h->l.type != n->l.type)
            continue;
        if (h->l.end != INT64_MAX && h->l.end + 1 == n->l.start)
            n->l.start = h->l.start;
        else if (n->l.end != INT64_MAX && n->l.end + 1 == h->l.start)
            n->l.end = h->l.end;
        else
            continue;
        list_remove(&h->link);
        free(h);
        lt->n--;
    }
}

/* Locks are kept by where they start: F_GETLK tells the first one that is in the way. */
static void insert_locked(struct lock_table *lt, struct held_lock *n)
{
    struct held_lock *h;

    list_for_each_entry (h, &lt->records, link)
        if (h->l.start > n->l.start) {
            list_append(&h->link, &n->link); /* before h */
            return;
        }
    list_append(&lt->records, &n->link);
}

static int apply_locked(struct lock_table *lt, const void *owner, const struct record_lock *l)
{
    struct held_lock *n = NULL, *spare = malloc(sizeof(*spare));

    if (l->type != F_UNLCK)
        n = malloc(sizeof(*n));
    if (!spare || (l->type != F_UNLCK && (!n || lt->n >= FILE_LOCKS_MAX))) {
        free(spare);
        free(n);
        return -ENOLCK;
    }
    cut_locked(lt, owner, l, &spare);
    free(spare);
    if (n) {
        n->owner = owner;
        n->l = *l;
        merge_locked(lt, n);
        insert_locked(lt, n);
        lt->n++;
    }
    return 0;
}

/* Would owner, waiting for blocker, close a circle? If not, the wait is noted. */
static bool would_deadlock(struct waiting *w)
{
    const void *at = w->blocker;
    struct waiting *o;
    unsigned steps = 0;
    bool found = true;

    mutex_lock(&g_waiting_lock);
    while (found && at != w->owner && steps++ < 1000) {
        found = false;
        list_for_each_entry (o, &g_waiting, link)
            if (o->owner == at) {
                at = o->blocker;
                found = true;
                break;
            }
    }
    if (at != w->owner)
        list_append(&g_waiting, &w->link);
    mutex_unlock(&g_waiting_lock);
    return at == w->owner;
}

static int wait_for_release(struct lock_table *lt, const void *owner, const struct held_lock *c,
                            bool detect)
{
    struct waiting w = {.owner = owner, .blocker = c->owner};
    int r;

    list_init(&w.link);
    if (detect && would_deadlock(&w))
        return -EDEADLK;
    r = wait_interruptible(&lt->released, &lt->lock, DEADLINE_NONE);
    mutex_lock(&g_waiting_lock);
    list_remove(&w.link);
    mutex_unlock(&g_waiting_lock);
    return r;
}

int record_lock_set(struct file *f, const void *owner, const struct record_lock *l, bool wait)
{
    struct lock_table *lt = table_get(f, true);
    struct held_lock *c;
    int r = 0;

    if (!lt)
        return -ENOLCK;
    mutex_lock(&lt->lock);
    while (r == 0 && l->type != F_UNLCK && (c = conflict_locked(lt, owner, l)))
        r = wait ? wait_for_release(lt, owner, c, l->pid >= 0) : -EAGAIN;
    if (r == 0)
        r = apply_locked(lt, owner, l);
    mutex_unlock(&lt->lock);
    if (r == 0)
        waitq_wake(&lt->released, 0);
    table_put(f, lt);
    return r;
}

void record_lock_test(struct file *f, const void *owner, struct record_lock *l)
{
    struct lock_table *lt = table_get(f, false);
    struct held_lock *c = NULL;

    if (lt) {
        mutex_lock(&lt->lock);
        c = conflict_locked(lt, owner, l);
        if (c)
            *l = c->l;
        mutex_unlock(&lt->lock);
        table_put(f, lt);
    }
    if (!c)
        l->type = F_UNLCK;
}

void posix_locks_release(struct file *f, const void *owner)
{
    const struct record_lock all = {.type = F_UNLCK, .start = 0, .end = INT64_MAX};
    struct lock_table *lt = table_get(f, false);

    if (!lt)
        return;
    mutex_lock(&lt->lock);
    cut_locked(lt, owner, &all, NULL); /* the whole range never splits a lock */
    mutex_unlock(&lt->lock);
    waitq_wake(&lt->released, 0);
    table_put(f, lt);
}

/* ---- flock ------------------------------------------------------------------------------------*/
static struct held_lock *flock_of_locked(struct lock_table *lt, const void *owner)
{
    struct held_lock *h;

    list_for_each_entry (h, &lt->flocks, link)
        if (h->owner == owner)
            return h;
    return NULL;
}

static bool flock_conflict_locked(struct lock_table *lt, const void *owner, int type)
{
    struct held_lock *h;

    list_for_each_entry (h, &lt->flocks, link)
        if (h->owner != owner && (h->l.type == F_WRLCK || type == F_WRLCK))
            return true;
    return false;
}

static void drop_flock_locked(struct lock_table *lt, const void *owner)
{
    struct held_lock *h = flock_of_locked(lt, owner);

    if (!h)
        return;
    list_remove(&h->link);
    free(h);
    lt->n--;
}

static int add_flock_locked(struct lock_table *lt, const void *owner, int type, int pid)
{
    struct held_lock *h = lt->n < FILE_LOCKS_MAX ? malloc(sizeof(*h)) : NULL;

    if (!h)
        return -ENOLCK;
    *h = (struct held_lock){.owner = owner,
                            .l = {.type = type, .start = 0, .end = INT64_MAX, .pid = pid}};
    list_append(&lt->flocks, &h->link);
    lt->n++;
    return 0;
}

int flock_set(struct task *t, struct file *f, int operation, bool wait)
{
    int type = operation == LOCK_EX ? F_WRLCK : F_RDLCK, r = 0;
    struct lock_table *lt = table_get(f, true);
    struct held_lock *h;

    if (!lt)
        return -ENOLCK;
    mutex_lock(&lt->lock);
    h = flock_of_locked(lt, f);
    if (operation == LOCK_UN || (h && h->l.type != type)) { /* a change gives up first */
        drop_flock_locked(lt, f);
        waitq_wake(&lt->released, 0);
        h = NULL;
    }
    if (operation != LOCK_UN && !h) {
        while (r == 0 && flock_conflict_locked(lt, f, type))
            r = wait ? wait_interruptible(&lt->released, &lt->lock, DEADLINE_NONE) : -EWOULDBLOCK;
        if (r == 0 && !flock_of_locked(lt, f))
            r = add_flock_locked(lt, f, type, task_tgid(t));
    }
    mutex_unlock(&lt->lock);
    table_put(f, lt);
    return r;
}

/* The last reference to f is gone. */
void file_locks_closed(struct file *f)
{
    struct lock_table *lt = table_get(f, false);

    if (!lt)
        return;
    mutex_lock(&lt->lock);
    drop_flock_locked(lt, f);
    mutex_unlock(&lt->lock);
    table_put(f, lt);
    posix_locks_release(f, f); /* OFD locks; wakes */
}
