/*
 * devpts: one instance a mount, as with the option "newinstance". Nodes appear with their
 * terminals.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/tty/tty_internal.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/path.h"
#include "runtime/sentry/vfs/pseudo.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { PTS_GID = 5, FIRST_INO = 3 };

struct devpts {
    struct ref ref; /* its superblock and its terminals */
    struct list link;
    struct mutex lock;
    struct tty **slots; /* not counted: a terminal leaves before it ends */
    unsigned n_slots;
    uint32_t gid, mode;
};

extern const struct fs_type devpts_fs_type;
static struct mutex g_instances_lock = MUTEX_INIT;
static struct list g_instances = LIST_INIT(g_instances);

void devpts_put(struct devpts *d)
{
    if (!d || !ref_put(&d->ref))
        return;
    mutex_lock(&g_instances_lock);
    list_remove(&d->link);
    mutex_unlock(&g_instances_lock);
    free(d->slots);
    free(d);
}

struct devpts *devpts_of(const struct file *f)
{
    struct devpts *d = NULL, *each;

    if (f->inode && f->inode->super && f->inode->super->type == &devpts_fs_type) {
        d = f->inode->super->private;
        ref_get(&d->ref);
        return d;
    }
    mutex_lock(&g_instances_lock);
    list_for_each_entry (each, &g_instances, link)
        if (ref_get_unless_zero(&each->ref)) {
            d = each;
            break;
        }
    mutex_unlock(&g_instances_lock);
    return d;
}

unsigned devpts_index(const struct file *f, unsigned index)
{
    if (f->inode && f->inode->super && f->inode->super->type == &devpts_fs_type)
        return (unsigned)pseudo_node_of_file(f)->number;
    return index;
}

struct devpts *devpts_of_task(struct task *t, struct path *ret)
{
    struct super *s;

    if (!t || path_lookup(t, AT_FDCWD, "/dev/pts", WALK_FOLLOW | WALK_DIRECTORY, ret) < 0)
        return NULL;
    s = ret->dentry->inode->super;
    if (s->type == &devpts_fs_type)
        return s->private;
    path_put(ret);
    return NULL;
}

/* ---- numbers
 * --------------------------------------------------------------------------------------- */
static int grow_locked(struct devpts *d)
{
    unsigned n = d->n_slots ? d->n_slots * 2 : 8;
    struct tty **slots;

    if (d->n_slots >= PTS_MAX)
        return -ENOSPC;
    slots = realloc(d->slots, n * sizeof(struct tty *));
    if (!slots)
        return -ENOMEM;
    memset(slots + d->n_slots, 0, (n - d->n_slots) * sizeof(struct tty *));
    d->slots = slots;
    d->n_slots = n;
    return 0;
}

int devpts_add(struct devpts *d, struct tty *tty)
{
    unsigned i;
    int r = 0;

    mutex_lock(&d->lock);
    for (i = 0; i < d->n_slots && d->slots[i]; i++)
        ;
    if (i == d->n_slots)
        r = grow_locked(d);
    if (r == 0) {
        d->slots[i] = tty;
        tty->index = i;
        tty->gid = d->gid;
        ref_get(&d->ref);
        tty->instance = d;
    }
    mutex_unlock(&d->lock);
    return r;
}

/* Called when the master closes, and again at the end. */
void devpts_remove(struct tty *tty)
{
    struct devpts *d = __atomic_exchange_n(&tty->instance, NULL, __ATOMIC_ACQ_REL);

    if (!d)
        return;
    mutex_lock(&d->lock);
    if (tty->index < d->n_slots && d->slots[tty->index] == tty)
        d->slots[tty->index] = NULL;
    mutex_unlock(&d->lock);
    devpts_put(d);
}

struct tty *devpts_find(struct devpts *d, unsigned index)
{
    struct tty *tty;

    mutex_lock(&d->lock);
    tty = index < d->n_slots ? d->slots[index] : NULL;
    if (tty && !ref_get_unless_zero(&tty->ref))
        tty = NULL;
    mutex_unlock(&d->lock);
    return tty;
}

/* ---- the file system
 * ------------------------------------------------------------------------------- */
static void pts_attr(struct task *t, struct pseudo_node *n, struct attr *a)
{
    (void)t;
    a->rdev = makedev(TTY_MAJOR_PTS + (n->number >> 8), n->number & 255);
}

static const struct pseudo_entry pts_row = {
    .mode = S_IFCHR | 0620, .rdev = (uint64_t)TTY_MAJOR_PTS << 8, .attr = pts_attr};

static int pts_lookup(struct task *t, struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    struct devpts *d = dir->inode.super->private;
    struct tty *tty;
    char *end;
    unsigned long index;

    (void)t;
    if (name[0] < '0' || name[0] > '9')
        return -ENOENT;
    index = strtoul(name, &end, 10);
    tty = *end || index >= PTS_MAX ? NULL : devpts_find(d, (unsigned)index);
    if (!tty)
        return -ENOENT;
    *ret = (struct pseudo_found){.row = &pts_row,
                                 .number = index,
                                 .uid = tty->uid,
                                 .gid = tty->gid,
                                 .ino = index + FIRST_INO,
                                 .mode = S_IFCHR | d->mode};
    tty_put(tty);
    return 0;
}

static int pts_iterate(struct task *t, struct pseudo_node *dir, int64_t *pos,
                       bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                    int64_t next_pos),
                       void *arg)
{
    struct devpts *d = dir->inode.super->private;
    char name[16];

    (void)t;
    for (unsigned i = (unsigned)*pos; i < d->n_slots; i++) {
        struct tty *tty = devpts_find(d, i);

        if (!tty)
            continue;
        tty_put(tty);
        (void)snprintf(name, sizeof(name), "%u", i);
        if (!emit(arg, name, DT_CHR, i + FIRST_INO, i + 1))
            return 0;
        *pos = i + 1;
    }
    return 0;
}

static bool pts_valid(struct task *t, struct pseudo_node *n)
{
    struct devpts *d = n->inode.super->private;
    struct tty *tty = devpts_find(d, (unsigned)n->number);

    (void)t;
    tty_put(tty);
    return tty;
}

static const struct pseudo_dynamic pts_nodes = {pts_lookup, pts_iterate, pts_valid};
static const struct pseudo_entry root_rows[] = {
    {.name = "ptmx", .mode = S_IFCHR | 0666, .rdev = 5 << 8 | 2}, {.dynamic = &pts_nodes}, {0}};
static const struct pseudo_entry root_row = {.mode = S_IFDIR | 0755, .entries = root_rows};

static void devpts_super_put(struct super *s)
{
    devpts_put(s->private);
}

static void devpts_show_options(struct super *s, struct buf *out)
{
    struct devpts *d = s->private;

    (void)buf_printf(out, ",gid=%u,mode=%o,ptmxmode=666", d->gid, d->mode);
}

static const struct super_ops devpts_super_ops = {.show_options = devpts_show_options,
                                                  .put = devpts_super_put};

/* "gid=5,mode=620,..."; t is NULL for mounts of config.json. */
static int parse_options(struct task *t, struct devpts *d, const char *options)
{
    const char *gid = options ? strstr(options, "gid=") : NULL;
    const char *mode = options ? strstr(options, "mode=") : NULL;

    if (mode && mode != options && mode[-1] == 'x') /* ptmxmode= */
        mode = strstr(mode + 1, "mode=");
    if (gid)
        d->gid = gid_to_kernel(t ? t->cred->userns : NULL, (uint32_t)strtoul(gid + 4, NULL, 10));
    if (mode)
        d->mode = (uint32_t)strtoul(mode + 5, NULL, 8) & 0777;
    return d->gid == ID_INVALID ? -EINVAL : 0;
}

static int devpts_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                        struct super **ret)
{
    struct devpts *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return -ENOMEM;
    ref_init(&d->ref);
    d->gid = PTS_GID;
    d->mode = 0620;
    r = parse_options(t, d, args->options);
    if (r < 0) {
        free(d);
        return r;
    }
    mutex_lock(&g_instances_lock);
    list_append(&g_instances, &d->link);
    mutex_unlock(&g_instances_lock);
    r = pseudo_super_new(type, &devpts_super_ops, &root_row, NULL, NULL, SUPER_NO_NEGATIVE, d, ret);
    if (r < 0)
        devpts_put(d);
    return r;
}

const struct fs_type devpts_fs_type = {
    .name = "devpts", .magic = 0x1cd1, .no_dev = true, .userns = true, .mount = devpts_mount};
