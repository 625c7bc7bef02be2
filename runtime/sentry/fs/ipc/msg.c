/* SysV message queues. Messages are copied in before the lock is taken and out after it. */
#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/ipc/ipc.h"
#include "runtime/sentry/fs/ipc/sysv.h"
#include "runtime/sentry/mm/mm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>

enum { MSG_SIZE_MAX = 8192, MSG_QUEUE_BYTES = 16384, MSG_QUEUES_MAX = 32000 };
#define MSG_TOTAL_MAX (64UL << 20) /* bytes that all queues of a namespace may hold */

struct msg {
    struct list link;
    long type;
    size_t size;
    char data[];
};

struct msg_queue {
    struct ipc_object o;
    struct ref ref; /* the table's, and those who wait */
    bool removed;
    struct list messages;
    uint64_t count, bytes, max_bytes;
    int64_t stime, rtime, ctime;
    int lspid, lrpid;
    struct waitq send_wait, receive_wait;
};

struct msg_table {
    struct ipc_table ids;
    uint64_t bytes;
};

struct l_msqid_ds {
    struct l_ipc_perm perm;
    int64_t stime, rtime, ctime;
    uint64_t cbytes, qnum, qbytes;
    int32_t lspid, lrpid;
    uint64_t unused[2];
};
_Static_assert(sizeof(struct l_msqid_ds) == 120, "msqid64_ds");

static int64_t now_seconds(void)
{
    return time_realtime() / NSEC_PER_SEC;
}

static void queue_put(struct msg_queue *q)
{
    struct msg *m, *next;

    if (!ref_put(&q->ref))
        return;
    list_for_each_entry_safe (m, next, &q->messages, link)
        free(m);
    free(q);
}

static void table_free(void *table)
{
    struct msg_table *tab = table;

    for (unsigned i = 0; i < tab->ids.n_slots; i++)
        if (tab->ids.slots[i])
            queue_put(container_of(tab->ids.slots[i], struct msg_queue, o));
    free(tab->ids.slots);
    free(tab);
}

static struct msg_table *table_locked(struct ipcns *ns)
{
    struct msg_table *tab = ns->msg;

    if (!tab && (tab = calloc(1, sizeof(*tab)))) {
        tab->ids.limit = MSG_QUEUES_MAX;
        ns->msg_free = table_free;
        ns->msg = tab;
    }
    return tab;
}

static struct msg_queue *find_locked(struct ipcns *ns, int id)
{
    struct msg_table *tab = table_locked(ns);
    struct ipc_object *o = tab ? ipc_by_id(&tab->ids, id) : NULL;

    return o ? container_of(o, struct msg_queue, o) : NULL;
}

static int create_locked(struct task *t, struct msg_table *tab, int key, int flags)
{
    struct msg_queue *q = calloc(1, sizeof(*q));
    int r;

    if (!q)
        return -ENOMEM;
    ref_init(&q->ref);
    list_init(&q->messages);
    waitq_init(&q->send_wait);
    waitq_init(&q->receive_wait);
    q->max_bytes = MSG_QUEUE_BYTES;
    q->ctime = now_seconds();
    r = ipc_add(t, &tab->ids, &q->o, key, flags);
    if (r < 0)
        free(q);
    return r;
}

int msg_get(struct task *t, int key, int flags)
{
    struct ipcns *ns = t->ns->ipc;
    struct ipc_object *o;
    struct msg_table *tab;
    int r = -ENOMEM;

    mutex_lock(&ns->lock);
    tab = table_locked(ns);
    if (tab)
        r = ipc_find(&tab->ids, key, flags, &o);
    if (r == 0)
        r = create_locked(t, tab, key, flags);
    else if (r == 1)
        r = ipc_may_get(t, o, flags);
    mutex_unlock(&ns->lock);
    return r;
}

/* ---- sending
 * -----------------------------------------------------------------------------------------------
 */
static int send_locked(struct task *t, struct msg_table *tab, struct msg_queue *q, struct msg *m,
                       int flags)
{
    struct ipcns *ns = t->ns->ipc;
    int r = ipc_permission(t, &q->o, 0222);

    while (r == 0 && (q->bytes + m->size > q->max_bytes || q->count >= q->max_bytes ||
                      tab->bytes + m->size > MSG_TOTAL_MAX)) {
        if (flags & IPC_NOWAIT)
            return -EAGAIN;
        r = wait_interruptible(&q->send_wait, &ns->lock, DEADLINE_NONE);
        if (q->removed)
            return -EIDRM;
        if (r == -ERESTARTSYS)
            r = -ERESTARTNOHAND;
    }
    if (r < 0)
        return r;
    list_append(&q->messages, &m->link);
    q->count++;
    q->bytes += m->size;
    tab->bytes += m->size;
    q->lspid = task_tgid(t);
    q->stime = now_seconds();
    waitq_wake(&q->receive_wait, 0);
    return 0;
}

int msg_send(struct task *t, int id, gaddr_t addr, uint64_t size, int flags)
{
    struct ipcns *ns = t->ns->ipc;
    struct msg_queue *q;
    struct msg *m;
    long type;
    int r = -EINVAL;

    if (size > MSG_SIZE_MAX || id < 0)
        return -EINVAL;
    if (copy_in(t, &type, addr, sizeof(type)) < 0)
        return -EFAULT;
    if (type < 1)
        return -EINVAL;
    m = malloc(sizeof(*m) + size);
    if (!m)
        return -ENOMEM;
    m->type = type;
    m->size = size;
    if (size && copy_in(t, m->data, addr + sizeof(type), size) < 0) {
        free(m);
        return -EFAULT;
    }
    mutex_lock(&ns->lock);
    q = find_locked(ns, id);
    if (q) {
        ref_get(&q->ref);
        r = send_locked(t, ns->msg, q, m, flags);
        queue_put(q);
    }
    mutex_unlock(&ns->lock);
    if (r < 0)
        free(m);
    return r;
}

/* ---- receiving
 * ---------------------------------------------------------------------------------------------- */
/* msgrcv(2): which message does `type` mean? With MSG_COPY it is a position. */
static struct msg *choose(const struct msg_queue *q, long type, int flags)
{
    struct msg *m, *best = NULL;
    long at = 0;

    list_for_each_entry (m, &q->messages, link) {
        if (flags & MSG_COPY) {
            if (at++ == type)
                return m;
        } else if (type == 0 ||
                   (type > 0 && (flags & MSG_EXCEPT ? m->type != type : m->type == type))) {
            return m;
        } else if (type < 0 && (type == INT64_MIN || m->type <= -type) &&
                   (!best || m->type < best->type)) {
            best = m;
        }
    }
    return best;
}

static void take_locked(struct task *t, struct msg_table *tab, struct msg_queue *q, struct msg *m)
{
    list_remove(&m->link);
    q->count--;
    q->bytes -= m->size;
    tab->bytes -= m->size;
    q->lrpid = task_tgid(t);
    q->rtime = now_seconds();
    waitq_wake(&q->send_wait, 0);
}

static struct msg *copy_of(const struct msg *m)
{
    struct msg *c = malloc(sizeof(*c) + m->size);

    if (c)
        memcpy(c, m, sizeof(*m) + m->size);
    return c;
}

static int receive_locked(struct task *t, struct msg_table *tab, struct msg_queue *q, uint64_t size,
                          long type, int flags, struct msg **ret)
{
    struct msg *m = NULL;
    int r = ipc_permission(t, &q->o, 0444);

    while (r == 0 && !(m = choose(q, type, flags))) {
        if (flags & IPC_NOWAIT)
            return -ENOMSG;
        r = wait_interruptible(&q->receive_wait, &t->ns->ipc->lock, DEADLINE_NONE);
        if (q->removed)
            return -EIDRM;
        if (r == -ERESTARTSYS)
            r = -ERESTARTNOHAND;
    }
    if (r < 0 || !m)
        return r;
    if (m->size > size && !(flags & MSG_NOERROR))
        return -E2BIG;
    if (flags & MSG_COPY)
        m = copy_of(m);
    else
        take_locked(t, tab, q, m);
    *ret = m;
    return m ? 0 : -ENOMEM;
}

ssize_t msg_receive(struct task *t, int id, gaddr_t addr, uint64_t size, long type, int flags)
{
    struct ipcns *ns = t->ns->ipc;
    struct msg_queue *q;
    struct msg *m = NULL;
    ssize_t r = -EINVAL;

    if (id < 0 || (int64_t)size < 0)
        return -EINVAL;
    if (flags & MSG_COPY && (flags & MSG_EXCEPT || !(flags & IPC_NOWAIT)))
        return -EINVAL;
    mutex_lock(&ns->lock);
    q = find_locked(ns, id);
    if (q) {
        ref_get(&q->ref);
        r = receive_locked(t, ns->msg, q, size, type, flags, &m);
        queue_put(q);
    }
    mutex_unlock(&ns->lock);
    if (r < 0 || !m)
        return r;
    r = (ssize_t)MIN(m->size, size);
    if (copy_out(t, addr, &m->type, sizeof(m->type)) < 0 ||
        (r && copy_out(t, addr + sizeof(m->type), m->data, (size_t)r) < 0))
        r = -EFAULT;
    free(m);
    return r;
}

/* ---- control
 * ---------------------------------------------------------------------------------------------------
 */
static void to_ds(const struct msg_queue *q, struct l_msqid_ds *ds)
{
    memset(ds, 0, sizeof(*ds));
    ipc_to_perm(&q->o, &ds->perm);
    ds->stime = q->stime;
    ds->rtime = q->rtime;
    ds->ctime = q->ctime;
    ds->cbytes = q->bytes;
    ds->qnum = q->count;
    ds->qbytes = q->max_bytes;
    ds->lspid = q->lspid;
    ds->lrpid = q->lrpid;
}

static long stat_one(struct task *t, int id, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct l_msqid_ds ds;
    struct msg_queue *q;
    long r = -EINVAL;

    mutex_lock(&ns->lock);
    q = find_locked(ns, id);
    if (cmd != IPC_STAT) {
        struct msg_table *tab = ns->msg;
        struct ipc_object *o = tab ? ipc_by_index(&tab->ids, id) : NULL;

        q = o ? container_of(o, struct msg_queue, o) : NULL;
    }
    if (q)
        r = cmd == MSG_STAT_ANY ? 0 : ipc_permission(t, &q->o, 0444);
    if (r == 0) {
        to_ds(q, &ds);
        r = cmd == IPC_STAT ? 0 : q->o.id;
    }
    mutex_unlock(&ns->lock);
    if (r < 0)
        return r;
    return copy_out(t, arg, &ds, sizeof(ds)) < 0 ? -EFAULT : r;
}

static int set_locked(struct task *t, struct msg_queue *q, const struct l_msqid_ds *ds)
{
    int r;

    if (ds->qbytes > MSG_QUEUE_BYTES && !capable(t, CAP_SYS_RESOURCE))
        return -EPERM;
    if (ds->qbytes > MSG_TOTAL_MAX)
        return -EINVAL;
    r = ipc_set(t, &q->o, &ds->perm);
    if (r < 0)
        return r;
    q->max_bytes = ds->qbytes;
    q->ctime = now_seconds();
    waitq_wake(&q->send_wait, 0);
    waitq_wake(&q->receive_wait, 0);
    return 0;
}

static void remove_locked(struct ipcns *ns, struct msg_queue *q)
{
    struct msg_table *tab = ns->msg;

    ipc_remove(&tab->ids, &q->o);
    tab->bytes -= q->bytes;
    q->removed = true;
    waitq_wake(&q->send_wait, 0);
    waitq_wake(&q->receive_wait, 0);
    queue_put(q);
}

static long change(struct task *t, int id, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct l_msqid_ds ds;
    struct msg_queue *q;
    long r = -EINVAL;

    if (cmd == IPC_SET && copy_in(t, &ds, arg, sizeof(ds)) < 0)
        return -EFAULT;
    mutex_lock(&ns->lock);
    q = find_locked(ns, id);
    if (q && cmd == IPC_SET) {
        r = set_locked(t, q, &ds);
    } else if (q) {
        r = ipc_owner(t, &q->o);
        if (r == 0)
            remove_locked(ns, q);
    }
    mutex_unlock(&ns->lock);
    return r;
}

static long info(struct task *t, int cmd, gaddr_t arg)
{
    struct ipcns *ns = t->ns->ipc;
    struct msginfo mi = {.msgmax = MSG_SIZE_MAX,
                         .msgmnb = MSG_QUEUE_BYTES,
                         .msgmni = MSG_QUEUES_MAX,
                         .msgpool = MSG_QUEUES_MAX * (MSG_QUEUE_BYTES / 1024),
                         .msgmap = MSG_QUEUE_BYTES,
                         .msgssz = 16,
                         .msgtql = MSG_QUEUE_BYTES,
                         .msgseg = 0xffff};
    const struct msg_table *tab;
    long max = 0;

    mutex_lock(&ns->lock);
    tab = table_locked(ns);
    if (tab)
        max = ipc_max_index(&tab->ids);
    if (tab && cmd == MSG_INFO) {
        mi.msgpool = (int)tab->ids.count;
        mi.msgmap = mi.msgtql = 0;
        for (unsigned i = 0; i < tab->ids.n_slots; i++)
            if (tab->ids.slots[i])
                mi.msgmap += (int)container_of(tab->ids.slots[i], struct msg_queue, o)->count;
        mi.msgtql = (int)tab->bytes;
    }
    mutex_unlock(&ns->lock);
    return copy_out(t, arg, &mi, sizeof(mi)) < 0 ? -EFAULT : max;
}

long msg_control(struct task *t, int id, int cmd, gaddr_t arg)
{
    switch (cmd) {
    case IPC_INFO:
    case MSG_INFO:
        return info(t, cmd, arg);
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY:
        return stat_one(t, id, cmd, arg);
    case IPC_SET:
    case IPC_RMID:
        return change(t, id, cmd, arg);
    default:
        return -EINVAL;
    }
}

/* ---- /proc/sysvipc/msg
 * --------------------------------------------------------------------------*/
int msg_show(struct ipcns *ns, struct buf *out)
{
    int r =
        buf_puts(out, "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  "
                      "cuid  cgid      stime      rtime      ctime\n");
    const struct msg_table *tab;

    mutex_lock(&ns->lock);
    tab = ns->msg;
    for (unsigned i = 0; r == 0 && tab && i < tab->ids.n_slots; i++) {
        const struct ipc_object *o = tab->ids.slots[i];
        const struct msg_queue *q = o ? container_of(o, struct msg_queue, o) : NULL;

        if (q)
            r = buf_printf(
                out, "%10d %10d  %4o  %10lu %10lu %5d %5d %5u %5u %5u %5u %10ld %10ld %10ld\n",
                o->key, o->id, o->mode, q->bytes, q->count, q->lspid, q->lrpid, o->uid, o->gid,
                o->cuid, o->cgid, q->stime, q->rtime, q->ctime);
    }
    mutex_unlock(&ns->lock);
    return r;
}
