/*
 * The bytes of tmpfs files. Pages are charged before they are used; a memfd that is mapped may gain
 * pages behind our back, which is found out (fstat) when something is charged next.
 */
#include "runtime/gofer/client.h"
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/vfs/hostio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static unsigned g_memfds; /* atomic */

enum { MEMFDS_MAX = 20000 };

int tmpfs_charge(struct tmpfs *s, uint64_t pages)
{
    uint64_t used;

    if (!pages)
        return 0;
    used = __atomic_add_fetch(&s->used_pages, pages, __ATOMIC_RELAXED);
    if (s->max_pages && used > s->max_pages) {
        (void)__atomic_sub_fetch(&s->used_pages, pages, __ATOMIC_RELAXED);
        return -ENOSPC;
    }
    return 0;
}

void tmpfs_uncharge(struct tmpfs *s, uint64_t pages)
{
    (void)__atomic_sub_fetch(&s->used_pages, pages, __ATOMIC_RELAXED);
}

static uint64_t pages_of(uint64_t size)
{
    return (size + TMPFS_PAGE - 1) / TMPFS_PAGE;
}

static int memfd_of(const struct tmpfs_inode *ti)
{
    return __atomic_load_n(&ti->memfd, __ATOMIC_ACQUIRE);
}

/* Sets the charge to `pages`; growing may fail. data_lock held. */
static int recharge_locked(struct tmpfs_inode *ti, uint64_t pages)
{
    struct tmpfs *s = tmpfs_of(&ti->inode);
    int r = 0;

    if (pages > ti->pages)
        r = tmpfs_charge(s, pages - ti->pages);
    else
        tmpfs_uncharge(s, ti->pages - pages);
    if (r == 0) {
        ti->pages = pages;
        ti->inode.blocks = pages * (TMPFS_PAGE / 512);
    }
    return r;
}

/* What the host says a memfd really holds; over the limit is noted, not undone. */
static void resync_locked(struct tmpfs_inode *ti)
{
    struct stat st;

    if (memfd_of(ti) < 0 || fstat(memfd_of(ti), &st) < 0)
        return;
    uint64_t now = (uint64_t)st.st_blocks / (TMPFS_PAGE / 512);

    (void)__atomic_add_fetch(&tmpfs_of(&ti->inode)->used_pages, now - ti->pages, __ATOMIC_RELAXED);
    ti->pages = now;
    ti->inode.blocks = (uint64_t)st.st_blocks;
}

uint64_t tmpfs_pages(struct inode *i)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    uint64_t n;

    mutex_lock(&ti->data_lock);
    if (ti->maybe_sparse)
        resync_locked(ti);
    n = ti->pages;
    mutex_unlock(&ti->data_lock);
    return n;
}

static void set_capacity(struct tmpfs_inode *ti, size_t n)
{
    (void)__atomic_add_fetch(&tmpfs_of(&ti->inode)->heap, n - ti->capacity, __ATOMIC_RELAXED);
    ti->capacity = n;
}

static int open_backing(struct tmpfs_inode *ti)
{
    struct gofer *g = tmpfs_of(&ti->inode)->gofer;
    int fd = g ? gofer_scratch(g, &ti->scratch) : -ENOSYS;

    if (fd != -ENOSYS)
        return hostio_admit(fd);
    fd = memfd_create("berm", MFD_CLOEXEC);
    if (fd < 0)
        return -ENFILE;
    (void)fcntl(fd, F_SETFL, O_RDWR | O_NOATIME); /* nobody looks at the memfd's own times */
    return hostio_admit(fd);
}

static void drop_backing(struct tmpfs_inode *ti, int fd)
{
    (void)close(fd);
    if (ti->scratch)
        (void)gofer_scratch_drop(tmpfs_of(&ti->inode)->gofer, ti->scratch);
    ti->scratch = 0;
}

/* Moves the bytes from the heap to a memfd or scratch file. data_lock held. */
static int to_memfd_locked(struct tmpfs_inode *ti)
{
    int64_t size = ti->inode.size;
    int fd, r = 0;

    if (memfd_of(ti) >= 0)
        return 0;
    if (__atomic_add_fetch(&g_memfds, 1, __ATOMIC_RELAXED) > MEMFDS_MAX) {
        (void)__atomic_sub_fetch(&g_memfds, 1, __ATOMIC_RELAXED);
        return -ENFILE;
    }
    fd = open_backing(ti);
    if (fd < 0)
        r = fd;
    if (r == 0 && ftruncate(fd, size) < 0)
        r = -EFBIG;
    if (r == 0 && ti->data)
        r = hostio_write_all(fd, ti->data, MIN((size_t)size, ti->capacity), 0);
    if (r < 0) {
        if (fd >= 0)
            drop_backing(ti, fd);
        (void)__atomic_sub_fetch(&g_memfds, 1, __ATOMIC_RELAXED);
        return r;
    }
    free(ti->data);
    ti->data = NULL;
    set_capacity(ti, 0);
    if (!ti->pages && size)
        ti->maybe_sparse = true;
    __atomic_store_n(&ti->memfd, fd, __ATOMIC_RELEASE);
    return 0;
}

void tmpfs_data_free(struct tmpfs_inode *ti)
{
    if (ti->memfd >= 0) {
        resync_locked(ti);
        drop_backing(ti, ti->memfd);
        (void)__atomic_sub_fetch(&g_memfds, 1, __ATOMIC_RELAXED);
    }
    tmpfs_uncharge(tmpfs_of(&ti->inode), ti->pages);
    set_capacity(ti, 0);
    free(ti->data);
}

/* Heap room for [0, end). New bytes are zero. data_lock held. */
static int reserve_locked(struct tmpfs_inode *ti, size_t end)
{
    size_t n = ti->capacity ? ti->capacity : 64;
    char *p;

    if (end <= ti->capacity)
        return 0;
    while (n < end)
        n *= 2;
    p = realloc(ti->data, n);
    if (!p)
        return -ENOSPC;
    memset(p + ti->capacity, 0, n - ti->capacity);
    ti->data = p;
    set_capacity(ti, n);
    return 0;
}

ssize_t tmpfs_read(struct inode *i, struct uio *u, int64_t pos)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    int64_t size = __atomic_load_n(&i->size, __ATOMIC_ACQUIRE);
    uint64_t n;
    ssize_t r;

    if (pos >= size || !u->left)
        return 0;
    n = MIN((uint64_t)(size - pos), u->left);
    if (memfd_of(ti) >= 0)
        return hostio_read(memfd_of(ti), u, pos, n);
    mutex_lock(&ti->data_lock);
    if (memfd_of(ti) >= 0) {
        r = -EAGAIN;
    } else {
        size_t have = (uint64_t)pos < ti->capacity ? ti->capacity - (size_t)pos : 0;

        if (have) {
            r = uio_copy_to(u, ti->data + pos, MIN(n, have));
            if (r > 0 && (uint64_t)r == have && have < n) { /* the rest was never written */
                ssize_t z = uio_zero(u, n - have);

                r += z > 0 ? z : 0;
            }
        } else {
            r = uio_zero(u, n);
        }
    }
    mutex_unlock(&ti->data_lock);
    return r == -EAGAIN ? hostio_read(memfd_of(ti), u, pos, n) : r;
}

/* Charges for a write of [pos, pos + *size) into a memfd; shortens it to what fits. */
static int charge_write_locked(struct tmpfs_inode *ti, int64_t pos, uint64_t *size)
{
    uint64_t first = (uint64_t)pos / TMPFS_PAGE, last = pages_of((uint64_t)pos + *size), fresh;
    struct tmpfs *s = tmpfs_of(&ti->inode);
    uint64_t dense = ti->maybe_sparse ? 0 : pages_of((uint64_t)ti->inode.size);

    if (first > dense || ti->maybe_sparse)
        ti->maybe_sparse = true;
    if (!ti->maybe_sparse) {
        fresh = last > ti->pages ? last - ti->pages : 0;
    } else { /* at worst all of its pages are new; corrected after the write */
        fresh = last - first;
        if (s->max_pages && s->used_pages + fresh > s->max_pages)
            resync_locked(ti);
    }
    while (fresh && tmpfs_charge(s, fresh) < 0) {
        uint64_t left = s->max_pages > s->used_pages ? s->max_pages - s->used_pages : 0;
        uint64_t end;

        if (!left)
            return -ENOSPC;
        if (left >= fresh)
            continue;
        end = (last - (fresh - left)) * TMPFS_PAGE;
        if (end <= (uint64_t)pos)
            return -ENOSPC;
        *size = end - (uint64_t)pos;
        fresh = left;
        last = pages_of((uint64_t)pos + *size);
    }
    ti->pages += fresh;
    ti->inode.blocks = ti->pages * (TMPFS_PAGE / 512);
    return 0;
}

static ssize_t write_big_locked(struct tmpfs_inode *ti, struct uio *u, int64_t pos)
{
    uint64_t size = u->left;
    ssize_t n;
    int r = to_memfd_locked(ti);

    if (r == 0)
        r = charge_write_locked(ti, pos, &size);
    if (r < 0)
        return r;
    n = hostio_write(memfd_of(ti), u, pos, size);
    if (ti->maybe_sparse || n < (ssize_t)size)
        resync_locked(ti);
    return n;
}

static ssize_t write_small_locked(struct tmpfs_inode *ti, struct uio *u, int64_t pos)
{
    uint64_t end = (uint64_t)pos + u->left;
    int r = reserve_locked(ti, (size_t)end);

    if (r == 0 && pages_of(end) > ti->pages)
        r = recharge_locked(ti, pages_of(end));
    if (r < 0)
        return r;
    return uio_copy_from(u, ti->data + pos, (size_t)u->left);
}

static bool heap_is_full(const struct tmpfs *s)
{
    return s->gofer && __atomic_load_n(&s->heap, __ATOMIC_RELAXED) > TMPFS_HEAP_MAX;
}

ssize_t tmpfs_write(struct inode *i, struct uio *u, int64_t pos)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    ssize_t n;

    mutex_lock(&ti->data_lock);
    if (memfd_of(ti) < 0 && pos < TMPFS_SMALL && u->left <= (uint64_t)(TMPFS_SMALL - pos) &&
        !heap_is_full(tmpfs_of(i)))
        n = write_small_locked(ti, u, pos);
    else
        n = write_big_locked(ti, u, pos);
    if (n > 0)
        inode_grew(i, pos + n);
    mutex_unlock(&ti->data_lock);
    return n;
}

int tmpfs_data_fd(struct inode *i, bool writable)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    int r = 0;

    if (memfd_of(ti) < 0 || writable) {
        mutex_lock(&ti->data_lock);
        r = to_memfd_locked(ti);
        if (writable)
            ti->maybe_sparse = true; /* faults add pages from now on */
        mutex_unlock(&ti->data_lock);
    }
    return r < 0 ? r : memfd_of(ti);
}

/* Sets the size; i->io_lock is held. */
int tmpfs_resize(struct inode *i, int64_t size)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    int r = 0;

    mutex_lock(&ti->data_lock);
    if (memfd_of(ti) < 0 && size > TMPFS_SMALL)
        r = to_memfd_locked(ti);
    if (r == 0 && memfd_of(ti) >= 0) {
        if (size > i->size)
            ti->maybe_sparse = true;
        if (ftruncate(memfd_of(ti), size) < 0)
            r = -EFBIG;
        else
            resync_locked(ti);
    } else if (r == 0) {
        if ((uint64_t)size < ti->capacity)
            memset(ti->data + size, 0, ti->capacity - (size_t)size);
        if (size == 0) {
            free(ti->data);
            ti->data = NULL;
            set_capacity(ti, 0);
        }
        if (pages_of((uint64_t)size) < ti->pages)
            (void)recharge_locked(ti, pages_of((uint64_t)size));
    }
    if (r == 0)
        __atomic_store_n(&i->size, size, __ATOMIC_RELEASE);
    mutex_unlock(&ti->data_lock);
    return r;
}

int tmpfs_fallocate(struct inode *i, int mode, int64_t offset, int64_t size)
{
    const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    struct tmpfs_inode *ti = tmpfs_inode(i);
    struct tmpfs *s = tmpfs_of(i);
    uint64_t pages = pages_of((uint64_t)size) + 1;
    int r;

    if (mode & ~known)
        return -EOPNOTSUPP;
    mutex_lock(&ti->data_lock);
    r = to_memfd_locked(ti);
    if (r == 0 && !(mode & FALLOC_FL_PUNCH_HOLE) && s->max_pages) {
        resync_locked(ti);
        if (s->used_pages + pages > s->max_pages + ti->pages)
            r = -ENOSPC;
    }
    if (r == 0 && (mode & FALLOC_FL_ZERO_RANGE)) /* memfds know no ZERO_RANGE */
        r = fallocate(memfd_of(ti), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
    if (r == 0)
        r = fallocate(memfd_of(ti), mode & ~FALLOC_FL_ZERO_RANGE, offset, size);
    if (r < 0 && r != -ENFILE && r != -ENOSPC)
        r = errno == ENOSPC || errno == ENOMEM ? -ENOSPC : errno == EFBIG ? -EFBIG : -EOPNOTSUPP;
    ti->maybe_sparse = true;
    resync_locked(ti);
    if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE))
        inode_grew(i, offset + size);
    mutex_unlock(&ti->data_lock);
    return r;
}

int64_t tmpfs_seek_data(struct inode *i, int64_t offset, int whence)
{
    struct tmpfs_inode *ti = tmpfs_inode(i);
    off_t r;

    if (memfd_of(ti) < 0) { /* a heap block is data as far as it was charged */
        int64_t end = MIN((int64_t)(ti->pages * TMPFS_PAGE), i->size);

        if (whence == SEEK_DATA)
            return offset < end ? offset : -ENXIO;
        return offset < end ? end : offset;
    }
    r = lseek(memfd_of(ti), offset, whence);
    return r < 0 ? -ENXIO : r;
}
