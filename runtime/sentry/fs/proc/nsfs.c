/* Namespaces as files. Each look-up makes an inode of its own; the inode number tells them apart.
 */
#include "runtime/sentry/fs/proc/nsfs.h"

#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <stdlib.h>

struct nsfs_inode {
    struct inode inode;
    struct nsfs_ref what;
};

static const struct inode_ops nsfs_inode_ops;

static void put_refs(const struct nsfs_ref *what)
{
    if (what->all)
        namespaces_put(what->all);
    if (what->pidns)
        pidns_put(what->pidns);
    if (what->cred)
        cred_put(what->cred);
}

static void nsfs_evict(struct inode *i)
{
    struct nsfs_inode *n = container_of(i, struct nsfs_inode, inode);

    put_refs(&n->what);
    inode_fini(i);
    free(n);
}

static long nsfs_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    (void)t;
    (void)arg;
    switch (cmd) {
    case NS_GET_NSTYPE:
        return container_of(f->inode, struct nsfs_inode, inode)->what.type;
    case NS_GET_USERNS:
    case NS_GET_PARENT:
        return -EPERM;
    default:
        return -ENOTTY;
    }
}

static const struct file_ops nsfs_file_ops = {.ioctl = nsfs_ioctl};
static const struct inode_ops nsfs_inode_ops = {.evict = nsfs_evict};

const struct nsfs_ref *nsfs_of(const struct file *f)
{
    if (!f->inode || f->inode->ops != &nsfs_inode_ops)
        return NULL;
    return &container_of(f->inode, struct nsfs_inode, inode)->what;
}

static struct super *nsfs_super(void)
{
    static const struct fs_type type = {.name = "nsfs", .magic = 0x6e736673};
    static const struct super_ops ops;
    static struct mutex lock = MUTEX_INIT;
    static struct super *super; /* guarded by lock; kept */

    mutex_lock(&lock);
    if (!super)
        super = super_new(&type, &ops, NULL);
    mutex_unlock(&lock);
    return super;
}

int nsfs_path(const struct nsfs_ref *what, const char *name, struct path *ret)
{
    struct super *super = nsfs_super();
    struct nsfs_inode *n = super ? calloc(1, sizeof(*n)) : NULL;
    struct dentry *d;

    if (!n) {
        put_refs(what);
        return -ENOMEM;
    }
    n->what = *what;
    inode_init(&n->inode, super, &nsfs_inode_ops, &nsfs_file_ops, what->ino, S_IFREG | 0444, 0, 0);
    d = dentry_new_anonymous(super, &n->inode, name);
    if (!d)
        return -ENOMEM;
    *ret = (struct path){.mount = NULL, .dentry = d};
    return 0;
}
