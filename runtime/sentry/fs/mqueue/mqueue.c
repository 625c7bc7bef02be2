/*
 * POSIX message queues: tables of an ipc namespace, and the files on them.
 *
 * Threats: what queues may hold is bounded by their number, length and message size; the limits for
 * everybody are low, and CAP_SYS_RESOURCE raises them only to hard ones. Messages are allocated
 * when sent.
 */
#include "runtime/sentry/fs/mqueue/mqueue.h"

#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/fs/mqueue/mqueue_internal.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct file_ops mqueue_ops;

struct message {
    struct list link;
    unsigned priority;
    size_t size;
    char data[];
};

/* ---- life
 * -------------------------------------------------------------------------------------------- */
void mqueue_thread_free(struct mqueue_thread *th)
{
    if (!th)
        return;
    file_put(th->socket);
    free(th);
}

enum { COOKIE_WOKEN = 1, COOKIE_REMOVED = 2 };

/* The last byte says what happened. */
static void tell_thread(struct mqueue_thread *th, int what)
{
    if (!th)
        return;
    th->cookie[MQ_COOKIE_SIZE - 1] = (uint8_t)what;
    (void)th->send(th->socket, th->cookie, sizeof(th->cookie));
    mqueue_thread_free(th);
}

static void drop_notify(struct mqueue *q)
{
    if (q->notify_thread)
        tell_thread(q->notify_thread, COOKIE_REMOVED);
    q->notify_thread = NULL;
    if (q->notify)
        process_put(q->notify);
    q->notify = NULL;
}

void mqueue_put(struct mqueue *q)
{
    struct message *m, *next;

    if (!q || !ref_put(&q->ref))
        return;
    list_for_each_entry_safe (m, next, &q->messages, link)
        free(m);
    drop_notify(q);
    free(q);
}

static void table_free(void *table)
{
    struct mqueue_table *mt = table;
    struct mqueue *q, *next;

    list_for_each_entry_safe (q, next, &mt->queues, link) {
        list_remove(&q->link);
        mqueue_put(q);
    }
    free(mt);
}

struct mqueue_table *mqueue_table_locked(struct ipcns *ns)
{
    struct mqueue_table *mt = ns->mqueue;

    if (mt)
        return mt;
    mt = calloc(1, sizeof(*mt));
    if (!mt)
        return NULL;
    list_init(&mt->queues);
    ns->mqueue = mt;
    ns->mqueue_free = table_free;
    return mt;
}

static struct mqueue *find_locked(struct mqueue_table *mt, const char *name)
{
    struct mqueue *q;

    list_for_each_entry (q, &mt->queues, link)
        if (strcmp(q->name, name) == 0)
            return q;
    return NULL;
}

struct mqueue *mqueue_find(struct ipcns *ns, const char *name)
{
    struct mqueue_table *mt;
    struct mqueue *q = NULL;

    mutex_lock(&ns->lock);
    mt = mqueue_table_locked(ns);
    if (mt)
        q = find_locked(mt, name);
    if (q)
        ref_get(&q->ref);
    mutex_unlock(&ns->lock);
    return q;
}

/* ---- opening
 * ------------------------------------------------------------------------------------------ */
static bool allowed(const struct task *t, const struct mqueue *q, unsigned flags)
{
    unsigned need = (flags & O_ACCMODE) == O_RDONLY ? 4 : (flags & O_ACCMODE) == O_WRONLY ? 2 : 6;
    const struct cred *c = t->cred;
    unsigned bits = q->mode;

    if (cred_capable(c, CAP_DAC_OVERRIDE))
        return true;
    if (c->fsuid == q->uid)
        bits >>= 6;
    else if (cred_in_group(c, q->gid))
        bits >>= 3;
    return (bits & need) == need;
}

static int check_attr(const struct task *t, const struct mq_attr *a)
{
    bool raise = cred_capable(t->cred, CAP_SYS_RESOURCE);

    if (a->mq_maxmsg <= 0 || a->mq_msgsize <= 0)
        return -EINVAL;
    if (a->mq_maxmsg > (raise ? MQ_HARD_MAXMSG : MQ_MAXMSG) ||
        a->mq_msgsize > (raise ? MQ_HARD_MSGSIZE : MQ_MSGSIZE))
        return -EINVAL;
    /* RLIMIT_MSGQUEUE bounds what one queue may come to hold. */
    if ((uint64_t)a->mq_maxmsg * ((uint64_t)a->mq_msgsize + sizeof(struct message)) >
        task_rlimit(t, RLIMIT_MSGQUEUE))
        return -EMFILE;
    return 0;
}

static int create_locked(struct task *t, struct mqueue_table *mt, const char *name, mode_t mode,
                         const struct mq_attr *attr, struct mqueue **ret)
{
    struct mq_attr a = {.mq_maxmsg = MQ_MAXMSG, .mq_msgsize = MQ_MSGSIZE};
    struct mqueue *q;
    int r;

    if (attr)
        a = *attr;
    r = attr ? check_attr(t, &a) : 0;
    if (r < 0)
        return r;
    if (mt->count >= MQ_QUEUES_MAX && !cred_capable(t->cred, CAP_SYS_RESOURCE))
        return -ENOSPC;
    q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    ref_init(&q->ref);
    (void)snprintf(q->name, sizeof(q->name), "%s", name);
    q->mode = mode & ~t->fs->umask & 0777;
    q->uid = t->cred->fsuid;
    q->gid = t->cred->fsgid;
    q->attr = a;
    list_init(&q->messages);
    waitq_init(&q->read_wait);
    waitq_init(&q->write_wait);
    list_append(&mt->queues, &q->link);
    mt->count++;
    *ret = q;
    return 0;
}

static int open_locked(struct task *t, struct mqueue_table *mt, const char *name, unsigned flags,
                       mode_t mode, const struct mq_attr *attr, struct mqueue **ret)
{
    struct mqueue *q = find_locked(mt, name);
    int r;

    if (q && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (q && !allowed(t, q, flags))
        return -EACCES;
    if (!q) {
        r = flags & O_CREAT ? create_locked(t, mt, name, mode, attr, &q) : -ENOENT;
        if (r < 0)
            return r;
    }
    ref_get(&q->ref);
    *ret = q;
    return 0;
}

int mqueue_open(struct task *t, const char *name, unsigned flags, mode_t mode,
                const struct mq_attr *attr, struct file **ret)
{
    struct ipcns *ns = t->ns->ipc;
    struct mqueue_table *mt;
    struct mqueue *q;
    int r;

    if (!name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return name[0] ? -EACCES : -ENOENT;
    if (strlen(name) >= MQ_NAME_SIZE)
        return -ENAMETOOLONG;
    mutex_lock(&ns->lock);
    mt = mqueue_table_locked(ns);
    r = mt ? open_locked(t, mt, name, flags, mode, attr, &q) : -ENOMEM;
    mutex_unlock(&ns->lock);
    if (r < 0)
        return r;
    r = file_new(&mqueue_ops, flags & (O_ACCMODE | O_NONBLOCK), q, ret);
    if (r < 0)
        mqueue_put(q);
    return r;
}

int mqueue_unlink(struct task *t, const char *name)
{
    struct ipcns *ns = t->ns->ipc;
    struct mqueue_table *mt;
    struct mqueue *q = NULL;
    int r = -ENOENT;

    if (strlen(name) >= MQ_NAME_SIZE)
        return -ENAMETOOLONG;
    mutex_lock(&ns->lock);
    mt = mqueue_table_locked(ns);
    if (mt)
        q = find_locked(mt, name);
    if (q && t->cred->fsuid != q->uid && !cred_capable(t->cred, CAP_FOWNER)) {
        r = -EACCES;
        q = NULL;
    }
    if (q) {
        list_remove(&q->link);
        mt->count--;
    }
    mutex_unlock(&ns->lock);
    if (!q)
        return r;
    mqueue_put(q);
    return 0;
}

/* ---- messages
 * ------------------------------------------------------------------------------------------ */
static struct mqueue *queue_of(const struct file *f)
{
    return f->ops == &mqueue_ops ? f->private : NULL;
}

/* The first message in an empty queue that nobody reads from: tells who asked. Lock held; returns
 * the process to signal, whose reference passes to the caller. */
static struct process *take_notify_locked(struct mqueue *q, struct sigevent *how,
                                          struct mqueue_thread **thread)
{
    struct process *p = q->notify;

    *how = q->notify_how;
    *thread = q->notify_thread;
    q->notify = NULL;
    q->notify_thread = NULL;
    return p;
}

static void tell(struct process *p, const struct sigevent *how, struct mqueue_thread *thread)
{
    struct l_siginfo info = {.signo = how->sigev_signo, .code = SI_MESGQ};
    const struct task *t = current_task();

    if (how->sigev_notify == SIGEV_SIGNAL && how->sigev_signo) {
        info.rt.pid = t ? task_tgid(t) : 0;
        info.rt.uid = t ? t->cred->uid : 0;
        info.rt.value = (uint64_t)(uintptr_t)how->sigev_value.sival_ptr;
        (void)signal_send_process(p, how->sigev_signo, &info);
    }
    tell_thread(thread, COOKIE_WOKEN);
    process_put(p);
}

/* Behind those of the same priority. */
static void insert_locked(struct mqueue *q, struct message *m)
{
    struct list *at = q->messages.prev;

    while (at != &q->messages && list_entry(at, struct message, link)->priority < m->priority)
        at = at->prev;
    list_insert(at, at->next, &m->link);
    q->n_messages++;
    q->bytes += m->size;
}

int mqueue_send(struct file *f, const void *data, size_t size, unsigned priority, nsec_t deadline)
{
    struct mqueue *q = queue_of(f);
    struct mqueue_thread *thread = NULL;
    struct process *told = NULL;
    struct sigevent how;
    struct message *m;
    int r = 0;

    if (!q || !file_writable(f))
        return -EBADF;
    if (priority >= MQ_PRIO_MAX)
        return -EINVAL;
    if (size > (size_t)q->attr.mq_msgsize)
        return -EMSGSIZE;
    m = malloc(sizeof(*m) + size);
    if (!m)
        return -ENOMEM;
    m->priority = priority;
    m->size = size;
    memcpy(m->data, data, size);
    mutex_lock(&q->lock);
    while (q->n_messages >= (unsigned)q->attr.mq_maxmsg && r == 0)
        r = file_nonblock(f) ? -EAGAIN
                             : wait_interruptible_exclusive(&q->write_wait, &q->lock, deadline);
    if (r == 0) {
        insert_locked(q, m);
        if (q->n_messages == 1 && !q->n_readers && q->notify)
            told = take_notify_locked(q, &how, &thread);
    }
    mutex_unlock(&q->lock);
    if (r < 0) {
        free(m);
        return r;
    }
    waitq_wake_one(&q->read_wait, POLLIN | POLLRDNORM);
    if (told)
        tell(told, &how, thread);
    return 0;
}

ssize_t mqueue_receive(struct file *f, void *data, size_t size, unsigned *ret_priority,
                       nsec_t deadline)
{
    struct mqueue *q = queue_of(f);
    struct message *m = NULL;
    ssize_t r = 0;

    if (!q || !file_readable(f))
        return -EBADF;
    if (size < (size_t)q->attr.mq_msgsize)
        return -EMSGSIZE;
    mutex_lock(&q->lock);
    q->n_readers++;
    while (!q->n_messages && r == 0)
        r = file_nonblock(f) ? -EAGAIN
                             : wait_interruptible_exclusive(&q->read_wait, &q->lock, deadline);
    q->n_readers--;
    if (r == 0) {
        m = list_entry(q->messages.next, struct message, link);
        list_remove(&m->link);
        q->n_messages--;
        q->bytes -= m->size;
    }
    mutex_unlock(&q->lock);
    if (r < 0)
        return r;
    waitq_wake_one(&q->write_wait, POLLOUT | POLLWRNORM);
    memcpy(data, m->data, m->size);
    *ret_priority = m->priority;
    r = (ssize_t)m->size;
    free(m);
    return r;
}

int mqueue_getattr(struct file *f, struct mq_attr *ret)
{
    struct mqueue *q = queue_of(f);

    if (!q)
        return -EBADF;
    mutex_lock(&q->lock);
    *ret = q->attr;
    ret->mq_curmsgs = q->n_messages;
    mutex_unlock(&q->lock);
    ret->mq_flags = file_nonblock(f) ? O_NONBLOCK : 0;
    return 0;
}

long mqueue_message_size(struct file *f)
{
    struct mqueue *q = queue_of(f);

    return q ? q->attr.mq_msgsize : -EBADF;
}

int mqueue_notify(struct task *t, struct file *f, const struct sigevent *sigev,
                  struct mqueue_thread *thread)
{
    struct mqueue *q = queue_of(f);
    int r = 0;

    if (!q) {
        mqueue_thread_free(thread);
        return -EBADF;
    }
    mutex_lock(&q->lock);
    if (!sigev) {
        if (q->notify == t->process)
            drop_notify(q);
    } else if (q->notify) {
        r = -EBUSY;
    } else {
        q->notify = process_get(t->process);
        q->notify_how = *sigev;
        q->notify_thread = thread;
        thread = NULL;
    }
    mutex_unlock(&q->lock);
    mqueue_thread_free(thread);
    return r;
}

int mqueue_show(struct mqueue *q, void *out)
{
    int r;

    mutex_lock(&q->lock);
    r = buf_printf(
        out, "QSIZE:%-10zu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", q->bytes,
        q->notify ? q->notify_how.sigev_notify : 0,
        q->notify && q->notify_how.sigev_notify == SIGEV_SIGNAL ? q->notify_how.sigev_signo : 0, 0);
    mutex_unlock(&q->lock);
    return r;
}

/* ---- the file
 * ------------------------------------------------------------------------------------------- */
static uint32_t mqueue_poll(struct task *t, struct file *f, struct poll_table *pt)
{
    struct mqueue *q = f->private;
    uint32_t events = 0;

    (void)t;
    poll_wait(pt, &q->read_wait);
    poll_wait(pt, &q->write_wait);
    mutex_lock(&q->lock);
    if (q->n_messages)
        events |= POLLIN | POLLRDNORM;
    if (q->n_messages < (unsigned)q->attr.mq_maxmsg)
        events |= POLLOUT | POLLWRNORM;
    mutex_unlock(&q->lock);
    return events;
}

static ssize_t mqueue_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    CLEANUP(buf_fini) struct buf text = BUF_INIT;
    int r = mqueue_show(f->private, &text);

    (void)t;
    if (r < 0 || *pos >= (int64_t)text.size)
        return r;
    r = (int)uio_copy_to(u, text.data + *pos, MIN(u->left, text.size - (size_t)*pos));
    if (r > 0)
        *pos += r;
    return r;
}

/* A registration ends with the descriptor of the one who made it. */
static void mqueue_flush(struct task *t, struct file *f)
{
    struct mqueue *q = f->private;

    mutex_lock(&q->lock);
    if (t && q->notify == t->process)
        drop_notify(q);
    mutex_unlock(&q->lock);
}

static void mqueue_release(struct file *f)
{
    mqueue_put(f->private);
}

static const struct file_ops mqueue_ops = {.read = mqueue_read,
                                           .poll = mqueue_poll,
                                           .flush = mqueue_flush,
                                           .release = mqueue_release,
                                           .name = "/dev/mqueue"};
