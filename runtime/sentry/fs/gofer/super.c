/* Superblocks of gofer mounts. */
#include "runtime/sentry/fs/gofer/goferfs.h"

#include <errno.h>
#include <stdlib.h>

static int goferfs_statfs(struct super *s, struct dentry *d, struct statfs *ret)
{
    struct goferfs *fs = s->private;
    struct gofer_statfs st;
    int r = gofer_statfs(fs->g, fs->mount, "", &st);

    (void)d;
    if (r < 0)
        return r;
    ret->f_type = (__fsword_t)st.type;
    ret->f_bsize = (__fsword_t)st.bsize;
    ret->f_frsize = (__fsword_t)st.frsize;
    ret->f_blocks = st.blocks;
    ret->f_bfree = st.bfree;
    ret->f_bavail = st.bavail;
    ret->f_files = st.files;
    ret->f_ffree = st.ffree;
    ret->f_namelen = (__fsword_t)st.namelen;
    return 0;
}

static void goferfs_put(struct super *s)
{
    struct goferfs *fs = s->private;

    gofer_ahead_drop(fs);
    hashmap_fini(&fs->linked);
    gofer_put(fs->g);
    free(fs);
}

static const struct super_ops goferfs_super_ops = {.statfs = goferfs_statfs, .put = goferfs_put};

/* Not to be mounted by guests: has no mount op and is in no table. */
const struct fs_type goferfs_type = {.name = "9p", .magic = 0x01021997, .no_dev = true};

int goferfs_super_new(struct gofer *g, uint32_t mount, bool exclusive, bool readonly,
                      struct super **ret)
{
    struct goferfs *fs = calloc(1, sizeof(*fs));
    struct gofer_attr a;
    struct inode *root;
    struct super *s;
    int r = fs ? gofer_stat(g, mount, "", &a, NULL) : -ENOMEM;

    if (r < 0) {
        free(fs);
        return r;
    }
    *fs = (struct goferfs){
        .g = g, .mount = mount, .exclusive = exclusive, .readonly = readonly, .root_dev = a.dev};
    s = super_new(&goferfs_type, &goferfs_super_ops, fs);
    if (!s) {
        free(fs);
        return -ENOMEM;
    }
    (void)gofer_get(g);
    s->flags = (readonly ? SUPER_RDONLY : 0) | SUPER_NO_ATIME;
    if (a.nlink > 1 && !S_ISDIR(a.mode))
        a.nlink = 1; /* the root is always a node of its own */
    r = gofer_node_new(s, NULL, "", &a, &root);
    if (r == 0)
        s->root = dentry_new_root(s, root);
    if (!s->root) {
        super_put(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}
