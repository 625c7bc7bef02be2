/* Raw bpf(2): see the header. Layouts are the kernel's (include/uapi/linux/bpf.h, 6.6 and later).
 */
#include "agent/enforce/sys.h"

#include "agent/enforce/enforce.h"
#include "common/cleanup.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

enum { MPROG_BEFORE = 1 << 3, MPROG_AFTER = 1 << 4, MPROG_LINK = 1 << 13 };

struct attr_link_create {
    uint32_t prog_fd, target_ifindex, attach_type, flags;
    uint32_t relative_fd, pad;
    uint64_t expected_revision;
};
struct attr_netfilter_link {
    uint32_t prog_fd, target, attach_type, flags;
    uint32_t family, hook;
    int32_t priority;
    uint32_t netfilter_flags;
};
struct attr_netfilter_info { /* struct bpf_link_info, as far as netfilter */
    uint32_t type, id, prog_id, pad;
    uint32_t family, hook;
    int32_t priority;
    uint32_t flags;
    uint8_t rest[64];
};
struct attr_query {
    uint32_t target_ifindex, attach_type, query_flags, attach_flags;
    uint64_t prog_ids;
    uint32_t count, pad;
    uint64_t prog_attach_flags, link_ids, link_attach_flags, revision;
};
struct attr_link_info { /* struct bpf_link_info, as far as tcx */
    uint32_t type, id, prog_id, pad;
    uint32_t ifindex, attach_type;
    uint8_t rest[64];
};

static int sys_bpf(int cmd, void *attr, size_t size)
{
    long r = syscall(SYS_bpf, cmd, attr, size);

    return r < 0 ? -errno : (int)r;
}

int sys_tcx_link(int prog_fd, int ifindex, int attach_type, int after_link_fd)
{
    struct attr_link_create attr = {
        .prog_fd = (uint32_t)prog_fd,
        .target_ifindex = (uint32_t)ifindex,
        .attach_type = (uint32_t)attach_type,
        .flags = MPROG_BEFORE,
    };

    if (after_link_fd >= 0) {
        attr.flags = MPROG_AFTER | MPROG_LINK;
        attr.relative_fd = (uint32_t)after_link_fd;
    }
    return sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

int sys_netfilter_link(int prog_fd, const struct sys_netfilter *at)
{
    struct attr_netfilter_link attr = {
        .prog_fd = (uint32_t)prog_fd,
        .attach_type = SYS_ATTACH_NETFILTER,
        .family = at->family,
        .hook = at->hook,
        .priority = at->priority,
    };

    return sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

int sys_tcx_chain(int ifindex, int attach_type, struct sys_chain *ret)
{
    struct attr_query attr = {
        .target_ifindex = (uint32_t)ifindex,
        .attach_type = (uint32_t)attach_type,
        .prog_ids = (uintptr_t)ret->prog_ids,
        .link_ids = (uintptr_t)ret->link_ids,
        .count = SYS_CHAIN_MAX,
    };
    int r;

    memset(ret, 0, sizeof(*ret));
    r = sys_bpf(BPF_PROG_QUERY, &attr, sizeof(attr));
    if (r == -ENOENT) /* nobody there */
        return 0;
    if (r < 0)
        return r;
    ret->n = attr.count;
    return 0;
}

bool sys_has_tcx(void)
{
    struct sys_chain chain;
    int r = sys_tcx_chain(1, SYS_TCX_INGRESS, &chain); /* loopback is always there, always 1 */

    return r == 0;
}

int sys_link_info(int link_fd, struct sys_link_info *ret)
{
    struct attr_link_info info = {0};
    uint32_t size = sizeof(info);
    int r = bpf_obj_get_info_by_fd(link_fd, &info, &size);

    if (r < 0)
        return r;
    ret->id = info.id;
    ret->prog_id = info.prog_id;
    ret->ifindex = (int)info.ifindex;
    ret->attach_type = info.attach_type;
    return 0;
}

int sys_cgroup_link(int link_fd, struct sys_cgroup_link *ret)
{
    struct bpf_link_info info = {0};
    uint32_t size = sizeof(info);
    int r = bpf_obj_get_info_by_fd(link_fd, &info, &size);

    if (r < 0)
        return r;
    ret->id = info.id;
    ret->prog_id = info.prog_id;
    ret->cgroup_id = info.cgroup.cgroup_id;
    return 0;
}

int sys_cgroup_open(uint64_t id)
{
    struct error err = ERROR_INIT;
    CLEANUP(close_fd) int root = enforce_cgroup_open("", &err);
    struct {
        struct file_handle head;
        uint64_t id;
    } handle = {.head = {.handle_bytes = sizeof(id), .handle_type = 0xfe /* FILEID_KERNFS */},
                .id = id};
    int fd;

    if (root < 0)
        return root;
    fd = open_by_handle_at(root, &handle.head, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int sys_prog_id(int prog_fd, uint32_t *ret_id)
{
    struct bpf_prog_info info = {0};
    uint32_t size = sizeof(info);
    int r = bpf_obj_get_info_by_fd(prog_fd, &info, &size);

    if (r < 0)
        return r;
    *ret_id = info.id;
    return 0;
}

static bool is_bpffs(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && (uint32_t)fs.f_type == BPF_FS_MAGIC;
}

int sys_bpffs(const char *path)
{
    static const char root[] = "/sys/fs/bpf";
    char parent[256];
    char *slash;

    (void)snprintf(parent, sizeof(parent), "%s", path);
    for (;;) { /* the deepest part that exists says what it will lie on */
        if (access(parent, F_OK) == 0)
            break;
        slash = strrchr(parent, '/');
        if (!slash || slash == parent)
            return -ENOENT;
        *slash = '\0';
    }
    if (is_bpffs(parent))
        return 0;
    if (strncmp(path, root, sizeof(root) - 1) != 0 || strncmp(parent, root, sizeof(root) - 1) != 0)
        return -ENOTSUP;
    return mount("bpf", root, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0 ? -errno
                                                                                        : 0;
}

int sys_pin_replace(int fd, const char *path)
{
    char fresh[320];
    int r;

    (void)snprintf(fresh, sizeof(fresh), "%s+", path); /* a dot is not allowed in bpffs names */
    (void)unlink(fresh);
    r = bpf_obj_pin(fd, fresh);
    if (r < 0)
        return r;
    if (rename(fresh, path) < 0) {
        r = -errno;
        (void)unlink(fresh);
    }
    return r;
}

int sys_run(int prog_fd)
{
    enum { FRAME = 14 };
    char frame[FRAME] = {0};
    struct bpf_test_run_opts opts = {
        .sz = sizeof(opts), .data_in = frame, .data_size_in = sizeof(frame)};

    return bpf_prog_test_run_opts(prog_fd, &opts) < 0 ? -errno : 0;
}
