/* Taking everything back: the only place where enforcement is removed on purpose. */
#include "agent/enforce/enforce.h"

#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "common/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void empty_dir(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (!dir) {
        close_fd(&fd);
        return;
    }
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void detach_filters(int ifindex)
{
    static const enum bpf_tc_attach_point points[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};

    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        for (uint32_t priority = 1; priority <= 2; priority++) {
            struct bpf_tc_hook hook;
            struct bpf_tc_opts opts;

            memset(&hook, 0, sizeof(hook)); /* libbpf looks at the padding, too */
            memset(&opts, 0, sizeof(opts));
            hook.sz = sizeof(hook);
            hook.ifindex = ifindex;
            hook.attach_point = points[i];
            opts.sz = sizeof(opts);
            opts.handle = CLSACT_HANDLE;
            opts.priority = priority;
            (void)bpf_tc_detach(&hook, &opts);
        }
    }
}

/* Filters of clsact are held by nobody's pin: the map of devices says where they are. */
static void remove_filters(const char *version_dir)
{
    char path[320];
    CLEANUP(close_fd) int map = -1;
    uint32_t key, *from = NULL, next;

    (void)snprintf(path, sizeof(path), "%s/maps/p_ifaces", version_dir);
    map = bpf_obj_get(path);
    while (map >= 0 && bpf_map_get_next_key(map, from, &next) == 0) {
        key = next;
        from = &key;
        detach_filters((int)key);
    }
}

int enforce_uninstall(const char *pin_dir, struct error *err)
{
    const char *root = pin_dir ? pin_dir : ENFORCE_PIN_DIR;
    CLEANUP(close_fd) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_dir) DIR *dir = NULL;
    CLEANUP(close_fd) int lock = -1;
    struct dirent *entry;

    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "open %s", root);
    lock = lock_take(root, err);
    if (lock < 0)
        return lock;
    nft_uninstall(root);
    dir = opendir(root);
    while (dir && (entry = readdir(dir))) {
        char path[288];
        int version;

        if (entry->d_name[0] != 'v')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", root, entry->d_name);
        remove_filters(path);
        version = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (version < 0)
            continue;
        empty_dir(version, "links");
        empty_dir(version, "maps");
        (void)close(version);
        (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
    }
    if (rmdir(root) < 0)
        return error_errno(err, -errno, "remove %s", root);
    return 0;
}
