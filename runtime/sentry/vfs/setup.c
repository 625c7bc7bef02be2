/*
 * A container's tree of mounts, built before its first task runs. Destinations come from
 * config.json and are resolved inside the tree itself (links in an image cannot lead out: the
 * walk's root is the container's root).
 */
#include "runtime/sentry/vfs/setup.h"

#include "runtime/sentry/fs/gofer/goferfs.h"
#include "runtime/sentry/fs/overlay/overlay.h"
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned set, clear;
} mount_options[] = {
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, 0},
    {"nodiratime", MS_NODIRATIME, 0},
    {"relatime", MS_RELATIME, 0},
    {"strictatime", 0, MS_RELATIME | MS_NOATIME},
    /* about propagation to the host, or done by the runtime before we see the mount */
    {"bind", 0, 0},
    {"rbind", 0, 0},
    {"private", 0, 0},
    {"rprivate", 0, 0},
    {"shared", 0, 0},
    {"rshared", 0, 0},
    {"slave", 0, 0},
    {"rslave", 0, 0},
    {"unbindable", 0, 0},
    {"runbindable", 0, 0},
    {"defaults", 0, 0},
    {"sync", 0, 0},
    {"async", 0, 0},
    {"mand", 0, 0},
    {"nomand", 0, 0},
    {"copy-up", 0, 0},
    {"tmpcopyup", 0, 0},
};

static bool take_mount_option(const char *o, unsigned *flags)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(mount_options); i++)
        if (strcmp(o, mount_options[i].name) == 0) {
            *flags = (*flags & ~mount_options[i].clear) | mount_options[i].set;
            return true;
        }
    return false;
}

/* Splits "ro,nosuid,size=64k" into mount flags and what the type understands (to be freed). */
static int split_options(const char *options, unsigned *flags, char **ret_rest)
{
    CLEANUP(free_ptr) char *copy = strdup(options ? options : "");
    char *rest = calloc(1, strlen(options ? options : "") + 1), *save = NULL, *o;

    if (!copy || !rest) {
        free(rest);
        return -ENOMEM;
    }
    for (o = strtok_r(copy, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
        if (take_mount_option(o, flags))
            continue;
        if (rest[0])
            (void)strcat(rest, ",");
        (void)strcat(rest, o);
    }
    *ret_rest = rest;
    return 0;
}

/* Frees a superblock that was never mounted. */
static void discard(struct super *s)
{
    super_user_get(s);
    super_put(s);
    super_user_put(s);
}

/* One missing entry of a directory, with the kernel's rights. */
static int make_entry(const struct path *dir, const struct last_name *name,
                      const struct inode_new *what)
{
    struct inode *i = dir->dentry->inode;
    struct dentry *d;
    int r;

    mutex_lock(&i->dir_lock);
    r = dentry_lookup_locked_dir(NULL, dir->dentry, name->name, name->len, &d);
    if (r == 0) {
        if (!d->inode)
            r = i->ops->make ? i->ops->make(NULL, i, d, what) : -EROFS;
        dentry_put(d);
    }
    mutex_unlock(&i->dir_lock);
    return r;
}

static int make_at(const struct path *root, const char *path, uint32_t mode)
{
    const struct inode_new what = {.mode = mode};
    struct last_name last;
    struct path dir;
    int r = path_lookup_parent_at(NULL, root, path, WALK_FOLLOW, &dir, &last);

    if (r < 0)
        return r;
    r = last.type == LAST_NORMAL ? make_entry(&dir, &last, &what) : 0;
    path_put(&dir);
    return r;
}

/* Finds path below root; what is missing is made: directories, and a file at the end if asked. */
static int ensure(const struct path *root, const char *path, bool file, struct path *ret)
{
    char part[PATH_MAX];
    size_t len = strlen(path), at;
    int r = path_lookup_at(NULL, root, path, WALK_FOLLOW, ret);

    if (r != -ENOENT)
        return r;
    if (len >= sizeof(part))
        return -ENAMETOOLONG;
    for (at = 1; at <= len; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        memcpy(part, path, at);
        part[at] = '\0';
        r = make_at(root, part, file && path[at] == '\0' ? S_IFREG | 0644 : S_IFDIR | 0755);
        if (r < 0)
            return r;
    }
    return path_lookup_at(NULL, root, path, WALK_FOLLOW, ret);
}

static int copy_root_attrs(struct inode *from, struct inode *to)
{
    struct attr_change c = {.mask = ATTR_MODE | ATTR_UID | ATTR_GID,
                            .mode = from->mode & 07777,
                            .uid = from->uid,
                            .gid = from->gid};

    return to->ops->setattr(NULL, to, &c);
}

static int overlay_on(struct super *lower, const struct tree_spec *spec, struct super **ret)
{
    struct super *upper;
    int r = tmpfs_super_new("mode=755", spec->upper_limit, &upper);

    if (r < 0)
        return r;
    if (spec->scratch)
        tmpfs_use_scratch(upper, spec->gofer);
    r = copy_root_attrs(lower->root->inode, upper->root->inode);
    if (r == 0)
        r = overlay_super_new(upper->root, &lower->root, 1, NULL, ret);
    if (r < 0)
        discard(upper);
    else
        super_put(upper); /* the overlay keeps it */
    return r;
}

/* A read-only rootfs gets an overlay too, so that mount points can be made. */
static int root_super(const struct tree_spec *spec, struct super **ret)
{
    bool overlay = spec->root_overlay || spec->root_readonly;
    struct super *lower;
    int r = goferfs_super_new(spec->gofer, 0, true, overlay, &lower);

    if (r < 0)
        return r;
    if (!overlay) {
        *ret = lower;
        return 0;
    }
    r = overlay_on(lower, spec, ret);
    if (r < 0)
        discard(lower);
    else
        super_put(lower);
    return r;
}

static int make_super(const struct tree_spec *spec, const struct mount_spec *m, unsigned flags,
                      const char *options, struct super **ret)
{
    struct mount_args args = {
        .source = m->source ? m->source : m->type, .options = options, .flags = flags};
    const char *type = m->type;
    const struct fs_type *fs;

    if (strcmp(type, "bind") == 0)
        return goferfs_super_new(spec->gofer, m->gofer_mount, m->exclusive, m->readonly, ret);
    if (strcmp(type, "dev") == 0 ||
        (strcmp(type, "tmpfs") == 0 && strcmp(m->destination, "/dev") == 0))
        type = "devtmpfs"; /* with the nodes that every container has */
    if (strcmp(type, "devtmpfs") == 0 && !options)
        args.options = "mode=755";
    else if (strcmp(type, "cgroup") == 0)
        type = "cgroup2";
    fs = fs_type_find(type);
    return fs && fs->mount ? fs->mount(NULL, fs, &args, ret) : -ENODEV;
}

static int add_mount(const struct tree_spec *spec, struct mntns *ns, const struct path *root,
                     const struct mount_spec *m)
{
    const char *source = m->source ? m->source : m->type;
    unsigned flags = MS_RELATIME | (m->readonly ? MS_RDONLY : 0);
    CLEANUP(free_ptr) char *rest = NULL;
    struct super *s;
    struct path at;
    int r = split_options(m->options, &flags, &rest);

    if (r == 0)
        r = ensure(root, m->destination, m->file, &at);
    if (r < 0)
        return r;
    if (at.mount == root->mount && at.dentry == root->dentry)
        r = -EBUSY; /* over the root: nothing below would be seen again */
    if (r == 0)
        r = make_super(spec, m, flags, strcmp(m->type, "bind") != 0 && rest[0] ? rest : NULL, &s);
    if (r == 0 && S_ISDIR(s->root->inode->mode) != S_ISDIR(at.dentry->inode->mode)) {
        discard(s);
        r = -ENOTDIR;
    }
    if (r == 0)
        r = mount_attach(ns, &at, s, s->root, flags, source, NULL);
    path_put(&at);
    return r;
}

/* ---- masked and read-only paths: what does not exist is left out
 * --------------------------------*/
static int attach_again(struct mntns *ns, const struct path *at, const struct path *what,
                        unsigned flags)
{
    return mount_attach(ns, at, super_get(what->dentry->super), what->dentry, flags,
                        what->mount->source, NULL);
}

static int mask_path(struct mntns *ns, const struct path *root, const char *name)
{
    struct path at, null;
    int r = path_lookup_at(NULL, root, name, WALK_FOLLOW, &at);

    if (r < 0)
        return r == -ENOENT || r == -ENOTDIR ? 0 : r;
    if (S_ISDIR(at.dentry->inode->mode)) {
        struct super *s;

        r = tmpfs_super_new("mode=755,size=4k", 0, &s);
        if (r == 0)
            r = mount_attach(ns, &at, s, s->root, MS_RDONLY | MS_RELATIME, "tmpfs", NULL);
    } else {
        r = path_lookup_at(NULL, root, "/dev/null", 0, &null);
        if (r == 0) {
            r = attach_again(ns, &at, &null, MS_RELATIME);
            path_put(&null);
        }
    }
    path_put(&at);
    return r;
}

static int protect_path(struct mntns *ns, const struct path *root, const char *name)
{
    struct path at;
    int r = path_lookup_at(NULL, root, name, WALK_FOLLOW, &at);

    if (r < 0)
        return r == -ENOENT || r == -ENOTDIR ? 0 : r;
    r = attach_again(ns, &at, &at, at.mount->flags | MS_RDONLY);
    path_put(&at);
    return r;
}

static int add_all(const struct tree_spec *spec, struct mntns *ns, const char **failed)
{
    struct path root = {.mount = ns->root, .dentry = ns->root->root};
    const char *const *p;
    unsigned i;
    int r;

    for (i = 0; i < spec->n_mounts; i++) {
        *failed = spec->mounts[i].destination;
        r = add_mount(spec, ns, &root, &spec->mounts[i]);
        if (r < 0)
            return r;
    }
    for (p = spec->readonly; p && *p; p++) {
        *failed = *p;
        r = protect_path(ns, &root, *p);
        if (r < 0)
            return r;
    }
    for (p = spec->masked; p && *p; p++) {
        *failed = *p;
        r = mask_path(ns, &root, *p);
        if (r < 0)
            return r;
    }
    *failed = NULL;
    return 0;
}

int vfs_build_tree(struct task *t, const struct tree_spec *spec, struct mntns **ret,
                   const char **ret_failed_path)
{
    const char *failed = "/";
    struct mount *m = NULL;
    struct mntns *ns = NULL;
    struct super *s;
    int r = root_super(spec, &s);

    (void)t;
    if (r == 0) {
        m = mount_new(s, s->root, MS_RELATIME, s->type->name);
        super_put(s);
        ns = m ? mntns_new(m) : NULL;
        r = ns ? 0 : -ENOMEM;
    }
    if (r == 0) {
        mutex_lock(&g_tree_lock);
        mount_enter_ns_locked(ns, m);
        mutex_unlock(&g_tree_lock);
        r = add_all(spec, ns, &failed);
    }
    if (r < 0) {
        if (ret_failed_path)
            *ret_failed_path = failed;
        if (ns)
            mntns_put(ns);
        else
            mount_put(m);
        return r;
    }
    if (spec->root_readonly)
        m->flags |= MS_RDONLY;
    *ret = ns;
    return 0;
}
