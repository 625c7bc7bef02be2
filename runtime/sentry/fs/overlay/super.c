/* Overlay: superblocks, and mount(2) with lowerdir=, upperdir=, workdir=. */
#include "common/buf.h"
#include "runtime/sentry/fs/overlay/overlay.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int ovl_statfs(struct super *s, struct dentry *d, struct statfs *ret)
{
    struct overlay *o = s->private;
    struct super *real = o->upper_super ? o->upper_super : o->lower_supers[0];
    int r = real->ops->statfs ? real->ops->statfs(real, d, ret) : -ENOSYS;

    if (r < 0)
        return r;
    ret->f_type = (__fsword_t)s->type->magic;
    if (ret->f_bfree == ret->f_blocks && ret->f_blocks) {
        /* never quite empty: what is below is there too */
        ret->f_bfree--;
        ret->f_bavail--;
    }
    return 0;
}

static void ovl_put_super(struct super *s)
{
    struct overlay *o = s->private;
    unsigned k;

    if (o->upper_super)
        super_user_put(o->upper_super);
    for (k = 0; k < o->n_lower_supers; k++)
        super_user_put(o->lower_supers[k]);
    free(o->lower_supers);
    hashmap_fini(&o->nodes);
    free(o->shown);
    free(o);
}

static void ovl_show_options(struct super *s, struct buf *out)
{
    const struct overlay *o = s->private;

    if (o->shown)
        (void)buf_printf(out, ",%s", o->shown);
}

static const struct super_ops ovl_super_ops = {
    .statfs = ovl_statfs, .show_options = ovl_show_options, .put = ovl_put_super};

static int mount_overlay(struct task *t, const struct fs_type *type, const struct mount_args *args,
                         struct super **ret);

const struct fs_type overlay_fs_type = {
    .name = "overlay", .magic = 0x794c7630, .no_dev = true, .userns = true, .mount = mount_overlay};

int overlay_super_new(struct dentry *upper, struct dentry *const *lower, unsigned n_lower,
                      const char *shown, struct super **ret)
{
    struct overlay *o = calloc(1, sizeof(*o));
    struct inode **inodes = calloc(n_lower, sizeof(struct inode *)), *root;
    struct super *s = NULL;
    unsigned k;

    if (o)
        o->lower_supers = calloc(n_lower, sizeof(struct super *));
    if (o && o->lower_supers && inodes)
        s = super_new(&overlay_fs_type, &ovl_super_ops, o);
    if (!s) {
        if (o)
            free(o->lower_supers);
        free(o);
        free(inodes);
        return -ENOMEM;
    }
    o->shown = shown ? strdup(shown) : NULL;
    o->n_lower_supers = n_lower;
    if (upper) {
        o->upper_super = upper->super;
        super_user_get(upper->super);
        s->flags |= upper->super->flags & (SUPER_ACL | SUPER_SIZED | SUPER_SMALL_IN_HEAP);
    } else {
        s->flags |= SUPER_RDONLY;
    }
    for (k = 0; k < n_lower; k++) {
        o->lower_supers[k] = lower[k]->super;
        super_user_get(lower[k]->super);
        inodes[k] = inode_get(lower[k]->inode);
    }
    if (ovl_node_new(s, NULL, "", upper ? inode_get(upper->inode) : NULL, inodes, n_lower, &root) ==
        0)
        s->root = dentry_new_root(s, root);
    if (!s->root) {
        super_put(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

/* ---- mount(2) ---------------------------------------------------------------------------------*/
struct ovl_dirs {
    struct path upper, work, lower[OVL_LAYERS_MAX];
    unsigned n_lower;
};

static void dirs_put(struct ovl_dirs *d)
{
    unsigned k;

    path_put(&d->upper);
    path_put(&d->work);
    for (k = 0; k < d->n_lower; k++)
        path_put(&d->lower[k]);
}

static int find_dir(struct task *t, const char *name, struct path *ret)
{
    return path_lookup(t, AT_FDCWD, name, WALK_FOLLOW | WALK_DIRECTORY, ret);
}

static int parse_lower(struct task *t, char *list, struct ovl_dirs *d)
{
    char *save = NULL, *p;
    int r = 0;

    for (p = strtok_r(list, ":", &save); p && r == 0; p = strtok_r(NULL, ":", &save)) {
        if (d->n_lower == OVL_LAYERS_MAX)
            return -EINVAL;
        r = find_dir(t, p, &d->lower[d->n_lower]);
        d->n_lower += r == 0;
    }
    return r;
}

static int parse_options(struct task *t, char *options, struct ovl_dirs *d)
{
    char *save = NULL, *o;
    int r = 0;

    for (o = strtok_r(options, ",", &save); o && r == 0; o = strtok_r(NULL, ",", &save)) {
        char *value = strchr(o, '=');

        if (value)
            *value++ = '\0';
        if (value && strcmp(o, "lowerdir") == 0 && !d->n_lower)
            r = parse_lower(t, value, d);
        else if (value && strcmp(o, "upperdir") == 0 && !d->upper.dentry)
            r = find_dir(t, value, &d->upper);
        else if (value && strcmp(o, "workdir") == 0 && !d->work.dentry)
            r = find_dir(t, value, &d->work);
        else if (strcmp(o, "userxattr") != 0 && strcmp(o, "volatile") != 0 &&
                 strcmp(o, "index") != 0 && strcmp(o, "metacopy") != 0 && strcmp(o, "xino") != 0 &&
                 strcmp(o, "redirect_dir") != 0)
            r = -EINVAL;
    }
    return r;
}

/* The upper layer must keep whiteouts and trusted xattrs and make unnamed files. */
static int check_dirs(const struct ovl_dirs *d)
{
    const struct inode *u = d->upper.dentry ? d->upper.dentry->inode : NULL;
    int r;

    if (!d->n_lower || (u != NULL) != (d->work.dentry != NULL))
        return -EINVAL;
    if (!u)
        return 0;
    if (u->super->type == &overlay_fs_type || !u->ops->tmpfile || !u->ops->setxattr ||
        !u->ops->link || d->work.dentry->super != d->upper.dentry->super)
        return -EINVAL;
    r = path_want_write(&d->upper);
    if (r == 0) /* its own names are changed by us from now on: don't remember them there */
        d->upper.dentry->super->flags |= SUPER_NO_NEGATIVE | SUPER_NO_CACHE;
    return r;
}

static int mount_overlay(struct task *t, const struct fs_type *type, const struct mount_args *args,
                         struct super **ret)
{
    CLEANUP(free_ptr) char *copy = args->options ? strdup(args->options) : NULL;
    struct ovl_dirs *d = calloc(1, sizeof(*d));
    struct dentry *lower[OVL_LAYERS_MAX];
    unsigned k;
    int r = copy && d ? parse_options(t, copy, d) : args->options ? -ENOMEM : -EINVAL;

    (void)type;
    if (r == 0)
        r = check_dirs(d);
    if (r == 0) {
        for (k = 0; k < d->n_lower; k++)
            lower[k] = d->lower[k].dentry;
        r = overlay_super_new(d->upper.dentry, lower, d->n_lower, args->options, ret);
    }
    if (d)
        dirs_put(d);
    free(d);
    return r;
}
