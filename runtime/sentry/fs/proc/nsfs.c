/* Namespaces as files. Each look-up makes an inode of its own; the inode number tells them apart.
 */
#include "runtime/sentry/fs/proc/nsfs.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
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

/* ---- relatives (ioctl_ns(2)) ------------------------------------------------------------------
 */

static long put_in_table(struct task *t, struct file *f)
{
    int fd = fd_install(t, f, true, 0);

    if (fd < 0)
        file_put(f);
    return fd;
}

/* A descriptor of the namespace, whose references are taken over. */
static long install(struct task *t, const struct nsfs_ref *what, const char *kind)
{
    char name[32];
    struct path p;
    struct file *f;
    int r;

    (void)snprintf(name, sizeof(name), "%s:[%lu]", kind, what->ino);
    r = nsfs_path(what, name, &p);
    if (r < 0)
        return r;
    r = vfs_open_path(t, &p, O_RDONLY, &f);
    path_put(&p);
    return r < 0 ? r : put_in_table(t, f);
}

/* Is ns the caller's user namespace, or below it? */
static bool userns_visible(const struct task *t, const struct userns *ns)
{
    const struct userns *mine = t->cred->userns;

    while (ns && ns != mine)
        ns = ns->parent;
    return ns == mine;
}

static long open_userns(struct task *t, const struct nsfs_ref *what, struct userns *ns)
{
    struct nsfs_ref ref = {.type = CLONE_NEWUSER,
                           .ino = ns ? ns->ino : NSFS_INITIAL_USERNS,
                           .cred = cred_copy(what->cred)};

    if (!ref.cred)
        return -ENOMEM;
    if (ref.cred->userns)
        userns_put(ref.cred->userns);
    ref.cred->userns = ns ? userns_get(ns) : NULL;
    return install(t, &ref, "user");
}

static long open_parent(struct task *t, const struct nsfs_ref *what)
{
    struct pidns *up;

    if (what->type == CLONE_NEWUSER) {
        if (!what->cred->userns || !userns_visible(t, what->cred->userns->parent))
            return -EPERM;
        return open_userns(t, what, what->cred->userns->parent);
    }
    if (what->type != CLONE_NEWPID)
        return -EINVAL;
    up = what->pidns->parent;
    if (!up || up->level < task_pidns(t)->level || what->pidns == task_pidns(t))
        return -EPERM;
    return install(t,
                   &(struct nsfs_ref){.type = CLONE_NEWPID,
                                      .ino = up->ino,
                                      .pidns = pidns_get(up),
                                      .cred = cred_get(what->cred)},
                   "pid");
}

/* Whose namespace it is, where that is kept. */
static long open_owner(struct task *t, const struct nsfs_ref *what)
{
    struct userns *owner;

    switch (what->type) {
    case CLONE_NEWUSER:
        return open_parent(t, what);
    case CLONE_NEWUTS:
        owner = what->all->uts->userns;
        break;
    case CLONE_NEWNET:
        owner = what->all->net->userns;
        break;
    default:
        return -EPERM;
    }
    return userns_visible(t, owner) ? open_userns(t, what, owner) : -EPERM;
}

static long owner_uid(struct task *t, const struct nsfs_ref *what, gaddr_t arg)
{
    const struct userns *ns = what->type == CLONE_NEWUSER ? what->cred->userns : NULL;
    uint32_t uid;

    if (what->type != CLONE_NEWUSER)
        return -EINVAL;
    uid = uid_from_kernel(t->cred->userns, ns ? ns->owner : 0);
    return copy_out(t, arg, &uid, sizeof(uid));
}

static long nsfs_ioctl(struct task *t, struct file *f, unsigned cmd, gaddr_t arg)
{
    const struct nsfs_ref *what = &container_of(f->inode, struct nsfs_inode, inode)->what;

    switch (cmd) {
    case NS_GET_NSTYPE:
        return what->type;
    case NS_GET_USERNS:
        return open_owner(t, what);
    case NS_GET_PARENT:
        return open_parent(t, what);
    case NS_GET_OWNER_UID:
        return owner_uid(t, what, arg);
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
