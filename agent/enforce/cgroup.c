/*
 * Guard and policy engine on a pod's cgroup (v2): links that are pinned beside those of its
 * devices, and storage that tells the programs whose cgroup it is. Loaded when the first pod asks
 * for it. The two engines share no program, map or link here either.
 *
 * A link that somebody detached is made again on the descriptor that is kept; a removed cgroup
 * takes its links with it.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "cgroup_guard.skel.h"
#include "cgroup_policy.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The first link makes the storage, which tells the guard to deny all until it is filled: so the
 * first is one that ordinary sockets don't feel. */
static const struct {
    enum berm_engine engine;
    const char *program, *pin;
    enum bpf_attach_type type;
} cgroup_hooks[CGROUP_HOOK_MAX] = {
    {BERM_ENGINE_GUARD, "cguard_sock_create", "guard-sock-create", BPF_CGROUP_INET_SOCK_CREATE},
    {BERM_ENGINE_GUARD, "cguard_egress", "guard-egress", BPF_CGROUP_INET_EGRESS},
    {BERM_ENGINE_GUARD, "cguard_ingress", "guard-ingress", BPF_CGROUP_INET_INGRESS},
    {BERM_ENGINE_GUARD, "cguard_connect4", "guard-connect4", BPF_CGROUP_INET4_CONNECT},
    {BERM_ENGINE_GUARD, "cguard_connect6", "guard-connect6", BPF_CGROUP_INET6_CONNECT},
    {BERM_ENGINE_GUARD, "cguard_sendmsg4", "guard-sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {BERM_ENGINE_GUARD, "cguard_sendmsg6", "guard-sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    {BERM_ENGINE_POLICY, "cpolicy_egress", "policy-egress", BPF_CGROUP_INET_EGRESS},
    {BERM_ENGINE_POLICY, "cpolicy_ingress", "policy-ingress", BPF_CGROUP_INET_INGRESS},
    {BERM_ENGINE_POLICY, "cpolicy_connect4", "policy-connect4", BPF_CGROUP_INET4_CONNECT},
    {BERM_ENGINE_POLICY, "cpolicy_connect6", "policy-connect6", BPF_CGROUP_INET6_CONNECT},
};

static int share_maps(struct enforce *e, struct bpf_object *object, struct bpf_map *storage,
                      struct error *err)
{
    int r = load_share_maps(e, object, err);
    char path[256];

    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "%s/maps/%s", e->dir, bpf_map__name(storage));
    r = bpf_map__set_pin_path(storage, path);
    return r < 0 ? error_errno(err, r, "map %s", bpf_map__name(storage)) : 0;
}

static int program(const struct enforce *e, int hook)
{
    const struct bpf_object *object = cgroup_hooks[hook].engine == BERM_ENGINE_GUARD
                                          ? e->cgroup_guard->obj
                                          : e->cgroup_policy->obj;

    return bpf_program__fd(bpf_object__find_program_by_name(object, cgroup_hooks[hook].program));
}

static int remember_programs(struct enforce *e, struct error *err)
{
    for (int hook = 0; hook < CGROUP_HOOK_MAX; hook++) {
        int r = sys_prog_id(program(e, hook), &e->cgroup_prog_ids[hook]);

        if (r < 0)
            return error_errno(err, r, "program %s", cgroup_hooks[hook].program);
        watch_program(e, e->cgroup_prog_ids[hook], hook == 0);
    }
    watch_storage(e, BERM_ENGINE_GUARD, bpf_map__fd(e->cgroup_guard->maps.g_cgroups));
    watch_storage(e, BERM_ENGINE_POLICY, bpf_map__fd(e->cgroup_policy->maps.p_cgroups));
    return 0;
}

static int load_both(struct enforce *e, struct error *err)
{
    int r;

    e->cgroup_guard = cgroup_guard_bpf__open();
    e->cgroup_policy = cgroup_policy_bpf__open();
    if (!e->cgroup_guard || !e->cgroup_policy)
        return error_set(err, -ENOMEM, "open BPF objects");
    r = share_maps(e, e->cgroup_guard->obj, e->cgroup_guard->maps.g_cgroups, err);
    if (r == 0)
        r = share_maps(e, e->cgroup_policy->obj, e->cgroup_policy->maps.p_cgroups, err);
    if (r < 0)
        return r;
    r = cgroup_guard_bpf__load(e->cgroup_guard);
    if (r < 0)
        return error_errno(err, r, "load the guard's programs for cgroups");
    r = cgroup_policy_bpf__load(e->cgroup_policy);
    return r < 0 ? error_errno(err, r, "load the policy engine's programs for cgroups")
                 : remember_programs(e, err);
}

static int load(struct enforce *e, struct error *err)
{
    int r = e->cgroup_policy ? 0 : load_both(e, err);

    if (r < 0)
        cgroup_close(e);
    return r;
}

void cgroup_close(struct enforce *e)
{
    if (e->cgroup_guard)
        cgroup_guard_bpf__destroy(e->cgroup_guard);
    if (e->cgroup_policy)
        cgroup_policy_bpf__destroy(e->cgroup_policy);
    e->cgroup_guard = NULL;
    e->cgroup_policy = NULL;
}

static void pin_path(const struct enforce *e, const struct pod *pod, int hook, char *path,
                     size_t size)
{
    (void)snprintf(path, size, "%s/links/%u-cgroup-%s", e->dir, pod->slot, cgroup_hooks[hook].pin);
}

/* Takes fd as the hook's link. */
static int hook_set(struct pod *pod, int hook, int fd)
{
    struct sys_cgroup_link info;
    int r = sys_cgroup_link(fd, &info);

    if (r < 0)
        return r;
    close_fd(&pod->cgroup_links[hook]);
    pod->cgroup_links[hook] = fd;
    pod->cgroup_ids[hook] = info.id;
    return 0;
}

static int hook_create(struct enforce *e, struct pod *pod, int hook, struct error *err)
{
    char path[320];
    int r, fd = bpf_link_create(program(e, hook), pod->cgroup_fd, cgroup_hooks[hook].type, NULL);

    if (fd < 0)
        return error_errno(err, fd, "attach %s to the pod's cgroup", cgroup_hooks[hook].program);
    pin_path(e, pod, hook, path, sizeof(path));
    r = sys_pin_replace(fd, path);
    if (r == 0)
        r = hook_set(pod, hook, fd);
    if (r < 0) {
        (void)close(fd);
        return error_errno(err, r, "pin %s", path);
    }
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
        bpf_link_update(fd, program(e, hook), NULL) == 0 && hook_set(pod, hook, fd) == 0)
        return true;
    (void)close(fd);
    return false;
}

/* What the programs shall know of the pod. */
struct storage {
    struct berm_cgroup guard;
    struct berm_cgroup_rules policy;
};

static void fill_storage(const struct pod *pod, struct storage *ret)
{
    const struct berm_record *record = &pod->record;

    memset(ret, 0, sizeof(*ret));
    ret->guard.exceptions = record->exceptions;
    ret->guard.slot = ret->policy.pod.slot = pod->slot;
    ret->guard.known = BERM_CGROUP_POD;
    ret->policy.known = !record->host_network; /* policy is not for such pods */
    ret->guard.sandboxed = ret->policy.pod.sandboxed = (uint8_t)record->sandboxed;
    ret->guard.net_raw = (uint8_t)record->net_raw;
    ret->policy.pod.audit = pod_watched(pod);
    ret->policy.pod.n_addrs = record->n_addrs;
    memcpy(ret->policy.pod.addrs, record->addrs, sizeof(record->addrs));
}

uint64_t cgroup_digest(const struct pod *pod)
{
    struct storage s;

    fill_storage(pod, &s);
    return berm_digest(BERM_ENGINE_GUARD, &s.guard, sizeof(s.guard)) +
           berm_digest(BERM_ENGINE_POLICY, &s.policy, sizeof(s.policy));
}

static int write_storage(struct enforce *e, const struct pod *pod, enum berm_engine engine,
                         struct error *err)
{
    bool guard = engine == BERM_ENGINE_GUARD;
    const struct bpf_map *map =
        guard ? e->cgroup_guard->maps.g_cgroups : e->cgroup_policy->maps.p_cgroups;
    struct storage s;

    fill_storage(pod, &s);
    if (bpf_map_update_elem(bpf_map__fd(map), &pod->record.cgroup_id,
                            guard ? (void *)&s.guard : &s.policy, BPF_ANY) < 0)
        return error_errno(err, -errno, "write the storage of the pod's cgroup");
    return 0;
}

int cgroup_write(struct enforce *e, struct pod *pod, struct error *err)
{
    int r;

    if (!e->cgroup_policy || !pod->record.cgroup_id)
        return 0;
    r = write_storage(e, pod, BERM_ENGINE_GUARD, err);
    return r < 0 ? r : write_storage(e, pod, BERM_ENGINE_POLICY, err);
}

/* 1: was not as written. */
static int verify_storage(struct enforce *e, struct pod *pod, struct error *err)
{
    struct storage want, now = {0};
    int r;

    fill_storage(pod, &want);
    if (bpf_map_lookup_elem(bpf_map__fd(e->cgroup_guard->maps.g_cgroups), &pod->record.cgroup_id,
                            &now.guard) == 0 &&
        bpf_map_lookup_elem(bpf_map__fd(e->cgroup_policy->maps.p_cgroups), &pod->record.cgroup_id,
                            &now.policy) == 0 &&
        !memcmp(&want.guard, &now.guard, sizeof(now.guard)) &&
        !memcmp(&want.policy, &now.policy, sizeof(now.policy)))
        return 0;
    r = cgroup_write(e, pod, err);
    if (r < 0)
        return r;
    incident(e, ENFORCE_MAP_CHANGED, NULL, "pod %s: the storage of its cgroup was not as written",
             pod->record.uid);
    return 1;
}

static int attach(struct enforce *e, struct pod *pod, struct error *err)
{
    int r = 0;

    for (int hook = 0; r == 0 && hook < CGROUP_HOOK_MAX; hook++) {
        if (pod->cgroup_links[hook] < 0 && !hook_adopt(e, pod, hook))
            r = hook_create(e, pod, hook, err);
        if (r == 0 && hook == 0)
            r = write_storage(e, pod, BERM_ENGINE_GUARD, err);
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

/* The parent's guard speaks for the pod again. */
static int forget(struct enforce *e, struct pod *pod, struct error *err)
{
    int r;

    cgroup_remove(e, pod);
    r = pod_save(e, pod, err);
    return r < 0 ? r : sources_write(e, pod, err);
}

/* The path of an open folder. */
static void keep_path(struct pod *pod)
{
    char name[64], path[PATH_MAX];
    ssize_t n;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", pod->cgroup_fd);
    n = readlink(name, path, sizeof(path) - 1);
    if (n <= 0)
        return;
    path[n] = '\0';
    free(pod->cgroup_path);
    pod->cgroup_path = strdup(path);
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
    keep_path(pod);
    r = pod_save(e, pod, err);
    if (r == 0)
        r = sources_write(e, pod, err); /* its own cgroup is armed: the parent's is silent */
    if (r == 0)
        r = attach(e, pod, err);
    if (r < 0) {
        (void)error_wrap(err, "arm the cgroup of pod %s", uid);
        (void)forget(e, pod, NULL);
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
    pod->cgroup_fd = sys_cgroup_open(pod->record.cgroup_id);
    if (pod->cgroup_fd >= 0)
        keep_path(pod);
    else if (!found) { /* the cgroup is gone */
        return forget(e, pod, err);
    }
    return cgroup_write(e, pod, err);
}

/* Removed: its links stand for as long as sockets from before are open, so they don't tell. */
static bool is_gone(const struct pod *pod)
{
    return pod->cgroup_fd >= 0 && faccessat(pod->cgroup_fd, "cgroup.events", F_OK, 0) < 0;
}

/* Its cgroup is gone. If there is one in its place, that is bound: 1. */
static int replace(struct enforce *e, struct pod *pod, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    int r = 0;

    if (pod->record.cgroup_id)
        r = forget(e, pod, err);
    if (r < 0 || !pod->cgroup_path)
        return r;
    fd = open(pod->cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    r = enforce_arm_cgroup(e, pod->record.uid, fd, pod->record.net_raw, err);
    if (r < 0)
        return r;
    incident(e, ENFORCE_CGROUP_NEW, NULL, "pod %s: its cgroup %s was made anew", pod->record.uid,
             pod->cgroup_path);
    return 1;
}

/* One link against the kernel: 0, 1 repaired, -ENOENT the cgroup is gone. */
static int hook_verify(struct enforce *e, struct pod *pod, int hook, struct error *err)
{
    struct sys_cgroup_link info = {0};

    if (pod->cgroup_links[hook] >= 0 && sys_cgroup_link(pod->cgroup_links[hook], &info) == 0 &&
        info.cgroup_id) {
        if (info.prog_id == e->cgroup_prog_ids[hook])
            return 0;
        if (bpf_link_update(pod->cgroup_links[hook], program(e, hook), NULL) < 0)
            return error_errno(err, -errno, "put %s back", cgroup_hooks[hook].program);
        incident(e, ENFORCE_LINK_LOST, NULL, "pod %s: a foreign program %u was in the link of %s",
                 pod->record.uid, (unsigned)info.prog_id, cgroup_hooks[hook].program);
        return 1;
    }
    if (pod->cgroup_fd < 0 || hook_create(e, pod, hook, NULL) < 0)
        return -ENOENT;
    incident(e, ENFORCE_LINK_LOST, NULL, "pod %s: %s was detached from its cgroup", pod->record.uid,
             cgroup_hooks[hook].program);
    return 1;
}

static int pin_verify(struct enforce *e, const struct pod *pod, int hook, struct error *err)
{
    char path[320];
    int r;

    pin_path(e, pod, hook, path, sizeof(path));
    if (access(path, F_OK) == 0)
        return 0;
    r = sys_pin_replace(pod->cgroup_links[hook], path);
    if (r < 0)
        return error_errno(err, r, "pin %s", path);
    incident(e, ENFORCE_PIN_LOST, NULL, "%s was removed", path);
    return 1;
}

int cgroup_verify(struct enforce *e, struct pod *pod, const struct look *look, struct error *err)
{
    int repaired = 0, r;

    if (!pod->record.cgroup_id || (!look->links && is_gone(pod)))
        return replace(e, pod, err);
    for (int hook = 0; hook < CGROUP_HOOK_MAX; hook++) {
        r = look->links ? 0 : hook_verify(e, pod, hook, err);
        if (r == -ENOENT)
            return replace(e, pod, err);
        if (r == 0 && look->pins)
            r = pin_verify(e, pod, hook, err);
        if (r < 0)
            return r;
        repaired += r;
    }
    r = look->links ? 0 : verify_storage(e, pod, err);
    if (r == -ENOENT) /* it went since the links were looked at, or before the watch says so */
        return replace(e, pod, err);
    return r < 0 ? r : repaired + r;
}
