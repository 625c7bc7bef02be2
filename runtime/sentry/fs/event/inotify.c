/*
 * inotify(7), and dnotify's watches, which send a signal in place of an event. Watches hang on
 * inodes (inode->notify, a list) and on their instance; one lock guards
 * all of them, for events on watched inodes are rare and unwatched ones never come here. A watch
 * keeps its inode.
 *
 * Limits: instances, watches and queued events are bounded for the sandbox.
 */
#include "runtime/sentry/fs/event/inotify.h"

#include "common/buf.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/event/inotify_queue.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/async.h"
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/lend.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

struct instance {
    struct event_queue queue; /* its lock is below g_inotify_lock */
    struct list watches;      /* g_inotify_lock, as next_wd */
    int next_wd;
};

struct watch {           /* g_inotify_lock */
    struct instance *in; /* NULL: a directory's own, of dnotify */
    struct async *async; /* then: whom to tell */
    struct watch **at;   /* and where it is held */
    struct inode *inode; /* reference */
    struct list instance_link, inode_link;
    int wd;
    uint32_t mask;
};

/* What inode->notify points to. */
struct inode_watches {
    struct list list;
    uint64_t n;
};

static struct mutex g_inotify_lock = MUTEX_INIT;
static unsigned g_n_instances; /* guarded by it */
uint32_t g_inotify_watches;    /* changed under it */

/* Of a mask, what is no event of inotify's. */
#define OPTIONS (IN_ONLYDIR | IN_DONT_FOLLOW | IN_MASK_ADD | IN_MASK_CREATE | DNOTIFY_RENAMED)

/* ---- telling --------------------------------------------------------------------------------- */
static void tell(struct watch *w, uint32_t seen, uint32_t cookie, const char *name)
{
    if (w->in)
        event_queue_put(&w->in->queue, w->wd, seen, cookie, name);
    else if (name || (seen & IN_ISDIR)) /* what happens to a directory and in it */
        async_dir_changed(w->async);
}

static void tell_end(struct watch *w)
{
    if (w->in)
        event_queue_put(&w->in->queue, w->wd, IN_IGNORED, 0, NULL);
    else
        *w->at = NULL;
}

/* ---- watches --------------------------------------------------------------------------------- */
static void update_mask_locked(struct inode *i)
{
    struct inode_watches *ws = i->notify;
    uint32_t mask = 0;
    struct watch *w;

    if (ws)
        list_for_each_entry (w, &ws->list, inode_link)
            mask |= w->mask;
    if (ws && list_empty(&ws->list)) {
        free(ws);
        i->notify = NULL;
    }
    __atomic_store_n(&i->notify_mask, mask, __ATOMIC_RELAXED);
}

static void unhook_locked(struct watch *w)
{
    struct inode_watches *ws = w->inode->notify;

    list_remove(&w->inode_link);
    ws->n--;
}

/* Unlinks w and tells its instance; the caller puts the inode after unlocking, and frees w. */
static void detach_locked(struct watch *w)
{
    list_remove(&w->instance_link);
    unhook_locked(w);
    update_mask_locked(w->inode);
    (void)__atomic_fetch_sub(&g_inotify_watches, 1, __ATOMIC_RELAXED);
}

static void free_watch(struct watch *w)
{
    inode_put(w->inode);
    free(w);
}

static void list_append_moved(struct list *to, struct list *n)
{
    list_remove(n);
    list_append(to, n);
}

void inotify_notify_slow(struct inode *i, uint32_t mask, const char *name, uint32_t cookie)
{
    struct list spent = LIST_INIT(spent);
    struct inode_watches *ws;
    struct watch *w, *next;

    mutex_lock(&g_inotify_lock);
    ws = i->notify;
    if (ws)
        list_for_each_entry (w, &ws->list, inode_link) {
            uint32_t seen = mask & (w->mask | IN_ISDIR) & ~(uint32_t)IN_EXCL_UNLINK;

            if (!(seen & ~(uint32_t)IN_ISDIR) || (mask & w->mask & IN_EXCL_UNLINK))
                continue;
            tell(w, seen, cookie, name);
            if (w->mask & IN_ONESHOT)
                list_append_moved(&spent, &w->instance_link);
        }
    /* Only now: the last one takes the list with it. */
    list_for_each_entry (w, &spent, instance_link) {
        tell_end(w);
        unhook_locked(w);
        (void)__atomic_fetch_sub(&g_inotify_watches, 1, __ATOMIC_RELAXED);
        update_mask_locked(i);
    }
    mutex_unlock(&g_inotify_lock);
    list_for_each_entry_safe (w, next, &spent, instance_link)
        free_watch(w);
}

static void end_watches(struct inode *i, bool only_last)
{
    struct list gone = LIST_INIT(gone);
    struct inode_watches *ws;
    struct watch *w, *next;

    mutex_lock(&g_inotify_lock);
    ws = i->notify;
    if (only_last && ws && __atomic_load_n(&i->ref.n, __ATOMIC_RELAXED) - 1 != ws->n) {
        mutex_unlock(&g_inotify_lock);
        return;
    }
    while ((ws = i->notify)) {
        w = list_entry(ws->list.next, struct watch, inode_link);
        tell_end(w);
        detach_locked(w);
        list_append(&gone, &w->instance_link);
    }
    mutex_unlock(&g_inotify_lock);
    list_for_each_entry_safe (w, next, &gone, instance_link)
        free_watch(w);
}

void inotify_inode_gone(struct inode *i)
{
    end_watches(i, false);
}

void inotify_user_gone(struct inode *i)
{
    end_watches(i, true);
}

static struct watch *find_locked(struct instance *in, const struct inode *i, int wd)
{
    struct watch *w;

    list_for_each_entry (w, &in->watches, instance_link)
        if (i ? w->inode == i : w->wd == wd)
            return w;
    return NULL;
}

/* A new watch that hangs on nothing but i; *ret. */
static int hook_locked(struct inode *i, uint32_t mask, struct watch **ret)
{
    struct inode_watches *ws = i->notify;
    struct watch *w;

    if (g_inotify_watches >= INOTIFY_WATCHES_MAX)
        return -ENOSPC;
    w = calloc(1, sizeof(*w));
    if (w && !ws) {
        ws = calloc(1, sizeof(*ws));
        if (ws)
            list_init(&ws->list);
        i->notify = ws;
    }
    if (!w || !ws) {
        free(w);
        return -ENOMEM;
    }
    w->inode = inode_get(i);
    w->mask = mask;
    list_init(&w->instance_link);
    list_append(&ws->list, &w->inode_link);
    ws->n++;
    if (__atomic_fetch_add(&g_inotify_watches, 1, __ATOMIC_SEQ_CST) == 0)
        lend_recall(NULL);
    update_mask_locked(i);
    *ret = w;
    return 0;
}

static int attach_locked(struct instance *in, struct inode *i, uint32_t mask)
{
    struct watch *w;
    int r = hook_locked(i, mask, &w);

    if (r < 0)
        return r;
    w->in = in;
    w->wd = in->next_wd = in->next_wd == INT32_MAX ? 1 : in->next_wd + 1;
    list_append(&in->watches, &w->instance_link);
    return w->wd;
}

int dnotify_add(struct watch **at, struct inode *i, uint32_t mask, struct async *a)
{
    struct watch *w;
    int r = 0;

    mutex_lock(&g_inotify_lock);
    if (*at) {
        (*at)->mask = mask | ((*at)->mask & ~(uint32_t)IN_ONESHOT);
        update_mask_locked(i);
    } else {
        r = hook_locked(i, mask, &w);
        if (r == 0) {
            w->async = a;
            w->at = at;
            *at = w;
        }
    }
    mutex_unlock(&g_inotify_lock);
    return r;
}

void dnotify_remove(struct watch **at)
{
    struct watch *w;

    mutex_lock(&g_inotify_lock);
    w = TAKE_PTR(*at);
    if (w)
        detach_locked(w);
    mutex_unlock(&g_inotify_lock);
    if (w)
        free_watch(w);
}

static const struct file_ops inotify_ops;

int inotify_add(struct file *f, struct inode *inode, uint32_t mask)
{
    struct instance *in = f->private;
    struct watch *w;
    int r;

    if (f->ops != &inotify_ops)
        return -EINVAL;
    mutex_lock(&g_inotify_lock);
    w = find_locked(in, inode, 0);
    if (!w) {
        r = attach_locked(in, inode, mask & ~OPTIONS);
    } else if (mask & IN_MASK_CREATE) {
        r = -EEXIST;
    } else {
        w->mask = (mask & IN_MASK_ADD ? w->mask : 0) | (mask & ~OPTIONS);
        update_mask_locked(inode);
        r = w->wd;
    }
    mutex_unlock(&g_inotify_lock);
    return r;
}

int inotify_remove(struct file *f, int wd)
{
    struct instance *in = f->private;
    struct watch *w;

    if (f->ops != &inotify_ops)
        return -EINVAL;
    mutex_lock(&g_inotify_lock);
    w = find_locked(in, NULL, wd);
    if (w) {
        event_queue_put(&in->queue, wd, IN_IGNORED, 0, NULL);
        detach_locked(w);
    }
    mutex_unlock(&g_inotify_lock);
    if (!w)
        return -EINVAL;
    free_watch(w);
    return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */
static ssize_t read_events(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    struct instance *in = f->private;

    (void)t;
    (void)pos;
    return event_queue_read(&in->queue, u, file_nonblock(f));
}

static uint32_t poll_events(struct task *t, struct file *f, struct poll_table *pt)
{
    struct instance *in = f->private;

    (void)t;
    poll_wait(pt, &in->queue.wait);
    return event_queue_any(&in->queue) ? POLLIN | POLLRDNORM : 0;
}

static long inotify_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    struct instance *in = f->private;
    int n;

    if (cmd != FIONREAD)
        return -ENOTTY;
    n = (int)event_queue_bytes(&in->queue);
    return copy_out(t, arg, &n, sizeof(n));
}

static void inotify_release(struct file *f)
{
    struct instance *in = f->private;
    struct list gone = LIST_INIT(gone);
    struct watch *w, *next;

    mutex_lock(&g_inotify_lock);
    list_for_each_entry_safe (w, next, &in->watches, instance_link) {
        detach_locked(w);
        list_append(&gone, &w->instance_link);
    }
    g_n_instances--;
    mutex_unlock(&g_inotify_lock);
    list_for_each_entry_safe (w, next, &gone, instance_link)
        free_watch(w);
    event_queue_fini(&in->queue);
    free(in);
}

static void inotify_show_fdinfo(struct file *f, void *buf)
{
    struct instance *in = f->private;
    struct watch *w;

    mutex_lock(&g_inotify_lock);
    list_for_each_entry (w, &in->watches, instance_link)
        (void)buf_printf(buf, "inotify wd:%x ino:%lx sdev:%lx mask:%x ignored_mask:0\n", w->wd,
                         w->inode->ino, w->inode->super ? w->inode->super->dev : 0, w->mask);
    mutex_unlock(&g_inotify_lock);
}

static const struct file_ops inotify_ops = {
    .read = read_events,
    .poll = poll_events,
    .async = POLLIN,
    .ioctl = inotify_ioctl,
    .release = inotify_release,
    .show_fdinfo = inotify_show_fdinfo,
    .name = "anon_inode:inotify",
};

static int count_instance(void)
{
    int r = 0;

    mutex_lock(&g_inotify_lock);
    if (g_n_instances >= INOTIFY_INSTANCES_MAX)
        r = -EMFILE;
    else
        g_n_instances++;
    mutex_unlock(&g_inotify_lock);
    return r;
}

int inotify_new(unsigned flags, struct file **ret)
{
    struct instance *in = calloc(1, sizeof(*in));
    int r = in ? count_instance() : -ENOMEM;

    if (r < 0) {
        free(in);
        return r;
    }
    event_queue_init(&in->queue);
    list_init(&in->watches);
    r = file_new(&inotify_ops, O_RDONLY | (flags & O_NONBLOCK), in, ret);
    if (r < 0) {
        mutex_lock(&g_inotify_lock);
        g_n_instances--;
        mutex_unlock(&g_inotify_lock);
        free(in);
    }
    return r;
}

uint32_t inotify_cookie(void)
{
    static uint32_t last;

    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}
