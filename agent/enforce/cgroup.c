/*
 * The guard on a pod's cgroup (v2): links that are pinned beside those of its devices, and the
 * storage that tells the programs whose cgroup it is. Loaded when the first pod asks for it.
 *
 * A link that somebody detached is made again on the descriptor that is kept; a removed cgroup
 * takes its links with it.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "cgroup_guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *program, *pin;
    enum bpf_attach_type type;
} cgroup_hooks[CGROUP_HOOK_MAX] = {
    {"cguard_egress", "egress", BPF_CGROUP_INET_EGRESS},
    {"cguard_ingress", "ingress", BPF_CGROUP_INET_INGRESS},
    {"cguard_connect4", "connect4", BPF_CGROUP_INET4_CONNECT},
    {"cguard_connect6", "connect6", BPF_CGROUP_INET6_CONNECT},
    {"cguard_sendmsg4", "sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {"cguard_sendmsg6", "sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    {"cguard_sock_create", "sock-create", BPF_CGROUP_INET_SOCK_CREATE},
};

static int load(struct enforce *e, struct error *err)
{
    struct bpf_map *map;
    char path[256];
    int r;

    if (e->cgroup_guard)
        return 0;
    e->cgroup_guard = cgroup_guard_bpf__open();
    if (!e->cgroup_guard)
        return error_set(err, -ENOMEM, "open BPF objects");
    bpf_object__for_each_map(map, e->cgroup_guard->obj)
    {
        r = 0;
        for (int i = 0; i < MAP_MAX; i++) {
            if (!strcmp(bpf_map__name(map), load_map_name(i)))
                r = bpf_map__reuse_fd(map, e->maps[i]);
        }
        if (r < 0)
            return error_errno(err, r, "map %s", bpf_map__name(map));
    }
    (void)snprintf(path, sizeof(path), "%s/maps/g_cgroups", e->dir);
    r = bpf_map__set_pin_path(e->cgroup_guard->maps.g_cgroups, path);
    if (r == 0)
        r = cgroup_guard_bpf__load(e->cgroup_guard);
    if (r < 0) {
        cgroup_guard_bpf__destroy(e->cgroup_guard);
        e->cgroup_guard = NULL;
        return error_errno(err, r, "load the guard's programs for cgroups");
    }
    return 0;
}

void cgroup_close(struct enforce *e)
{
    if (e->cgroup_guard)
        cgroup_guard_bpf__destroy(e->cgroup_guard);
    e->cgroup_guard = NULL;
}

static void pin_path(const struct enforce *e, const struct pod *pod, int hook, char *path,
                     size_t size)
{
    (void)snprintf(path, size, "%s/links/%u-cgroup-guard-%s", e->dir, pod->slot,
                   cgroup_hooks[hook].pin);
}

static int program(const struct enforce *e, int hook)
{
    return bpf_program__fd(
        bpf_object__find_program_by_name(e->cgroup_guard->obj, cgroup_hooks[hook].program));
}

static int hook_create(struct enforce *e, struct pod *pod, int hook, struct error *err)
{
    char path[320];
    int r, fd = bpf_link_create(program(e, hook), pod->cgroup_fd, cgroup_hooks[hook].type, NULL);

    if (fd < 0)
        return error_errno(err, fd, "attach %s to the pod's cgroup", cgroup_hooks[hook].program);
    pin_path(e, pod, hook, path, sizeof(path));
    r = sys_pin_replace(fd, path);
    if (r < 0) {
        (void)close(fd);
        return error_errno(err, r, "pin %s", path);
    }
    close_fd(&pod->cgroup_links[hook]);
    pod->cgroup_links[hook] = fd;
    return 0;
}

/* A link that an earlier process pinned, if it is on this cgroup still. */
static bool hook_adopt(struct enforce *e, struct pod *pod, int hook)
{
    struct sys_cgroup_link info;
    char path[320];
    int fd;

    pin_path(e, pod, hook, path, sizeof(path));
    fd = bpf_obj_get(path);
    if (fd < 0)
        return false;
    if (sys_cgroup_link(fd, &info) == 0 && info.cgroup_id == pod->record.cgroup_id &&
        bpf_link_update(fd, program(e, hook), NULL) == 0) {
        pod->cgroup_links[hook] = fd;
        return true;
    }
    (void)close(fd);
    return false;
}

int cgroup_write(struct enforce *e, struct pod *pod, struct error *err)
{
    struct berm_cgroup value = {
        .exceptions = pod->record.exceptions,
        .slot = pod->slot,
        .known = 1,
        .sandboxed = (uint8_t)pod->record.sandboxed,
        .net_raw = (uint8_t)pod->record.net_raw,
    };

    if (!e->cgroup_guard || !pod->record.cgroup_id)
        return 0;
    if (bpf_map_update_elem(bpf_map__fd(e->cgroup_guard->maps.g_cgroups), &pod->record.cgroup_id,
                            &value, BPF_ANY) < 0)
        return error_errno(err, -errno, "write the storage of the pod's cgroup");
    return 0;
}

static int attach(struct enforce *e, struct pod *pod, struct error *err)
{
    int r = 0;

    for (int hook = 0; r == 0 && hook < CGROUP_HOOK_MAX; hook++) {
        if (pod->cgroup_links[hook] < 0 && !hook_adopt(e, pod, hook))
            r = hook_create(e, pod, hook, err);
    }
    return r < 0 ? r : cgroup_write(e, pod, err);
}

void cgroup_remove(struct enforce *e, struct pod *pod)
{
    for (int hook = 0; hook < CGROUP_HOOK_MAX; hook++) {
        char path[320];

        pin_path(e, pod, hook, path, sizeof(path));
        (void)unlink(path);
        close_fd(&pod->cgroup_links[hook]);
    }
    close_fd(&pod->cgroup_fd);
    pod->record.cgroup_id = 0;
}

int enforce_arm_cgroup(struct enforce *e, const char *uid, int cgroup_fd, bool net_raw,
                       struct error *err)
{
    struct pod *pod = enforced_pod_find(e, uid);
    struct stat st;
    int r;

    if (!pod)
        return error_set(err, -ENOENT, "pod %s is not armed", uid);
    if (fstat(cgroup_fd, &st) < 0)
        return error_errno(err, -errno, "look at the cgroup of pod %s", uid);
    r = load(e, err);
    if (r < 0)
        return r;
    if (pod->record.cgroup_id != st.st_ino) /* another cgroup than before, or the first */
        cgroup_remove(e, pod);
    pod->record.cgroup_id = st.st_ino;
    pod->record.net_raw = net_raw;
    close_fd(&pod->cgroup_fd);
    pod->cgroup_fd = fcntl(cgroup_fd, F_DUPFD_CLOEXEC, 3);
    r = pod_save(e, pod, err);
    if (r == 0)
        r = attach(e, pod, err);
    if (r < 0) {
        (void)error_wrap(err, "arm the cgroup of pod %s", uid);
        cgroup_remove(e, pod);
        (void)pod_save(e, pod, NULL);
    }
    return r;
}

int cgroup_adopt(struct enforce *e, struct pod *pod, struct error *err)
{
    int r, found = 0;

    if (!pod->record.cgroup_id)
        return 0;
    r = load(e, err);
    if (r < 0)
        return r;
    for (int hook = 0; hook < CGROUP_HOOK_MAX; hook++)
        found += hook_adopt(e, pod, hook);
    if (!found) { /* the cgroup is gone */
        cgroup_remove(e, pod);
        return pod_save(e, pod, err);
    }
    return cgroup_write(e, pod, err);
}

int cgroup_verify(struct enforce *e, struct pod *pod, bool pins, struct error *err)
{
    int repaired = 0;

    for (int hook = 0; pod->record.cgroup_id && hook < CGROUP_HOOK_MAX; hook++) {
        struct sys_cgroup_link info = {0};
        char path[320];
        int r;

        pin_path(e, pod, hook, path, sizeof(path));
        if (pod->cgroup_links[hook] >= 0 && sys_cgroup_link(pod->cgroup_links[hook], &info) == 0 &&
            info.cgroup_id) {
            if (!pins || access(path, F_OK) == 0)
                continue;
            r = sys_pin_replace(pod->cgroup_links[hook], path);
            if (r < 0)
                return error_errno(err, r, "pin %s", path);
            incident(e, ENFORCE_PIN_LOST, NULL, "%s was removed", path);
            repaired++;
            continue;
        }
        if (pod->cgroup_fd < 0 || hook_create(e, pod, hook, NULL) < 0) {
            cgroup_remove(e, pod);
            return pod_save(e, pod, err);
        }
        incident(e, ENFORCE_LINK_LOST, NULL, "pod %s: %s was detached from its cgroup",
                 pod->record.uid, cgroup_hooks[hook].program);
        repaired++;
    }
    if (repaired) {
        int r = cgroup_write(e, pod, err);

        return r < 0 ? r : repaired;
    }
    return 0;
}
