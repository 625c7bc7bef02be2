/*
 * Descriptor tables. One array of files, a bitmap of used numbers with a summary bitmap above it
 * (a set bit: that word is full), so that the lowest free number is found in three steps even among
 * 100,000. The table's only user reads it without the lock: a table with one reference is changed
 * by nobody else.
 *
 * Reserved numbers are used in the bitmap with no file behind them.
 */
#include "runtime/guard.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FD_INITIAL = 64, FD_MAX = 1 << 20, WORD_BITS = 64 };

struct fdtable {
    struct ref ref;
    struct mutex lock; /* guards what follows */
    unsigned capacity; /* multiple of 64 */
    struct file **files;
    uint64_t *used, *cloexec, *full; /* full: one bit for each word of used */
    unsigned end;                    /* no used number is >= end */
    unsigned opens, wholes;          /* hints: files opened; of late, read by one read each */
    bool gave_data;
    struct lends *lends; /* NULL: nothing was ever lent; the tasks that use the table */
    bool mixed;          /* by tasks of several address spaces */
};

static size_t words(unsigned bits)
{
    return (bits + WORD_BITS - 1) / WORD_BITS;
}

static bool test_bit(const uint64_t *map, unsigned i)
{
    return map[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void put_bit(uint64_t *map, unsigned i, bool on)
{
    uint64_t bit = 1ULL << (i % WORD_BITS);

    map[i / WORD_BITS] = on ? map[i / WORD_BITS] | bit : map[i / WORD_BITS] & ~bit;
}

static void mark(struct fdtable *ft, unsigned fd, bool used, bool cloexec)
{
    put_bit(ft->used, fd, used);
    put_bit(ft->cloexec, fd, used && cloexec);
    put_bit(ft->full, fd / WORD_BITS, ft->used[fd / WORD_BITS] == UINT64_MAX);
    if (used && fd >= ft->end)
        ft->end = fd + 1;
}

static void *grown(void *old, size_t old_size, size_t new_size)
{
    char *p = realloc(old, new_size);

    if (p)
        memset(p + old_size, 0, new_size - old_size);
    return p;
}

static int grow(struct fdtable *ft, unsigned want)
{
    unsigned old = ft->capacity, n = old ? old : FD_INITIAL;
    struct file **files;
    uint64_t *map;

    while (n <= want)
        n *= 2;
    files = calloc(n, sizeof(*files));
    if (!files)
        return -ENOMEM;
    map = grown(ft->used, words(old) * 8, words(n) * 8);
    if (map)
        ft->used = map;
    if (map && (map = grown(ft->cloexec, words(old) * 8, words(n) * 8)))
        ft->cloexec = map;
    if (map &&
        (map = grown(ft->full, words((unsigned)words(old)) * 8, words((unsigned)words(n)) * 8)))
        ft->full = map;
    if (!map) {
        free(files);
        return -ENOMEM;
    }
    if (old)
        memcpy(files, ft->files, old * sizeof(*files));
    free(ft->files);
    ft->files = files;
    ft->capacity = n;
    return 0;
}

struct fdtable *fdtable_new(void)
{
    struct fdtable *ft = calloc(1, sizeof(*ft));

    if (!ft)
        return NULL;
    ref_init(&ft->ref);
    if (grow(ft, 0) < 0) {
        free(ft);
        return NULL;
    }
    return ft;
}

struct fdtable *fdtable_get(struct fdtable *ft)
{
    ref_get(&ft->ref);
    return ft;
}

bool fdtable_shared(const struct fdtable *ft)
{
    return __atomic_load_n(&ft->ref.n, __ATOMIC_ACQUIRE) > 1;
}

int fdtable_users(const struct fdtable *ft)
{
    return ft->mixed ? -1 : (int)__atomic_load_n(&ft->ref.n, __ATOMIC_ACQUIRE);
}

void fdtable_unlend(struct task *t, struct fdtable *ft, bool mixed)
{
    if (mixed)
        ft->mixed = true;
    if (ft->lends)
        lends_drop_all(t, ft->lends);
}

void fdtable_new_image(struct fdtable *ft)
{
    struct lends *l = ft->lends;

    ft->lends = NULL;
    lends_free(l);
}

void fd_was_used(struct task *t, int fd, struct file *f, bool with_pos)
{
    if (!t->files->mixed && lend_possible(f))
        lend_consider(t, &t->files->lends, fd, f, with_pos);
}

void fd_watched(struct task *t, int epfd, int fd, bool watched)
{
    if (!t->files->mixed)
        lend_watch(t, &t->files->lends, epfd, fd, watched);
}

/* Few files are no loop; and their data is read ahead as long as that is wanted. */
enum { OPENS_BEFORE = 16, WHOLE_BEFORE = 8 };

void fd_was_opened(struct task *t, int fd, struct file *f)
{
    struct fdtable *ft = t->files;
    bool data;

    if (f->host_fd < 0 || ft->mixed || ++ft->opens <= OPENS_BEFORE)
        return;
    if (ft->gave_data) /* and nobody took it */
        ft->wholes = 0;
    data = ft->wholes >= WHOLE_BEFORE;
    ft->gave_data = lend_known(t, &ft->lends, fd, f, data ? LEND_DATA : LEND_OPENED);
}

void fd_was_read_up(struct task *t, int fd, struct file *f)
{
    struct fdtable *ft = t->files;

    if (!ft->mixed && ft->opens > OPENS_BEFORE)
        (void)lend_known(t, &ft->lends, fd, f, LEND_AT_END);
}

void fd_was_sent(struct task *t, int fd, struct file *f)
{
    struct fdtable *ft = t->files;

    if (f->host_fd >= 0 && !ft->mixed && ft->opens > OPENS_BEFORE)
        (void)lend_known(t, &ft->lends, fd, f, LEND_OPENED);
}

void fd_read_whole(struct task *t, bool told)
{
    struct fdtable *ft = t->files;

    if (ft->wholes < WHOLE_BEFORE)
        ft->wholes++;
    if (told)
        ft->gave_data = false;
}

static void free_table(struct fdtable *ft)
{
    lends_free(ft->lends);
    free(ft->files);
    free(ft->used);
    free(ft->cloexec);
    free(ft->full);
    free(ft);
}

struct fdtable *fdtable_clone(struct fdtable *ft)
{
    struct fdtable *n = fdtable_new();
    unsigned i;

    if (!n)
        return NULL;
    if (ft->lends)
        lends_positions(ft->lends);
    mutex_lock(&ft->lock);
    if (ft->end > n->capacity && grow(n, ft->end - 1) < 0) {
        mutex_unlock(&ft->lock);
        free_table(n);
        return NULL;
    }
    for (i = 0; i < ft->end; i++)
        if (ft->files[i]) {
            n->files[i] = file_get(ft->files[i]);
            mark(n, i, true, test_bit(ft->cloexec, i));
        }
    mutex_unlock(&ft->lock);
    return n;
}

/* What close(2) does to the file besides dropping the reference. */
static void closed(struct task *t, struct fdtable *ft, struct file *f)
{
    if (f->ops->flush)
        f->ops->flush(t, f);
    if (file_has_locks(f))
        posix_locks_release(f, ft);
    file_put(f);
}

void fdtable_put(struct task *t, struct fdtable *ft)
{
    unsigned i;

    if (!ft || !ref_put(&ft->ref))
        return;
    if (ft->lends)
        lends_drop_all(NULL, ft->lends);
    for (i = 0; i < ft->end; i++)
        if (ft->files[i])
            closed(t, ft, ft->files[i]);
    free_table(ft);
}

static struct file *take_out_locked(struct fdtable *ft, unsigned fd)
{
    struct file *f = fd < ft->capacity ? ft->files[fd] : NULL;

    if (!f)
        return NULL;
    if (ft->lends)
        lends_drop(current_task(), ft->lends, (int)fd);
    ft->files[fd] = NULL;
    mark(ft, fd, false, false);
    return f;
}

void fdtable_close_on_exec(struct task *t, struct fdtable *ft)
{
    (void)fd_close_range_of(t, ft, 0, UINT32_MAX, true);
}

int fd_close_range_of(struct task *t, struct fdtable *ft, unsigned first, unsigned last,
                      bool only_cloexec)
{
    unsigned i;

    for (i = first; i <= last; i++) {
        struct file *f = NULL;

        mutex_lock(&ft->lock);
        if (i >= ft->end) {
            mutex_unlock(&ft->lock);
            break;
        }
        if (!ft->used[i / WORD_BITS]) {
            i |= WORD_BITS - 1;
        } else if (!only_cloexec || test_bit(ft->cloexec, i)) {
            f = take_out_locked(ft, i);
        }
        mutex_unlock(&ft->lock);
        if (f)
            closed(t, ft, f);
    }
    return 0;
}

int fd_close_range(struct task *t, unsigned first, unsigned last, bool set_cloexec)
{
    struct fdtable *ft = t->files;
    unsigned i;

    if (!set_cloexec)
        return fd_close_range_of(t, ft, first, last, false);
    mutex_lock(&ft->lock);
    for (i = first; i <= last && i < ft->end; i++)
        if (ft->files[i])
            put_bit(ft->cloexec, i, true);
    mutex_unlock(&ft->lock);
    return 0;
}

static struct file *get_locked(struct fdtable *ft, unsigned fd)
{
    struct file *f = fd < ft->capacity ? ft->files[fd] : NULL;

    return f ? file_get(f) : NULL;
}

struct file *fd_get_any(struct task *t, int fd)
{
    struct fdtable *ft = t->files;
    struct file *f;

    if (fd < 0)
        return NULL;
    if (ft->lends)
        lends_touch(ft->lends, fd);
    if (!fdtable_shared(ft))
        return get_locked(ft, (unsigned)fd);
    mutex_lock(&ft->lock);
    f = get_locked(ft, (unsigned)fd);
    mutex_unlock(&ft->lock);
    return f;
}

struct file *fd_get(struct task *t, int fd)
{
    struct file *f = fd_get_any(t, fd);

    if (f && (f->flags & O_PATH)) {
        file_put(f);
        return NULL;
    }
    return f;
}

/* Lowest free number >= min, or capacity and beyond. */
static unsigned lowest_free(const struct fdtable *ft, unsigned min)
{
    unsigned w = min / WORD_BITS, n = (unsigned)words(ft->capacity);
    uint64_t free_bits;

    if (min >= ft->capacity)
        return min;
    free_bits = ~ft->used[w] & (UINT64_MAX << (min % WORD_BITS));
    if (free_bits)
        return w * WORD_BITS + (unsigned)__builtin_ctzll(free_bits);
    for (w++; w < n; w++) {
        uint64_t not_full = ~ft->full[w / WORD_BITS] & (UINT64_MAX << (w % WORD_BITS));

        if (!not_full) {
            w |= WORD_BITS - 1;
            continue;
        }
        w = (w & ~(WORD_BITS - 1U)) + (unsigned)__builtin_ctzll(not_full);
        if (w < n)
            return w * WORD_BITS + (unsigned)__builtin_ctzll(~ft->used[w]);
    }
    return ft->capacity;
}

static unsigned limit_of(struct task *t)
{
    rlim_t n = task_rlimit(t, RLIMIT_NOFILE);

    return n > FD_MAX || !GUARDED(OPEN_FILES) ? FD_MAX : (unsigned)n;
}

static int reserve_locked(struct task *t, struct fdtable *ft, struct file *f, bool cloexec, int min)
{
    unsigned fd, limit = limit_of(t);

    if (min < 0 || (unsigned)min >= limit)
        return min < 0 ? -EINVAL : -EMFILE;
    fd = lowest_free(ft, (unsigned)min);
    if (fd >= limit)
        return -EMFILE;
    if (fd >= ft->capacity && grow(ft, fd) < 0)
        return -ENOMEM;
    mark(ft, fd, true, cloexec);
    ft->files[fd] = f;
    return (int)fd;
}

int fd_install(struct task *t, struct file *f, bool cloexec, int min)
{
    struct fdtable *ft = t->files;
    int fd;

    mutex_lock(&ft->lock);
    fd = reserve_locked(t, ft, f, cloexec, min);
    mutex_unlock(&ft->lock);
    return fd;
}

int fd_reserve(struct task *t, bool cloexec, int min)
{
    return fd_install(t, NULL, cloexec, min);
}

void fd_fill(struct task *t, int fd, struct file *f)
{
    struct fdtable *ft = t->files;

    mutex_lock(&ft->lock);
    assert(!ft->files[fd] && test_bit(ft->used, (unsigned)fd));
    ft->files[fd] = f;
    mutex_unlock(&ft->lock);
}

void fd_unreserve(struct task *t, int fd)
{
    struct fdtable *ft = t->files;

    mutex_lock(&ft->lock);
    mark(ft, (unsigned)fd, false, false);
    mutex_unlock(&ft->lock);
}

int fd_replace(struct task *t, struct file *f, int fd, bool cloexec)
{
    struct fdtable *ft = t->files;
    struct file *old = NULL;
    int r = fd;

    if (fd < 0 || (unsigned)fd >= limit_of(t))
        return -EBADF;
    mutex_lock(&ft->lock);
    if ((unsigned)fd >= ft->capacity && grow(ft, (unsigned)fd) < 0) {
        r = -ENOMEM;
    } else if (!ft->files[fd] && test_bit(ft->used, (unsigned)fd)) {
        r = -EBUSY; /* being opened by another thread at this moment */
    } else {
        old = ft->files[fd];
        if (ft->lends)
            lends_drop(t, ft->lends, fd);
        ft->files[fd] = f;
        mark(ft, (unsigned)fd, true, cloexec);
    }
    mutex_unlock(&ft->lock);
    if (old)
        closed(t, ft, old);
    return r;
}

int fd_close(struct task *t, int fd)
{
    struct fdtable *ft = t->files;
    struct file *f = NULL;

    mutex_lock(&ft->lock);
    if (fd >= 0)
        f = take_out_locked(ft, (unsigned)fd);
    mutex_unlock(&ft->lock);
    if (!f)
        return -EBADF;
    closed(t, ft, f);
    return 0;
}

int fd_get_cloexec(struct task *t, int fd)
{
    bool on;
    struct file *f = fdtable_file(t->files, fd, &on);

    if (!f)
        return -EBADF;
    file_put(f);
    return on;
}

int fd_set_cloexec(struct task *t, int fd, bool on)
{
    struct fdtable *ft = t->files;
    int r = -EBADF;

    mutex_lock(&ft->lock);
    if (fd >= 0 && (unsigned)fd < ft->capacity && ft->files[fd]) {
        put_bit(ft->cloexec, (unsigned)fd, on);
        r = 0;
    }
    mutex_unlock(&ft->lock);
    return r;
}

int fdtable_next(struct fdtable *ft, int from)
{
    unsigned i;
    int found = -1;

    mutex_lock(&ft->lock);
    for (i = from < 0 ? 0 : (unsigned)from; i < ft->end; i++)
        if (ft->files[i]) {
            found = (int)i;
            break;
        }
    mutex_unlock(&ft->lock);
    return found;
}

struct file *fdtable_file(struct fdtable *ft, int fd, bool *ret_cloexec)
{
    struct file *f = NULL;

    if (ft->lends)
        lends_touch(ft->lends, fd);
    mutex_lock(&ft->lock);
    if (fd >= 0)
        f = get_locked(ft, (unsigned)fd);
    if (f && ret_cloexec)
        *ret_cloexec = test_bit(ft->cloexec, (unsigned)fd);
    mutex_unlock(&ft->lock);
    return f;
}
