/* /proc/PID/mounts, mountinfo, mountstats. */
#include "common/buf.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

static const struct {
    unsigned flag;
    const char *name;
} shown_flags[] = {{MS_NOSUID, ",nosuid"},         {MS_NODEV, ",nodev"},
                   {MS_NOEXEC, ",noexec"},         {MS_NOATIME, ",noatime"},
                   {MS_NODIRATIME, ",nodiratime"}, {MS_RELATIME, ",relatime"}};

/* Spaces and their like as octal, as Linux does. */
static void put_escaped(struct buf *out, const char *s)
{
    for (; *s; s++)
        if (strchr(" \t\n\\#", *s))
            (void)buf_printf(out, "\\%03o", (unsigned char)*s);
        else
            (void)buf_append(out, s, 1);
}

static void put_flags(struct buf *out, unsigned flags, bool with_super)
{
    size_t i;

    (void)buf_puts(out, flags & MS_RDONLY ? "ro" : "rw");
    for (i = 0; with_super && i < ARRAY_SIZE(shown_flags); i++)
        if (flags & shown_flags[i].flag)
            (void)buf_puts(out, shown_flags[i].name);
}

struct shown {
    struct mount *m; /* reference */
    char path[PATH_MAX];
    char root[PATH_MAX];
};

static void show_plain(struct buf *out, const struct shown *s)
{
    struct super *sb = s->m->super;

    put_escaped(out, s->m->source);
    (void)buf_puts(out, " ");
    put_escaped(out, s->path);
    (void)buf_printf(out, " %s ", sb->type->name);
    put_flags(out, s->m->flags | (sb->flags & SUPER_RDONLY ? MS_RDONLY : 0U), true);
    if (sb->ops && sb->ops->show_options)
        sb->ops->show_options(sb, out);
    (void)buf_puts(out, " 0 0\n");
}

static void show_info(struct buf *out, const struct shown *s)
{
    struct super *sb = s->m->super;

    (void)buf_printf(out, "%d %d %u:%u ", s->m->id, s->m->parent->id, major(sb->dev),
                     minor(sb->dev));
    put_escaped(out, s->root);
    (void)buf_puts(out, " ");
    put_escaped(out, s->path);
    (void)buf_puts(out, " ");
    put_flags(out, s->m->flags, true);
    if (s->m->propagation == PROPAGATE_SHARED)
        (void)buf_printf(out, " shared:%d", s->m->peer_group);
    else if (s->m->propagation == PROPAGATE_SLAVE)
        (void)buf_printf(out, " master:%d", s->m->peer_group);
    else if (s->m->propagation == PROPAGATE_UNBINDABLE)
        (void)buf_puts(out, " unbindable");
    (void)buf_printf(out, " - %s ", sb->type->name);
    put_escaped(out, s->m->source);
    (void)buf_puts(out, " ");
    put_flags(out, sb->flags & SUPER_RDONLY ? MS_RDONLY : 0, false);
    if (sb->ops && sb->ops->show_options)
        sb->ops->show_options(sb, out);
    (void)buf_puts(out, "\n");
}

static void show_stats(struct buf *out, const struct shown *s)
{
    (void)buf_puts(out, "device ");
    put_escaped(out, s->m->source);
    (void)buf_puts(out, " mounted on ");
    put_escaped(out, s->path);
    (void)buf_printf(out, " with fstype %s\n", s->m->super->type->name);
}

/* False: not below `root`, not shown. */
static bool describe(struct shown *s, const struct path *root)
{
    const struct path at = {.mount = s->m, .dentry = s->m->root};
    const struct path in_fs = {.dentry = s->m->root};
    const struct path fs_root = {.dentry = s->m->super->root};

    if (path_name(&at, root, false, s->path, sizeof(s->path) - 1) < 0 || s->path[0] != '/')
        return false;
    if (path_name(&in_fs, &fs_root, false, s->root, sizeof(s->root) - 1) < 0)
        (void)strcpy(s->root, "/");
    return true;
}

int mounts_show(struct mntns *ns, const struct path *root, enum mounts_format format,
                struct buf *out)
{
    static void (*const show[])(struct buf *, const struct shown *) = {show_plain, show_info,
                                                                       show_stats};
    struct mount **all = NULL, *m;
    struct shown *s = malloc(sizeof(*s));
    unsigned n = 0, i;

    mutex_lock(&g_tree_lock);
    if (s)
        all = malloc((ns->n_mounts + 1) * sizeof(struct mount *));
    if (all)
        list_for_each_entry (m, &ns->mounts, ns_link)
            all[n++] = mount_get(m);
    mutex_unlock(&g_tree_lock);
    for (i = 0; i < n; i++) {
        s->m = all[i];
        if (describe(s, root))
            show[format](out, s);
        mount_put(all[i]);
    }
    free(s);
    if (!all)
        return -ENOMEM;
    free(all);
    return 0;
}
