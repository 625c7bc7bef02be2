/*
 * One device of a pod: its two map entries, then its hooks. The entry is there before the first
 * program runs; a program that finds none drops.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

struct device *device_find(struct pod *pod, int ifindex)
{
    struct device *device;

    list_for_each_entry (device, &pod->devices, siblings) {
        if (device->ifindex == ifindex)
            return device;
    }
    return NULL;
}

void hook_pin_path(const struct enforce *e, const struct device *device, enum hook_kind kind,
                   char *path, size_t size)
{
    static const char *const names[HOOK_MAX] = {"guard-from", "policy-from", "guard-to",
                                                "policy-to"};

    (void)snprintf(path, size, "%s/links/%u-%d-%s", e->dir, device->pod->slot, device->ifindex,
                   names[kind]);
}

int device_write(struct enforce *e, struct device *device, struct error *err)
{
    uint32_t key = (uint32_t)device->ifindex;

    if (bpf_map_update_elem(e->maps[MAP_G_IFACES], &key, &device->guard, BPF_ANY) < 0 ||
        bpf_map_update_elem(e->maps[MAP_P_IFACES], &key, &device->policy, BPF_ANY) < 0)
        return error_errno(err, -errno, "device %s: write to maps", device->name);
    return 0;
}

static struct device *device_new(struct pod *pod, int ifindex, const char *name)
{
    struct device *device = calloc(1, sizeof(*device));

    if (!device)
        return NULL;
    device->pod = pod;
    device->ifindex = ifindex;
    (void)snprintf(device->name, sizeof(device->name), "%s", name);
    for (int i = 0; i < HOOK_MAX; i++)
        device->hooks[i].link_fd = -1;
    list_append(&pod->devices, &device->siblings);
    return device;
}

int device_handover(struct enforce *e, struct device *device, struct error *err)
{
    int r = tcx_ops.attach(e, device, err);

    if (r < 0)
        return r;
    clsact_ops.detach(e, device);
    device->handover = false;
    return 0;
}

/* Programs of others on the device run before any filter, and may redirect past it. */
static bool has_foreign(const struct device *device)
{
    struct sys_chain in, out;

    return sys_tcx_chain(device->ifindex, SYS_TCX_INGRESS, &in) < 0 || in.n > 0 ||
           sys_tcx_chain(device->ifindex, SYS_TCX_EGRESS, &out) < 0 || out.n > 0;
}

/* Links that are pinned are taken over. Where there are none, filters bind the device at once; it
 * gets its links at a sweep. A kernel without clsact waits here. */
static int attach_hooks(struct enforce *e, struct device *device, struct error *err)
{
    struct error ignored = ERROR_INIT;

    if (!e->tcx)
        return clsact_ops.attach(e, device, err);
    if (!device->handover && tcx_adopt(e, device)) {
        clsact_ops.detach(e, device); /* of a process that ended between the two */
        return 0;
    }
    if (has_foreign(device) || clsact_ops.attach(e, device, &ignored) < 0)
        return tcx_ops.attach(e, device, err);
    device->handover = true;
    return 0;
}

/* A link of a device that had this index before binds nothing any more. */
static bool link_holds(const struct device *device, enum hook_kind kind)
{
    struct sys_link_info info;

    return sys_link_info(device->hooks[kind].link_fd, &info) == 0 &&
           info.ifindex == device->ifindex;
}

void device_take(struct enforce *e, struct pod *pod, struct device *device)
{
    char from[HOOK_MAX][320], to[320];

    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++)
        hook_pin_path(e, device, kind, from[kind], sizeof(from[kind]));
    list_remove(&device->siblings);
    list_append(&pod->devices, &device->siblings);
    device->pod = pod;
    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        if (device->hooks[kind].link_fd < 0)
            continue;
        if (!link_holds(device, kind)) {
            (void)unlink(from[kind]);
            close_fd(&device->hooks[kind].link_fd);
            continue;
        }
        hook_pin_path(e, device, kind, to, sizeof(to));
        if (rename(from[kind], to) < 0)
            (void)sys_pin_replace(device->hooks[kind].link_fd, to);
    }
}

int device_attach(struct enforce *e, struct pod *pod, const struct device *wanted,
                  struct error *err)
{
    struct device *device = device_find(pod, wanted->ifindex);
    bool created = !device;
    struct netdev dev;
    int r;

    if (created)
        device = device_new(pod, wanted->ifindex, wanted->name);
    if (!device)
        return error_set(err, -ENOMEM, "out of memory");
    memset(&dev, 0, sizeof(dev));
    if (netdev_host(device->ifindex, &dev, NULL) == 0)
        device->master = dev.master;
    nft_stale(e);
    device->guard = wanted->guard;
    device->policy = wanted->policy;
    r = device_write(e, device, err);
    if (r == 0)
        r = attach_hooks(e, device, err);
    if (r == 0)
        r = MIN(xdp_remove(e, device, &dev, err), 0);
    if (r < 0 && created)
        device_remove(e, device);
    return r;
}

void device_drop(struct device *device)
{
    for (int i = 0; i < HOOK_MAX; i++)
        close_fd(&device->hooks[i].link_fd);
    list_remove(&device->siblings);
    free(device);
}

void device_remove(struct enforce *e, struct device *device)
{
    uint32_t key = (uint32_t)device->ifindex;

    nft_stale(e);
    if (e->tcx)
        tcx_ops.detach(e, device);
    if (!e->tcx || device->handover)
        clsact_ops.detach(e, device);
    (void)bpf_map_delete_elem(e->maps[MAP_G_IFACES], &key);
    (void)bpf_map_delete_elem(e->maps[MAP_P_IFACES], &key);
    device_drop(device);
}

bool device_entries_intact(const struct enforce *e)
{
    struct berm_tally guard = {0}, policy = {0};
    const struct device *device;

    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (!e->slots[i])
            continue;
        list_for_each_entry (device, &e->slots[i]->devices, siblings) {
            uint32_t key = (uint32_t)device->ifindex;

            tally_add(&guard, &key, sizeof(key), &device->guard, sizeof(device->guard));
            tally_add(&policy, &key, sizeof(key), &device->policy, sizeof(device->policy));
        }
    }
    return tally_matches(e, MAP_G_IFACES, sizeof(uint32_t), sizeof(struct berm_iface), &guard) &&
           tally_matches(e, MAP_P_IFACES, sizeof(uint32_t), sizeof(struct berm_iface), &policy);
}

static bool is_ours(const struct enforce *e, const void *key)
{
    uint32_t ifindex = *(const uint32_t *)key;

    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i] && device_find(e->slots[i], (int)ifindex))
            return true;
    }
    return false;
}

int device_remove_foreign(struct enforce *e)
{
    return tally_remove_foreign(e, MAP_G_IFACES, sizeof(uint32_t), is_ours) +
           tally_remove_foreign(e, MAP_P_IFACES, sizeof(uint32_t), is_ours);
}

int device_rewrite(struct enforce *e, struct pod *pod, struct error *err)
{
    struct device *device;

    list_for_each_entry (device, &pod->devices, siblings) {
        int r = device_write(e, device, err);

        if (r < 0)
            return r;
    }
    return 0;
}

static void forget_entry(struct enforce *e, uint32_t ifindex)
{
    (void)bpf_map_delete_elem(e->maps[MAP_G_IFACES], &ifindex);
    (void)bpf_map_delete_elem(e->maps[MAP_P_IFACES], &ifindex);
}

/* Is the device that has this index now the one that the entry was written for? */
static bool still_there(const struct pod *pod, uint32_t ifindex, char name[IF_NAMESIZE])
{
    struct netdev dev;

    if (netdev_host((int)ifindex, &dev, NULL) < 0)
        return false;
    (void)snprintf(name, IF_NAMESIZE, "%s", dev.name);
    return pod->record.nsid < 0 || !dev.has_nsid || dev.nsid == pod->record.nsid;
}

static int adopt_one(struct enforce *e, uint32_t ifindex, struct error *err)
{
    struct device wanted = {.ifindex = (int)ifindex};
    struct pod *pod;

    if (bpf_map_lookup_elem(e->maps[MAP_P_IFACES], &ifindex, &wanted.policy) < 0)
        return 0;
    pod = wanted.policy.slot < BERM_PODS_MAX ? e->slots[wanted.policy.slot] : NULL;
    if (!pod || !still_there(pod, ifindex, wanted.name)) {
        forget_entry(e, ifindex);
        return 0;
    }
    wanted.guard = wanted.policy;
    wanted.guard.audit = 0;
    wanted.policy.audit = pod_watched(pod);
    return device_attach(e, pod, &wanted, err);
}

/* Pins whose device or pod is gone. */
static void remove_dead_pins(struct enforce *e)
{
    char path[320];
    CLEANUP(close_dir) DIR *dir = NULL;
    struct dirent *entry;

    (void)snprintf(path, sizeof(path), "%s/links", e->dir);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        unsigned slot;
        int ifindex, fields = sscanf(entry->d_name, "%u-%d-", &slot, &ifindex);
        const struct pod *pod = fields >= 1 && slot < BERM_PODS_MAX ? e->slots[slot] : NULL;

        if (fields < 1 || (pod && fields == 1 && pod->record.cgroup_id) ||
            (pod && fields == 2 && device_find(e->slots[slot], ifindex)))
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            continue;
    }
}

int device_adopt(struct enforce *e, struct error *err)
{
    CLEANUP(free_ptr) uint32_t *found = calloc(BERM_IFACES_MAX, sizeof(*found));
    uint32_t key, *from = NULL;
    size_t n = 0;

    if (!found)
        return error_set(err, -ENOMEM, "out of memory");
    while (n < BERM_IFACES_MAX && bpf_map_get_next_key(e->maps[MAP_P_IFACES], from, &key) == 0) {
        found[n] = key;
        from = &found[n++];
    }
    for (size_t i = 0; i < n; i++) {
        struct error why = ERROR_INIT;

        /* One device that can't be repaired must not leave all others without an agent: the sweep
         * reports it and goes on trying. */
        if (adopt_one(e, found[i], &why) < 0)
            incident(e, ENFORCE_REPAIR_FAILED, NULL, "adopt device %u: %s", found[i], why.msg);
    }
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        struct error why = ERROR_INIT;

        if (e->slots[i] && cgroup_adopt(e, e->slots[i], &why) < 0)
            incident(e, ENFORCE_REPAIR_FAILED, NULL, "adopt a cgroup: %s", why.msg);
    }
    remove_dead_pins(e);
    return 0;
}
