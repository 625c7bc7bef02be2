/* "devtmpfs": a tmpfs that starts with the standard device nodes, links and directories. */
#include "common/cleanup.h"
#include "runtime/sentry/fs/dev/dev.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

extern const struct fs_type tmpfs_fs_type, devtmpfs_fs_type;

static int make_node(struct task *t, struct dentry *root, const struct dev_node *n)
{
    struct inode_new what = {.mode = n->mode,
                             .rdev = S_ISCHR(n->mode) ? makedev(n->major, n->minor) : 0,
                             .target = n->target};
    struct inode *dir = root->inode;
    struct dentry *d;
    int r;

    mutex_lock(&dir->dir_lock);
    r = dentry_lookup_locked_dir(t, root, n->name, strlen(n->name), &d);
    if (r == 0) {
        if (!d->inode)
            r = dir->ops->make(t, dir, d, &what);
        dentry_put(d);
    }
    mutex_unlock(&dir->dir_lock);
    return r;
}

static int devtmpfs_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                          struct super **ret)
{
    struct super *s;
    int r;

    (void)type;
    r = tmpfs_fs_type.mount(t, &tmpfs_fs_type, args, &s);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < g_n_dev_nodes && r == 0; i++)
        r = make_node(t, s->root, &g_dev_nodes[i]);
    if (r < 0) {
        super_put(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* What it mounts calls itself tmpfs, as a container's /dev does elsewhere. */
const struct fs_type devtmpfs_fs_type = {
    .name = "devtmpfs", .magic = 0x01021994, .no_dev = true, .mount = devtmpfs_mount};
