/* tmpfs: superblocks, mount options (size=, nr_blocks=, nr_inodes=, mode=, uid=, gid=). */
#include "common/buf.h"
#include "runtime/gofer/client.h"
#include "runtime/sentry/fs/tmpfs/tmpfs.h"

#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/lend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static uint64_t g_default_bytes = 2ULL << 30;

enum { DEFAULT_INODES_PER_PAGE = 1, MIN_INODES = 1024 };

void tmpfs_set_default_limit(uint64_t bytes)
{
    g_default_bytes = bytes;
}

void tmpfs_use_scratch(struct super *s, struct gofer *g)
{
    ((struct tmpfs *)s->private)->gofer = gofer_get(g);
}

/* A number with k, m, g, t or % (of the default, taken as half of the memory). */
static int parse_size(const char *s, uint64_t *ret)
{
    char *end;
    uint64_t n = strtoull(s, &end, 0);
    unsigned shift = 0;

    if (end == s || *s == '-')
        return -EINVAL;
    switch (*end) {
    case 't':
    case 'T':
        shift += 10;
        __attribute__((fallthrough));
    case 'g':
    case 'G':
        shift += 10;
        __attribute__((fallthrough));
    case 'm':
    case 'M':
        shift += 10;
        __attribute__((fallthrough));
    case 'k':
    case 'K':
        shift += 10;
        end++;
        break;
    case '%':
        if (n > 10000)
            return -EINVAL;
        n = n * 2 * (g_default_bytes / 100);
        end++;
        break;
    }
    if (*end || n > UINT64_MAX >> shift)
        return -EINVAL;
    *ret = n << shift;
    return 0;
}

static int parse_id(const char *s, int base, uint32_t *ret)
{
    char *end;
    unsigned long n = strtoul(s, &end, base);

    if (end == s || *end || n > UINT32_MAX)
        return -EINVAL;
    *ret = (uint32_t)n;
    return 0;
}

/* A number as the task that mounts calls it. */
static int parse_owner(const char *s, uint32_t (*map)(const struct userns *ns, uint32_t id),
                       uint32_t *ret)
{
    const struct task *t = current_task();
    uint32_t id;
    int r = parse_id(s, 10, &id);

    if (r < 0)
        return r;
    *ret = map(t ? t->cred->userns : NULL, id);
    return *ret == ID_INVALID ? -EINVAL : 0;
}

static int set_pages(struct tmpfs *s, uint64_t bytes)
{
    s->max_pages = (bytes + TMPFS_PAGE - 1) / TMPFS_PAGE;
    s->default_size = false;
    return 0;
}

static int parse_one(struct tmpfs *s, const char *key, const char *value)
{
    uint64_t n = 0;
    int r;

    if (strcmp(key, "mode") == 0) {
        r = parse_id(value, 8, &s->root_mode);
        s->root_mode &= 07777;
        return r;
    }
    if (strcmp(key, "uid") == 0)
        return parse_owner(value, uid_to_kernel, &s->root_uid);
    if (strcmp(key, "gid") == 0)
        return parse_owner(value, gid_to_kernel, &s->root_gid);
    r = parse_size(value, &n);
    if (strcmp(key, "size") == 0)
        return r < 0 ? r : set_pages(s, n);
    if (strcmp(key, "nr_blocks") == 0)
        return r < 0 || n > UINT64_MAX / TMPFS_PAGE ? -EINVAL : set_pages(s, n * TMPFS_PAGE);
    if (strcmp(key, "nr_inodes") == 0) {
        s->max_inodes = n;
        return r;
    }
    /* Accepted without effect, as a kernel without swap or NUMA would. */
    if (strcmp(key, "huge") == 0 || strcmp(key, "mpol") == 0)
        return 0;
    return -EINVAL;
}

static int parse_options(struct tmpfs *s, const char *options)
{
    CLEANUP(free_ptr) char *copy = options ? strdup(options) : NULL;
    char *save = NULL, *o;

    if (options && !copy)
        return -ENOMEM;
    for (o = copy ? strtok_r(copy, ",", &save) : NULL; o; o = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(o, '=');
        int r;

        if (!eq) {
            if (strcmp(o, "inode32") != 0 && strcmp(o, "inode64") != 0 && strcmp(o, "noswap") != 0)
                return -EINVAL;
            continue;
        }
        *eq = '\0';
        r = parse_one(s, o, eq + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

static int tmpfs_statfs(struct super *s, struct dentry *d, struct statfs *ret)
{
    const struct tmpfs *fs = s->private;
    uint64_t used = fs->used_pages, inodes = fs->used_inodes;

    (void)d;
    ret->f_type = (__fsword_t)s->type->magic;
    ret->f_bsize = ret->f_frsize = TMPFS_PAGE;
    ret->f_blocks = fs->max_pages;
    ret->f_bfree = ret->f_bavail = fs->max_pages > used ? fs->max_pages - used : 0;
    ret->f_files = fs->max_inodes;
    ret->f_ffree = fs->max_inodes > inodes ? fs->max_inodes - inodes : 0;
    ret->f_namelen = NAME_MAX;
    return 0;
}

static int tmpfs_remount(struct super *s, unsigned flags, const char *options)
{
    struct tmpfs *fs = s->private, n = *fs;
    int r = parse_options(&n, options);

    if (r < 0)
        return r;
    if ((n.max_pages && n.max_pages < fs->used_pages) ||
        (n.max_inodes && n.max_inodes < fs->used_inodes))
        return -EINVAL;
    fs->max_pages = n.max_pages;
    fs->max_inodes = n.max_inodes;
    fs->default_size = n.default_size;
    if (!n.default_size && !(s->flags & SUPER_SIZED)) {
        s->flags |= SUPER_SIZED;
        lend_recall(NULL);
    }
    s->flags = (s->flags & ~(unsigned)SUPER_RDONLY) | (flags & SUPER_RDONLY);
    return 0;
}

static void tmpfs_show_options(struct super *s, struct buf *out)
{
    const struct tmpfs *fs = s->private;

    if (!fs->default_size)
        (void)buf_printf(out, ",size=%lluk", (unsigned long long)fs->max_pages * 4);
    if (fs->root_mode != 01777)
        (void)buf_printf(out, ",mode=%03o", fs->root_mode);
    if (fs->root_uid)
        (void)buf_printf(out, ",uid=%u", fs->root_uid);
    if (fs->root_gid)
        (void)buf_printf(out, ",gid=%u", fs->root_gid);
}

static void tmpfs_put_super(struct super *s)
{
    gofer_put(((struct tmpfs *)s->private)->gofer);
    free(s->private);
}

static const struct super_ops tmpfs_super_ops = {
    .statfs = tmpfs_statfs,
    .remount = tmpfs_remount,
    .show_options = tmpfs_show_options,
    .put = tmpfs_put_super,
};

static int mount_tmpfs(struct task *t, const struct fs_type *type, const struct mount_args *args,
                       struct super **ret);

const struct fs_type tmpfs_fs_type = {
    .name = "tmpfs", .magic = 0x01021994, .no_dev = true, .userns = true, .mount = mount_tmpfs};

int tmpfs_super_new(const char *options, uint64_t max_bytes, struct super **ret)
{
    const struct task *t = current_task();
    struct tmpfs *fs = calloc(1, sizeof(*fs));
    struct inode_new what = {.mode = S_IFDIR};
    struct inode *root;
    struct super *s;
    int r;

    if (!fs)
        return -ENOMEM;
    fs->max_pages = (max_bytes ? max_bytes : g_default_bytes) / TMPFS_PAGE;
    fs->max_inodes = MAX(fs->max_pages * DEFAULT_INODES_PER_PAGE, (uint64_t)MIN_INODES);
    fs->default_size = true;
    fs->root_mode = 01777;
    fs->root_uid = t ? t->cred->fsuid : 0;
    fs->root_gid = t ? t->cred->fsgid : 0;
    r = parse_options(fs, options);
    s = r < 0 ? NULL : super_new(&tmpfs_fs_type, &tmpfs_super_ops, fs);
    if (!s) {
        free(fs);
        return r < 0 ? r : -ENOMEM;
    }
    s->flags |= SUPER_ACL | SUPER_SMALL_IN_HEAP;
    if (max_bytes || !fs->default_size)
        s->flags |= SUPER_SIZED;
    what.mode |= fs->root_mode;
    what.uid = fs->root_uid;
    what.gid = fs->root_gid;
    r = tmpfs_inode_new(s, &what, &root);
    if (r == 0)
        s->root = dentry_new_root(s, root);
    if (!s->root) {
        super_put(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

static int mount_tmpfs(struct task *t, const struct fs_type *type, const struct mount_args *args,
                       struct super **ret)
{
    int r = tmpfs_super_new(args->options, 0, ret);

    (void)t;
    (void)type;
    if (r == 0 && (args->flags & MS_RDONLY))
        (*ret)->flags |= SUPER_RDONLY;
    return r;
}
