/*
 * SysV shared memory: a segment is a memory file (shmem_file_new) that shmat maps. How many
 * mappings there are is asked of the file's references, since munmap, exit and fork change it
 * without telling: nattch is references minus the table's own.
 */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/ipc/ipc.h"
#include "runtime/sentry/fs/ipc/sysv.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>

enum { SHM_SEGMENTS_MAX = 4096, SHM_DEST_BIT = 01000, SHM_LOCKED_BIT = 02000 };
#define SHM_SIZE_MAX (1ULL << 40)

struct shm {
    struct ipc_object o;
    struct file *file; /* reference */
    uint64_t size;
    int64_t atime, dtime, ctime; /* seconds */
    int cpid, lpid;
    bool removed; /* IPC_RMID was called: gone with the last mapping */
};

struct l_shmid_ds {
    struct l_ipc_perm perm;
    uint64_t segsz;
    int64_t atime, dtime, ctime;
    int32_t cpid, lpid;
    uint64_t nattch, unused[2];
};
_Static_assert(sizeof(struct l_shmid_ds) == 112, "shmid64_ds");

static int64_t now_seconds(void)
{
    return time_realtime() / NSEC_PER_SEC;
}

static void shm_free(struct shm *s)
{
    file_put(s->file);
    free(s);
}

static void table_free(void *table)
{
    struct ipc_table *tab = table;

    for (unsigned i = 0; i < tab->n_slots; i++)
        if (tab->slots[i])
            shm_free(container_of(tab->slots[i], struct shm, o));
    free(tab->slots);
    free(tab);
}

static struct ipc_table *table_locked(struct ipcns *ns)
{
    struct ipc_table *tab = ns->shm;

    if (!tab && (tab = calloc(1, sizeof(*tab)))) {
        tab->limit = SHM_SEGMENTS_MAX;
        ns->shm_free = table_free;
        ns->shm = tab;
    }
    return tab;
}

static unsigned attached(const struct shm *s)
{
    return __atomic_load_n(&s->file->ref.n, __ATOMIC_ACQUIRE) - 1;
}

/* Segments that were removed and that nobody maps any more. Lock held. */
static void sweep_locked(struct ipc_table *tab)
{
    for (unsigned i = 0; i < tab->n_slots; i++) {
        struct shm *s = tab->slots[i] ? container_of(tab->slots[i], struct shm, o) : NULL;

        if (s && s->removed && !attached(s)) {
            ipc_remove(tab, &s->o);
            shm_free(s);
        }
    }
}

/* The segment with that id. Lock held. */
static int find_locked(struct ipcns *ns, int id, struct shm **ret)
{
    struct ipc_table *tab = table_locked(ns);
    struct ipc_object *o;

    if (!tab)
        return -ENOMEM;
    sweep_locked(tab);
    o = ipc_by_id(tab, id);
    if (!o)
        return -EINVAL;
    *ret = container_of(o, struct shm, o);
    return 0;
}

static int create_locked(struct task *t, struct ipc_table *tab, int key, uint64_t size, int flags)
{
    char name[32];
    struct shm *s;
    int r;

    if (!size || size > SHM_SIZE_MAX)
        return -EINVAL;
    if (flags & SHM_HUGETLB)
        return -ENOMEM; /* no huge pages are reserved */
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    (void)snprintf(name, sizeof(name), "SYSV%08x", (unsigned)key);
    r = shmem_file_new(PAGE_ALIGN(size), 0, name, &s->file);
    if (r == 0)
        r = ipc_add(t, tab, &s->o, key, flags);
    if (r < 0) {
        file_put(s->file);
        free(s);
        return r;
    }
    s->size = size;
    s->ctime = now_seconds();
    s->cpid = task_tgid(t);
    return r;
}

int shm_get(struct task *t, int key, uint64_t size, int flags)
{
    struct ipcns *ns = t->ns->ipc;
    struct ipc_object *o;
    struct ipc_table *tab;
    int r = -ENOMEM;

    mutex_lock(&ns->lock);
    tab = table_locked(ns);
    if (tab) {
        sweep_locked(tab);
        r = ipc_find(tab, key, flags, &o);
    }
    if (r == 0)
        r = create_locked(t, tab, key, size, flags);
    else if (r == 1)
        r = size > container_of(o, struct shm, o)->size ? -EINVAL : ipc_may_get(t, o, flags);
    mutex_unlock(&ns->lock);
    return r;
}

/* ---- attaching
 * ------------------------------------------------------------------------------------------- */
static int check_address(gaddr_t *addr, int flags)
{
    if (*addr % SHMLBA) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        *addr -= *addr % SHMLBA;
        if (!*addr && flags & SHM_REMAP)
            return -EINVAL;
    }
    return !*addr && flags & SHM_REMAP ? -EINVAL : 0;
}

static int file_for(struct task *t, int id, int flags, struct file **ret, uint64_t *ret_size)
{
    struct ipcns *ns = t->ns->ipc;
    unsigned want = 0444 | (flags & SHM_RDONLY ? 0 : 0222) | (flags & SHM_EXEC ? 0111 : 0);
    struct shm *s;
    int r;

    mutex_lock(&ns->lock);
    r = find_locked(ns, id, &s);
    if (r == 0)
        r = ipc_permission(t, &s->o, want);
    if (r == 0) {
        *ret = file_get(s->file);
        *ret_size = s->size;
        s->atime = now_seconds();
        s->lpid = task_tgid(t);
    }
    mutex_unlock(&ns->lock);
    return r;
}

long shm_attach(struct task *t, int id, gaddr_t addr, int flags)
{
    struct map_request m = {.vma_flags = VMA_SHM};
    int r = check_address(&addr, flags);

    if (r == 0)
        r = file_for(t, id, flags, &m.file, &m.size);
    if (r < 0)
        return r;
    m.addr = addr;
    m.prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
    m.flags = MAP_SHARED;
    if (addr)
        m.flags |= flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    m.size = PAGE_ALIGN(m.size);
    addr = (gaddr_t)mm_map(t, &m);
    file_put(m.file);
    return (long)addr == -EEXIST ? -EINVAL : (long)addr;
}

/* The file of the segment that is mapped from addr on. */
static struct file *segment_at(struct mm *mm, gaddr_t addr)
{
    const struct vma *v;
    struct file *f = NULL;

    mutex_lock(&mm->lock);
    v = vma_find(&mm->set, addr);
    if (v && v->start == addr && v->flags & VMA_SHM && v->file && v->offset == 0)
        f = file_get(v->file);
    mutex_unlock(&mm->lock);
    return f;
}

/* The next part of that attachment at or above *at: mprotect may have cut it. False: none. */
static bool next_part(struct mm *mm, const struct file *f, gaddr_t addr, gaddr_t *at,
                      uint64_t *ret_size)
{
    const struct vma *v;
    bool found = false;

    mutex_lock(&mm->lock);
    for (v = vma_find(&mm->set, *at); v && !found; v = vma_next(&mm->set, v))
        if (v->file == f && v->offset == v->start - addr) {
            *at = v->start;
            *ret_size = v->end - v->start;
            found = true;
        }
    mutex_unlock(&mm->lock);
    return found;
}

static void note_detach(struct task *t, const struct file *f)
{
    struct ipcns *ns = t->ns->ipc;
    struct ipc_table *tab;

    mutex_lock(&ns->lock);
    tab = ns->shm;
    for (unsigned i = 0; tab && i < tab->n_slots; i++) {
        struct shm *s = tab->slots[i] ? container_of(tab->slots[i], struct shm, o) : NULL;

        if (s && s->file == f) {
            s->dtime = now_seconds();
            s->lpid = task_tgid(t);
        }
    }
    mutex_unlock(&ns->lock);
}

int shm_detach(struct task *t, gaddr_t addr)
{
    struct ipcns *ns = t->ns->ipc;
    struct file *f = segment_at(t->mm, addr);
    gaddr_t at = addr;
    uint64_t size;
    int r = 0;

    if (!f)
        return -EINVAL;
    for (; r == 0 && next_part(t->mm, f, addr, &at, &size); at += size)
        r = mm_unmap(t, at, size);
    note_detach(t, f);
    file_put(f);
    mutex_lock(&ns->lock);
    if (ns->shm)
        sweep_locked(ns->shm);
    mutex_unlock(&ns->lock);
    return r;
}

/* ---- control
 * --------------------------------------------------------------------------------------------- */
static void to_ds(const struct shm *s, struct l_shmid_ds *ds)
{
    memset(ds, 0, sizeof(*ds));
    ipc_to_perm(&s->o, &ds->perm);
    ds->segsz = s->size;
    ds->atime = s->atime;
    ds->dtime = s->dtime;
    ds->ctime = s->ctime;
    ds->cpid = s->cpid;
    ds->lpid = s->lpid;
    ds->nattch = attached(s);
}

static void remove_locked(struct ipcns *ns, struct shm *s)
{
    s->removed = true;
    s->o.mode |= SHM_DEST_BIT;
    s->o.key = IPC_PRIVATE; /* nobody finds it by key any more */
    sweep_locked(ns->shm);
}

static long change(struct task *t, int id, int cmd, const struct l_shmid_ds *ds)
{
    struct ipcns *ns = t->ns->ipc;
    struct shm *s;
    int r;

    mutex_lock(&ns->lock);
    r = find_locked(ns, id, &s);
    if (r == 0 && cmd == IPC_SET) {
        r = ipc_set(t, &s->o, &ds->perm);
        s->ctime = r == 0 ? now_seconds() : s->ctime;
    } else if (r == 0) {
        r = ipc_owner(t, &s->o);
        if (r == 0 && cmd == IPC_RMID)
            remove_locked(ns, s);
        else if (r == 0) /* pages are the host's: only the flag is kept */
            s->o.mode = cmd == SHM_LOCK ? s->o.mode | SHM_LOCKED_BIT
                                        : s->o.mode & ~(unsigned)SHM_LOCKED_BIT;
    }
    mutex_unlock(&ns->lock);
    return r;
}

static long stat_one(struct task *t, int id, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct l_shmid_ds ds;
    struct shm *s = NULL;
    long r = -EINVAL;

    mutex_lock(&ns->lock);
    if (cmd == IPC_STAT) {
        r = find_locked(ns, id, &s);
    } else if (table_locked(ns)) {
        struct ipc_object *o = ipc_by_index(ns->shm, id);

        s = o ? container_of(o, struct shm, o) : NULL;
        r = s ? 0 : -EINVAL;
    }
    if (r == 0 && cmd != SHM_STAT_ANY)
        r = ipc_permission(t, &s->o, 0444);
    if (r == 0) {
        to_ds(s, &ds);
        r = cmd == IPC_STAT ? 0 : s->o.id;
    }
    mutex_unlock(&ns->lock);
    if (r < 0)
        return r;
    return copy_out(t, arg, &ds, sizeof(ds)) < 0 ? -EFAULT : r;
}

static long info(struct task *t, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct {
        uint64_t shmmax, shmmin, shmmni, shmseg, shmall, unused[4];
    } limits = {.shmmax = SHM_SIZE_MAX,
                .shmmin = 1,
                .shmmni = SHM_SEGMENTS_MAX,
                .shmseg = SHM_SEGMENTS_MAX,
                .shmall = SHM_SIZE_MAX / PAGE_BYTES};
    struct {
        int32_t used_ids, pad;
        uint64_t total, rss, swp, attempts, successes;
    } use = {0};
    long max;

    mutex_lock(&ns->lock);
    max = table_locked(ns) ? ipc_max_index(ns->shm) : 0;
    if (ns->shm) {
        const struct ipc_table *tab = ns->shm;

        use.used_ids = (int32_t)tab->count;
        for (unsigned i = 0; i < tab->n_slots; i++)
            if (tab->slots[i])
                use.total +=
                    PAGE_ALIGN(container_of(tab->slots[i], struct shm, o)->size) / PAGE_BYTES;
    }
    mutex_unlock(&ns->lock);
    if (cmd == IPC_INFO ? copy_out(t, arg, &limits, sizeof(limits)) < 0
                        : copy_out(t, arg, &use, sizeof(use)) < 0)
        return -EFAULT;
    return max;
}

long shm_control(struct task *t, int id, int cmd, gaddr_t arg)
{
    struct l_shmid_ds ds;

    switch (cmd) {
    case IPC_INFO:
    case SHM_INFO:
        return info(t, cmd, arg);
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY:
        return stat_one(t, id, cmd, arg);
    case IPC_SET:
        if (copy_in(t, &ds, arg, sizeof(ds)) < 0)
            return -EFAULT;
        return change(t, id, cmd, &ds);
    case IPC_RMID:
    case SHM_LOCK:
    case SHM_UNLOCK:
        return change(t, id, cmd, NULL);
    default:
        return -EINVAL;
    }
}

/* ---- /proc/sysvipc/shm
 * --------------------------------------------------------------------------*/
int shm_show(struct ipcns *ns, struct buf *out)
{
    int r = buf_puts(out,
                     "       key      shmid perms                  size  cpid  lpid nattch   uid   "
                     "gid  cuid  cgid      atime      dtime      ctime                   rss"
                     "                  swap\n");
    struct ipc_table *tab;

    mutex_lock(&ns->lock);
    tab = ns->shm;
    if (tab)
        sweep_locked(tab);
    for (unsigned i = 0; r == 0 && tab && i < tab->n_slots; i++) {
        const struct ipc_object *o = tab->slots[i];
        const struct shm *s = o ? container_of(o, struct shm, o) : NULL;

        if (s)
            r = buf_printf(out,
                           "%10d %10d  %4o %21lu %5d %5d  %5u %5u %5u %5u %5u %10ld %10ld %10ld "
                           "%21lu %21d\n",
                           o->key, o->id, o->mode, s->size, s->cpid, s->lpid, attached(s), o->uid,
                           o->gid, o->cuid, o->cgid, s->atime, s->dtime, s->ctime, 0UL, 0);
    }
    mutex_unlock(&ns->lock);
    return r;
}
