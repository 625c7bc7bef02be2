#include "runtime/oci/mounts.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* File systems that the sentry has by itself: by type, and /dev by its place. */
static const struct {
    const char *type, *sentry;
} own_types[] = {
    {"proc", "proc"},     {"sysfs", "sysfs"},   {"tmpfs", "tmpfs"},    {"devpts", "devpts"},
    {"mqueue", "mqueue"}, {"cgroup", "cgroup"}, {"cgroup2", "cgroup"}, {"dev", "dev"},
};

static int open_tree_clone(const char *path, bool recursive)
{
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path,
                          OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));

    return fd < 0 ? -errno : fd;
}

static int set_attributes(int fd, uint64_t attr, uint64_t propagation)
{
    struct mount_attr a = {.attr_set = attr, .propagation = propagation};

    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &a, sizeof(a)) < 0)
        return -errno;
    return 0;
}

static struct mount_tree *add_tree(struct mount_set *set, int fd)
{
    struct mount_tree *bigger = realloc(set->trees, (set->n_trees + 1) * sizeof(*set->trees));

    if (!bigger)
        return NULL;
    set->trees = bigger;
    set->trees[set->n_trees] = (struct mount_tree){.fd = fd};
    return &set->trees[set->n_trees++];
}

/* What the disk can take, as long as the pod says nothing smaller: it may fill up earlier, by
 * others.
 */
static uint64_t space_left(const char *path)
{
    struct statvfs st;

    return statvfs(path, &st) < 0 ? 0 : (uint64_t)st.f_bavail * st.f_frsize;
}

/* "512Mi", "2G", "1000000": 0 or -EINVAL. */
static int parse_quantity(const char *text, uint64_t *ret)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {{"", 1},
                 {"k", 1000},
                 {"M", 1000000},
                 {"G", 1000000000},
                 {"Ki", 1ULL << 10},
                 {"Mi", 1ULL << 20},
                 {"Gi", 1ULL << 30},
                 {"Ti", 1ULL << 40}};
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    for (size_t i = 0; i < ARRAY_SIZE(units) && end != text && *text != '-'; i++)
        if (strcmp(end, units[i].suffix) == 0 && n && n <= UINT64_MAX / units[i].factor) {
            *ret = n * units[i].factor;
            return 0;
        }
    return -EINVAL;
}

static int read_root_size(struct mount_set *set, const struct oci_spec *spec, struct error *err)
{
    const char *text = oci_annotation(spec, "dev.berm.rootfs.size");

    if (text && parse_quantity(text, &set->upper_limit) < 0)
        return error_set(err, -EINVAL,
                         "config.json: annotations[\"dev.berm.rootfs.size\"]: '%.40s' is no size",
                         text);
    return 0;
}

static int add_root(struct mount_set *set, const struct oci_spec *spec, const char *rootfs,
                    const char *id, const struct runtime_config *config, struct error *err)
{
    int fd = open_tree_clone(rootfs, !set->host_root), r;
    struct mount_tree *t;

    if (fd < 0)
        return error_errno(err, fd, "config.json: root.path: open '%s'", rootfs);
    t = add_tree(set, fd);
    if (!t) {
        (void)close(fd);
        return error_errno(err, -ENOMEM, "open the root file system");
    }
    set->overlay = (config->rootfs_overlay || set->host_root) && !spec->root.readonly;
    t->directory = true;
    t->readonly = spec->root.readonly || set->overlay;
    r = set_attributes(fd, (t->readonly ? MOUNT_ATTR_RDONLY : 0) | MOUNT_ATTR_NODEV, MS_PRIVATE);
    if (r < 0)
        return error_errno(err, r, "set attributes of the root file system's mount");
    if (!set->overlay || set->host_root || access(rootfs, W_OK) < 0)
        return 0;
    /* Not the tree above: it is read-only, and this one must not lead to anything but its own file
     * system. */
    set->scratch = open_tree_clone(rootfs, false);
    if (set->scratch < 0)
        return error_errno(err, set->scratch, "open the root file system for scratch files");
    /* Not noexec: guests map what they wrote as programs. */
    (void)set_attributes(set->scratch, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, MS_PRIVATE);
    if (!set->upper_limit)
        set->upper_limit = space_left(rootfs);
    (void)snprintf(set->hidden, sizeof(set->hidden), ".berm-scratch-%s", id);
    return 0;
}

static bool is_bind(const struct oci_mount *m)
{
    return (m->type && strcmp(m->type, "bind") == 0) || oci_mount_has(m, "bind") ||
           oci_mount_has(m, "rbind");
}

static bool receives_mounts(const struct oci_mount *m)
{
    static const char *const options[] = {"slave", "rslave", "shared", "rshared"};

    /* Shared would let the container's mounts out; it has none on the host, so slave says it all.
     */
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (oci_mount_has(m, options[i]))
            return true;
    return false;
}

static json_t *options_of(const struct oci_mount *m)
{
    json_t *options = json_array();

    for (unsigned i = 0; i < m->options.count; i++)
        (void)json_array_append_new(options, json_string(m->options.items[i]));
    return options;
}

static int check_idmap(const struct oci_mount *m, unsigned index, struct error *err)
{
    if (oci_mount_has(m, "idmap") || oci_mount_has(m, "ridmap"))
        return error_set(err, -EOPNOTSUPP,
                         "config.json: mounts[%u].options: idmapped mounts are not supported",
                         index);
    return 0;
}

static int add_bind(struct mount_set *set, const struct oci_mount *m, unsigned index,
                    const char *bundle, const struct runtime_config *config, struct error *err)
{
    char source[PATH_MAX];
    struct mount_tree *t;
    struct stat st;
    uint64_t attr = MOUNT_ATTR_NODEV;
    int fd, r;

    if (snprintf(source, sizeof(source), "%s%s%s", *m->source == '/' ? "" : bundle,
                 *m->source == '/' ? "" : "/", m->source) >= (int)sizeof(source))
        return error_set(err, -ENAMETOOLONG, "config.json: mounts[%u].source: too long", index);
    fd = open_tree_clone(source, oci_mount_has(m, "rbind"));
    if (fd < 0)
        return error_errno(err, fd, "config.json: mounts[%u].source: open '%s'", index, source);
    t = set->n_trees < MOUNT_TREES_MAX ? add_tree(set, fd) : NULL;
    if (!t || fstat(fd, &st) < 0) {
        r = t ? -errno : -E2BIG;
        if (!t)
            (void)close(fd);
        return error_errno(err, r, "config.json: mounts[%u]", index);
    }
    t->readonly = oci_mount_has(m, "ro") || oci_mount_has(m, "rro");
    t->directory = S_ISDIR(st.st_mode);
    t->slave = receives_mounts(m);
    t->connect = config->host_unix_sockets;
    attr |= t->readonly ? MOUNT_ATTR_RDONLY : 0;
    attr |= oci_mount_has(m, "nosuid") ? MOUNT_ATTR_NOSUID : 0;
    attr |= oci_mount_has(m, "noexec") ? MOUNT_ATTR_NOEXEC : 0;
    r = set_attributes(fd, attr, t->slave ? MS_SLAVE : MS_PRIVATE);
    if (r < 0)
        return error_errno(err, r, "config.json: mounts[%u]: set attributes of '%s'", index,
                           source);
    if (json_array_append_new(set->list,
                              json_pack("{s:s,s:s,s:i,s:b,s:b,s:b,s:o}", "destination",
                                        m->destination, "type", "bind", "gofer",
                                        (int)set->n_trees - 1, "readonly", t->readonly, "exclusive",
                                        0, "file", !t->directory, "options", options_of(m))) < 0)
        return error_errno(err, -ENOMEM, "list mounts");
    return 0;
}

static int add_own(struct mount_set *set, const struct oci_mount *m, unsigned index,
                   struct error *err)
{
    const char *type = NULL;
    json_t *options, *entry;

    for (size_t i = 0; i < ARRAY_SIZE(own_types) && m->type; i++)
        if (strcmp(own_types[i].type, m->type) == 0)
            type = own_types[i].sentry;
    if (!type)
        return error_set(err, -ENODEV, "config.json: mounts[%u].type: '%.32s' is not supported",
                         index, m->type ? m->type : "");
    if (strcmp(m->destination, "/dev") == 0 && strcmp(type, "tmpfs") == 0)
        type = "dev";
    options = options_of(m);
    entry = json_pack("{s:s,s:s,s:o,s:s*}", "destination", m->destination, "type", type, "options",
                      options, "source", m->source);
    return json_array_append_new(set->list, entry) < 0 ? error_errno(err, -ENOMEM, "list mounts")
                                                       : 0;
}

int mount_set_open(struct mount_set *set, const struct oci_spec *spec, const char *bundle,
                   const char *rootfs, const char *id, const struct runtime_config *config,
                   struct error *err)
{
    int r = read_root_size(set, spec, err);

    if (r == 0)
        r = add_root(set, spec, rootfs, id, config, err);

    set->list = json_array();
    for (unsigned i = 0; i < spec->mounts.count && r == 0; i++) {
        const struct oci_mount *m = (const struct oci_mount *)spec->mounts.items + i;

        r = check_idmap(m, i, err);
        if (r == 0)
            r = is_bind(m) ? add_bind(set, m, i, bundle, config, err) : add_own(set, m, i, err);
    }
    if (r < 0)
        mount_set_close(set);
    return r;
}

void mount_set_close(struct mount_set *set)
{
    for (unsigned i = 0; i < set->n_trees; i++)
        close_fd(&set->trees[i].fd);
    free(set->trees);
    set->trees = NULL;
    set->n_trees = 0;
    close_fd(&set->scratch);
    json_decref(set->list);
    set->list = NULL;
}
