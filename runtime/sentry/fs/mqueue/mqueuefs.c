/* The file system of type "mqueue": the queues of an ipc namespace by name, for looking at them. */
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/fs/mqueue/mqueue_internal.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/pseudo.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static void *object_get(void *object)
{
    ref_get(&((struct mqueue *)object)->ref);
    return object;
}

static void object_put(void *object)
{
    mqueue_put(object);
}

static const struct pseudo_object_ops queue_ops = {object_get, object_put};

static int show_queue(struct task *t, struct pseudo_node *n, struct buf *out)
{
    (void)t;
    return mqueue_show(n->object, out);
}

static const struct pseudo_entry queue_row = {.mode = S_IFREG | 0600, .show = show_queue};

static struct ipcns *ns_of(const struct pseudo_node *n)
{
    return n->inode.super->private;
}

static int lookup(struct task *t, struct pseudo_node *dir, const char *name,
                  struct pseudo_found *ret)
{
    struct mqueue *q = mqueue_find(ns_of(dir), name);

    (void)t;
    if (!q)
        return -ENOENT;
    *ret = (struct pseudo_found){.row = &queue_row,
                                 .object = q,
                                 .object_ops = &queue_ops,
                                 .uid = q->uid,
                                 .gid = q->gid,
                                 .mode = S_IFREG | q->mode};
    return 0;
}

static int iterate(struct task *t, struct pseudo_node *dir, int64_t *pos,
                   bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                int64_t next_pos),
                   void *arg)
{
    struct ipcns *ns = ns_of(dir);
    char name[MQ_NAME_SIZE];

    (void)t;
    for (int64_t i = *pos;; i++) {
        struct mqueue *q;
        int64_t at = 0;

        name[0] = '\0';
        mutex_lock(&ns->lock);
        if (ns->mqueue)
            list_for_each_entry (q, &((struct mqueue_table *)ns->mqueue)->queues, link)
                if (at++ == i)
                    memcpy(name, q->name, sizeof(name));
        mutex_unlock(&ns->lock);
        if (!name[0] || !emit(arg, name, DT_REG, 0, i + 1))
            return 0;
    }
}

static const struct pseudo_dynamic queues = {.lookup = lookup, .iterate = iterate};
static const struct pseudo_entry root_row = {.mode = S_IFDIR | 01777, .dynamic = &queues};

static void mqueuefs_put(struct super *s)
{
    ipcns_put(s->private);
}

static const struct super_ops mqueuefs_ops = {.put = mqueuefs_put};

static int mqueuefs_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                          struct super **ret)
{
    struct ipcns *ns = ipcns_get(t && t->ns ? t->ns->ipc : g_sentry.ipc);
    int r;

    (void)args;
    r = pseudo_super_new(type, &mqueuefs_ops, &root_row, NULL, NULL, SUPER_NO_NEGATIVE, ns, ret);
    if (r < 0)
        ipcns_put(ns);
    return r;
}

extern const struct fs_type mqueue_fs_type;
const struct fs_type mqueue_fs_type = {
    .name = "mqueue", .magic = 0x19800202, .no_dev = true, .userns = true, .mount = mqueuefs_mount};
