/*
 * SysV semaphores. An operation that cannot be done waits on its set's queue and is tried again
 * whenever the set changes; sets are small and waiters few, so all are woken.
 *
 * Limits: GETPID tells who last changed a semaphore; GETNCNT and GETZCNT count by the first
 * operation that blocks, as Linux does.
 */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/ipc/ipc.h"
#include "runtime/sentry/fs/ipc/sysv.h"
#include "runtime/sentry/mm/mm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SEM_SETS_MAX = 32000, SEM_TOTAL_MAX = 1 << 20 };

struct sem {
    uint16_t value, ncnt, zcnt;
    int pid;
};

/* What a process is to give back to a set when it ends. */
struct sem_undo {
    struct list link;        /* set's */
    struct process *process; /* not counted: sem_process_exit comes first */
    int16_t adjust[];
};

struct sem_set {
    struct ipc_object o;
    struct ref ref; /* the table's, and those who wait */
    struct ipcns *ns;
    bool removed;
    unsigned n;
    int64_t otime, ctime;
    struct waitq wait;
    struct list undos;
    struct sem sems[];
};

struct sem_table {
    struct ipc_table ids;
    unsigned total; /* semaphores in all sets */
};

struct l_semid_ds {
    struct l_ipc_perm perm;
    int64_t otime, unused1, ctime, unused2;
    uint64_t nsems, unused[2];
};
_Static_assert(sizeof(struct l_semid_ds) == 104, "semid64_ds");

static unsigned g_undos; /* atomic: processes exit without looking if there are none */

static int64_t now_seconds(void)
{
    return time_realtime() / NSEC_PER_SEC;
}

static void set_put(struct sem_set *s)
{
    struct sem_undo *u, *next;

    if (!ref_put(&s->ref))
        return;
    list_for_each_entry_safe (u, next, &s->undos, link) {
        (void)__atomic_fetch_sub(&g_undos, 1, __ATOMIC_RELAXED);
        free(u);
    }
    free(s);
}

static void table_free(void *table)
{
    struct sem_table *tab = table;

    for (unsigned i = 0; i < tab->ids.n_slots; i++)
        if (tab->ids.slots[i])
            set_put(container_of(tab->ids.slots[i], struct sem_set, o));
    free(tab->ids.slots);
    free(tab);
}

static struct sem_table *table_locked(struct ipcns *ns)
{
    struct sem_table *tab = ns->sem;

    if (!tab && (tab = calloc(1, sizeof(*tab)))) {
        tab->ids.limit = SEM_SETS_MAX;
        ns->sem_free = table_free;
        ns->sem = tab;
    }
    return tab;
}

static struct sem_set *find_locked(struct ipcns *ns, int id)
{
    struct sem_table *tab = table_locked(ns);
    struct ipc_object *o = tab ? ipc_by_id(&tab->ids, id) : NULL;

    return o ? container_of(o, struct sem_set, o) : NULL;
}

static int create_locked(struct task *t, struct sem_table *tab, int key, int n, int flags)
{
    struct sem_set *s;
    int r;

    if (n <= 0)
        return -EINVAL;
    if (tab->total + (unsigned)n > SEM_TOTAL_MAX)
        return -ENOSPC;
    s = calloc(1, sizeof(*s) + (size_t)n * sizeof(struct sem));
    if (!s)
        return -ENOMEM;
    ref_init(&s->ref);
    s->n = (unsigned)n;
    s->ns = t->ns->ipc;
    s->ctime = now_seconds();
    waitq_init(&s->wait);
    list_init(&s->undos);
    r = ipc_add(t, &tab->ids, &s->o, key, flags);
    if (r < 0)
        free(s);
    else
        tab->total += (unsigned)n;
    return r;
}

int sem_get(struct task *t, int key, int n, int flags)
{
    struct ipcns *ns = t->ns->ipc;
    struct ipc_object *o;
    struct sem_table *tab;
    int r = -ENOMEM;

    if (n < 0 || n > SEM_PER_SET_MAX)
        return -EINVAL;
    mutex_lock(&ns->lock);
    tab = table_locked(ns);
    if (tab)
        r = ipc_find(&tab->ids, key, flags, &o);
    if (r == 0)
        r = create_locked(t, tab, key, n, flags);
    else if (r == 1)
        r = (unsigned)n > container_of(o, struct sem_set, o)->n ? -EINVAL
                                                                : ipc_may_get(t, o, flags);
    mutex_unlock(&ns->lock);
    return r;
}

/* ---- undo
 * ------------------------------------------------------------------------------------------------
 */
static struct sem_undo *find_undo(struct sem_set *s, const struct process *p)
{
    struct sem_undo *u;

    list_for_each_entry (u, &s->undos, link)
        if (u->process == p)
            return u;
    return NULL;
}

static struct sem_undo *get_undo(struct sem_set *s, struct process *p)
{
    struct sem_undo *u = find_undo(s, p);

    if (u)
        return u;
    u = calloc(1, sizeof(*u) + s->n * sizeof(u->adjust[0]));
    if (!u)
        return NULL;
    u->process = p;
    list_append(&s->undos, &u->link);
    (void)__atomic_fetch_add(&g_undos, 1, __ATOMIC_RELAXED);
    return u;
}

/* Lock held. */
static void undo_set(struct sem_set *s, struct process *p)
{
    struct sem_undo *u = find_undo(s, p);

    if (!u)
        return;
    for (unsigned i = 0; i < s->n; i++) {
        int v = s->sems[i].value + u->adjust[i];

        s->sems[i].value = (uint16_t)(v < 0 ? 0 : MIN(v, SEM_VALUE_LIMIT));
    }
    list_remove(&u->link);
    free(u);
    (void)__atomic_fetch_sub(&g_undos, 1, __ATOMIC_RELAXED);
    waitq_wake(&s->wait, 0);
}

static void undo_namespace(struct ipcns *ns, struct process *p)
{
    struct sem_table *tab;

    mutex_lock(&ns->lock);
    tab = ns->sem;
    for (unsigned i = 0; tab && i < tab->ids.n_slots; i++)
        if (tab->ids.slots[i])
            undo_set(container_of(tab->ids.slots[i], struct sem_set, o), p);
    mutex_unlock(&ns->lock);
}

void sem_process_exit(struct process *p)
{
    const struct task *t = current_task();

    if (!__atomic_load_n(&g_undos, __ATOMIC_RELAXED) || !t || t->process != p || !t->ns)
        return;
    undo_namespace(t->ns->ipc, p);
}

/* ---- operations
 * -------------------------------------------------------------------------------------------- */
/* Tries all operations: 0 done, 1 would block (*ret_at says at which), -ERANGE. Lock held; on
 * anything but 0 the set is as before. */
static int try_ops(struct sem_set *s, const struct sembuf *ops, unsigned n, struct sem_undo *u,
                   unsigned *ret_at)
{
    int r = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        struct sem *sem = &s->sems[ops[i].sem_num];
        int v = sem->value + ops[i].sem_op;

        if (ops[i].sem_op == 0 ? sem->value != 0 : v < 0)
            r = 1;
        else if (v > SEM_VALUE_LIMIT)
            r = -ERANGE;
        else if (ops[i].sem_flg & SEM_UNDO && u &&
                 abs(u->adjust[ops[i].sem_num] - ops[i].sem_op) > SEM_VALUE_LIMIT)
            r = -ERANGE;
        if (r)
            break;
        sem->value = (uint16_t)v;
        if (ops[i].sem_flg & SEM_UNDO && u)
            u->adjust[ops[i].sem_num] = (int16_t)(u->adjust[ops[i].sem_num] - ops[i].sem_op);
    }
    *ret_at = i;
    while (r && i--) {
        s->sems[ops[i].sem_num].value = (uint16_t)(s->sems[ops[i].sem_num].value - ops[i].sem_op);
        if (ops[i].sem_flg & SEM_UNDO && u)
            u->adjust[ops[i].sem_num] = (int16_t)(u->adjust[ops[i].sem_num] + ops[i].sem_op);
    }
    return r;
}

static int check_ops(struct task *t, const struct sem_set *s, const struct sembuf *ops, unsigned n,
                     bool *ret_undo)
{
    bool alters = false;

    *ret_undo = false;
    for (unsigned i = 0; i < n; i++) {
        if (ops[i].sem_num >= s->n)
            return -EFBIG;
        alters |= ops[i].sem_op != 0;
        *ret_undo |= ops[i].sem_op && ops[i].sem_flg & SEM_UNDO;
    }
    return ipc_permission(t, &s->o, alters ? 0222 : 0444);
}

static void finish(struct task *t, struct sem_set *s, const struct sembuf *ops, unsigned n)
{
    bool altered = false;

    for (unsigned i = 0; i < n; i++) {
        s->sems[ops[i].sem_num].pid = task_tgid(t);
        altered |= ops[i].sem_op != 0;
    }
    s->otime = now_seconds();
    if (altered)
        waitq_wake(&s->wait, 0);
}

static int operate_locked(struct task *t, struct sem_set *s, const struct sembuf *ops, unsigned n,
                          nsec_t deadline)
{
    struct sem_undo *u = NULL;
    bool undo;
    int r = check_ops(t, s, ops, n, &undo);

    if (r < 0)
        return r;
    if (undo && !(u = get_undo(s, t->process)))
        return -ENOMEM;
    for (;;) {
        uint16_t *count;
        unsigned at;

        r = try_ops(s, ops, n, u, &at);
        if (r <= 0)
            break;
        if (ops[at].sem_flg & IPC_NOWAIT)
            return -EAGAIN;
        count = ops[at].sem_op ? &s->sems[ops[at].sem_num].ncnt : &s->sems[ops[at].sem_num].zcnt;
        (*count)++;
        r = wait_interruptible(&s->wait, &s->ns->lock, deadline);
        (*count)--;
        if (s->removed)
            return -EIDRM;
        if (r < 0)
            return r == -ETIMEDOUT ? -EAGAIN : -EINTR; /* semop is never restarted */
    }
    if (r == 0)
        finish(t, s, ops, n);
    return r;
}

int sem_operate(struct task *t, int id, const struct sembuf *ops, unsigned n, nsec_t deadline)
{
    struct ipcns *ns = t->ns->ipc;
    struct sem_set *s;
    int r = -EINVAL;

    mutex_lock(&ns->lock);
    s = find_locked(ns, id);
    if (s) {
        ref_get(&s->ref);
        r = operate_locked(t, s, ops, n, deadline);
        set_put(s);
    }
    mutex_unlock(&ns->lock);
    return r;
}

/* ---- control
 * ------------------------------------------------------------------------------------------------
 */
static void remove_locked(struct ipcns *ns, struct sem_set *s)
{
    struct sem_table *tab = ns->sem;

    ipc_remove(&tab->ids, &s->o);
    tab->total -= s->n;
    s->removed = true;
    waitq_wake(&s->wait, 0);
    set_put(s);
}

static void clear_adjust(struct sem_set *s, unsigned n)
{
    struct sem_undo *u;

    list_for_each_entry (u, &s->undos, link)
        u->adjust[n] = 0;
}

static long one_value(struct task *t, struct sem_set *s, int n, int cmd, int value)
{
    struct sem *sem;

    if (n < 0 || (unsigned)n >= s->n)
        return -EINVAL;
    sem = &s->sems[n];
    if (ipc_permission(t, &s->o, cmd == SETVAL ? 0222 : 0444) < 0)
        return -EACCES;
    switch (cmd) {
    case GETVAL:
        return sem->value;
    case GETPID:
        return sem->pid;
    case GETNCNT:
        return sem->ncnt;
    case GETZCNT:
        return sem->zcnt;
    default:
        break;
    }
    if (value < 0 || value > SEM_VALUE_LIMIT)
        return -ERANGE;
    sem->value = (uint16_t)value;
    sem->pid = task_tgid(t);
    clear_adjust(s, (unsigned)n);
    s->ctime = now_seconds();
    waitq_wake(&s->wait, 0);
    return 0;
}

static long set_all(struct task *t, struct sem_set *s, const uint16_t *values)
{
    if (ipc_permission(t, &s->o, 0222) < 0)
        return -EACCES;
    for (unsigned i = 0; i < s->n; i++)
        if (values[i] > SEM_VALUE_LIMIT)
            return -ERANGE;
    for (unsigned i = 0; i < s->n; i++) {
        s->sems[i].value = values[i];
        s->sems[i].pid = task_tgid(t);
        clear_adjust(s, i);
    }
    s->ctime = now_seconds();
    waitq_wake(&s->wait, 0);
    return 0;
}

static long get_all(struct task *t, struct sem_set *s, uint16_t *values)
{
    if (ipc_permission(t, &s->o, 0444) < 0)
        return -EACCES;
    for (unsigned i = 0; i < s->n; i++)
        values[i] = s->sems[i].value;
    return 0;
}

/* GETALL and SETALL: the array is moved without the lock; sets never change their size. */
static long all_values(struct task *t, int id, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    CLEANUP(free_ptr) uint16_t *values = NULL;
    struct sem_set *s;
    unsigned n = 0;
    long r = -EINVAL;

    mutex_lock(&ns->lock);
    s = find_locked(ns, id);
    if (s) {
        n = s->n;
        ref_get(&s->ref);
    }
    mutex_unlock(&ns->lock);
    if (!s)
        return -EINVAL;
    values = calloc(n, sizeof(*values));
    if (!values || (cmd == SETALL && copy_in(t, values, arg, n * sizeof(*values)) < 0))
        r = values ? -EFAULT : -ENOMEM;
    else
        r = 0;
    mutex_lock(&ns->lock);
    if (r == 0 && s->removed)
        r = -EIDRM;
    if (r == 0)
        r = cmd == SETALL ? set_all(t, s, values) : get_all(t, s, values);
    set_put(s);
    mutex_unlock(&ns->lock);
    if (r == 0 && cmd == GETALL && copy_out(t, arg, values, n * sizeof(*values)) < 0)
        r = -EFAULT;
    return r;
}

static void to_ds(const struct sem_set *s, struct l_semid_ds *ds)
{
    memset(ds, 0, sizeof(*ds));
    ipc_to_perm(&s->o, &ds->perm);
    ds->otime = s->otime;
    ds->ctime = s->ctime;
    ds->nsems = s->n;
}

static long stat_one(struct task *t, int id, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct l_semid_ds ds;
    struct sem_set *s;
    long r = -EINVAL;

    mutex_lock(&ns->lock);
    s = find_locked(ns, id);
    if (cmd != IPC_STAT) {
        struct sem_table *tab = ns->sem;
        struct ipc_object *o = tab ? ipc_by_index(&tab->ids, id) : NULL;

        s = o ? container_of(o, struct sem_set, o) : NULL;
    }
    if (s)
        r = cmd == SEM_STAT_ANY ? 0 : ipc_permission(t, &s->o, 0444);
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
    struct seminfo si = {.semmap = SEM_TOTAL_MAX,
                         .semmni = SEM_SETS_MAX,
                         .semmns = SEM_TOTAL_MAX,
                         .semmnu = SEM_TOTAL_MAX,
                         .semmsl = SEM_PER_SET_MAX,
                         .semopm = SEM_OPS_MAX,
                         .semume = SEM_OPS_MAX,
                         .semusz = 20,
                         .semvmx = SEM_VALUE_LIMIT,
                         .semaem = SEM_VALUE_LIMIT};
    const struct sem_table *tab;
    long max = 0;

    mutex_lock(&ns->lock);
    tab = table_locked(ns);
    if (tab) {
        max = ipc_max_index(&tab->ids);
        if (cmd == SEM_INFO) {
            si.semusz = (int)tab->ids.count;
            si.semaem = (int)tab->total;
        }
    }
    mutex_unlock(&ns->lock);
    return copy_out(t, arg, &si, sizeof(si)) < 0 ? -EFAULT : max;
}

static long change(struct task *t, int id, int n, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct l_semid_ds ds;
    struct sem_set *s;
    long r = -EINVAL;

    if (cmd == IPC_SET && copy_in(t, &ds, arg, sizeof(ds)) < 0)
        return -EFAULT;
    mutex_lock(&ns->lock);
    s = find_locked(ns, id);
    if (s && cmd == IPC_RMID) {
        r = ipc_owner(t, &s->o);
        if (r == 0)
            remove_locked(ns, s);
    } else if (s && cmd == IPC_SET) {
        r = ipc_set(t, &s->o, &ds.perm);
        s->ctime = now_seconds();
    } else if (s) {
        r = one_value(t, s, n, cmd, (int)arg);
    }
    mutex_unlock(&ns->lock);
    return r;
}

long sem_control(struct task *t, int id, int n, int cmd, gaddr_t arg)
{
    switch (cmd) {
    case IPC_INFO:
    case SEM_INFO:
        return info(t, cmd, arg);
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
        return stat_one(t, id, cmd, arg);
    case GETALL:
    case SETALL:
        return all_values(t, id, cmd, arg);
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
    case SETVAL:
    case IPC_SET:
    case IPC_RMID:
        return change(t, id, n, cmd, arg);
    default:
        return -EINVAL;
    }
}

/* ---- /proc/sysvipc/sem
 * --------------------------------------------------------------------------*/
int sem_show(struct ipcns *ns, struct buf *out)
{
    int r =
        buf_puts(out, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime"
                      "      ctime\n");
    const struct sem_table *tab;

    mutex_lock(&ns->lock);
    tab = ns->sem;
    for (unsigned i = 0; r == 0 && tab && i < tab->ids.n_slots; i++) {
        const struct ipc_object *o = tab->ids.slots[i];
        const struct sem_set *s = o ? container_of(o, struct sem_set, o) : NULL;

        if (s)
            r = buf_printf(out, "%10d %10d  %4o %10u %5u %5u %5u %5u %10ld %10ld\n", o->key, o->id,
                           o->mode, s->n, o->uid, o->gid, o->cuid, o->cgid, s->otime, s->ctime);
    }
    mutex_unlock(&ns->lock);
    return r;
}
