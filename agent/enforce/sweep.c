/*
 * Looks for what others did to what is in force, and puts it right. The kernel tells of removed
 * pins and of devices; of detached links, programs before ours and edited maps it tells nobody.
 *
 * Whoever may load BPF programs can in the end do anything to this machine.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum {
    HANDOVERS = 1,    /* devices that get their links in one sweep: each waits 30 to 60 ms */
    FULL_EVERY = 16,  /* sweeps between looks at what notifications should have told */
    SLOW_EVERY = 256, /* the same for pins and this node's addresses, of which there are many */
};

static const char *const incident_names[ENFORCE_INCIDENT_MAX] = {
    [ENFORCE_LINK_LOST] = "link-lost",         [ENFORCE_PIN_LOST] = "pin-lost",
    [ENFORCE_NOT_FIRST] = "not-first",         [ENFORCE_MAP_CHANGED] = "map-changed",
    [ENFORCE_XDP_FOREIGN] = "xdp-foreign",     [ENFORCE_QDISC_LOST] = "qdisc-lost",
    [ENFORCE_DEVICE_NEW] = "device-new",       [ENFORCE_CGROUP_NEW] = "cgroup-new",
    [ENFORCE_TABLE_CHANGED] = "table-changed", [ENFORCE_REPAIR_FAILED] = "repair-failed",
};

const char *enforce_incident_name(enum enforce_incident_kind kind)
{
    return (unsigned)kind < ENFORCE_INCIDENT_MAX ? incident_names[kind] : "";
}

void incident(struct enforce *e, enum enforce_incident_kind kind, const struct device *device,
              const char *fmt, ...)
{
    struct enforce_incident i = {.kind = kind};
    char detail[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    i.detail = detail;
    if (device) {
        i.uid = device->pod->record.uid;
        i.device = device->name;
    }
    e->totals.incidents[kind]++;
    if (e->config.on_incident)
        e->config.on_incident(e->config.ctx, &i);
}

/* A switch: the two words as we wrote them. */
static int verify_config(struct enforce *e, struct berm_config *now, const struct berm_config *want,
                         const char *name)
{
    uint32_t mode = __atomic_load_n(&now->mode, __ATOMIC_SEQ_CST);

    if (mode == want->mode && now->generation == want->generation)
        return 0;
    __atomic_store_n(&now->mode, want->mode, __ATOMIC_SEQ_CST);
    now->generation = want->generation;
    incident(e, ENFORCE_MAP_CHANGED, NULL, "the %s's switch was set to %u", name, (unsigned)mode);
    return 1;
}

static int verify_iface(struct enforce *e, struct device *device, enum enforce_map map,
                        const struct berm_iface *want, struct error *err)
{
    uint32_t key = (uint32_t)device->ifindex;
    struct berm_iface now;

    if (bpf_map_lookup_elem(e->maps[map], &key, &now) == 0 && !memcmp(&now, want, sizeof(now)))
        return 0;
    if (bpf_map_update_elem(e->maps[map], &key, want, BPF_ANY) < 0)
        return error_errno(err, -errno, "device %s: write to map %s", device->name,
                           load_map_name(map));
    incident(e, ENFORCE_MAP_CHANGED, device, "entry in map %s was not as written",
             load_map_name(map));
    return 1;
}

static int verify_device(struct enforce *e, struct device *device, const struct look *look,
                         struct error *err)
{
    bool links = e->tcx && !device->handover, intact = look->links && links;
    int guard, policy, xdp, hooks = 0;

    if (!intact)
        hooks = (links ? &tcx_ops : &clsact_ops)->verify(e, device, err);
    if (hooks >= 0 && !intact && (e->watch || look->full)) {
        xdp = xdp_verify(e, device, err);
        hooks = xdp < 0 ? xdp : hooks + xdp;
    }
    if (hooks < 0 || look->entries)
        return hooks;
    guard = verify_iface(e, device, MAP_G_IFACES, &device->guard, err);
    policy = verify_iface(e, device, MAP_P_IFACES, &device->policy, err);
    return guard < 0 ? guard : policy < 0 ? policy : hooks + guard + policy;
}

static int verify_pod(struct enforce *e, struct pod *pod, struct look *look)
{
    struct device *device, *next;
    int repaired = 0;

    if (__atomic_load_n(&e->control[pod->slot].word, __ATOMIC_SEQ_CST) != pod->control) {
        __atomic_store_n(&e->control[pod->slot].word, pod->control, __ATOMIC_SEQ_CST);
        incident(e, ENFORCE_MAP_CHANGED, NULL, "the state of pod %s was not as written",
                 pod->record.uid);
        repaired++;
    }
    if (pod->record.cgroup_id || pod->cgroup_path) {
        struct error err = ERROR_INIT;
        int r = cgroup_verify(e, pod, look, &err);

        if (r < 0)
            incident(e, ENFORCE_REPAIR_FAILED, NULL, "%s", err.msg);
        else
            repaired += r;
    }
    list_for_each_entry_safe (device, next, &pod->devices, siblings) {
        struct error err = ERROR_INIT;
        int r;

        r = verify_device(e, device, look, &err);
        if (r == -ENODEV) {
            device_remove(e, device);
            continue;
        }
        if (r >= 0 && device->handover && look->handovers > 0) {
            int done = device_handover(e, device, &err);

            look->handovers--;
            r = done < 0 ? done : r;
        }
        if (r >= 0 && look->pins && e->tcx) {
            int more = tcx_verify_pins(e, device, &err);

            r = more < 0 ? more : r + more;
        }
        if (r < 0)
            incident(e, ENFORCE_REPAIR_FAILED, device, "%s", err.msg);
        else
            repaired += r;
    }
    return repaired;
}

static int verify_map_pins(struct enforce *e)
{
    int repaired = 0;

    for (int i = 0; i < MAP_MAX; i++) {
        char path[320];
        int r;

        (void)snprintf(path, sizeof(path), "%s/maps/%s", e->dir, load_map_name(i));
        if (access(path, F_OK) == 0)
            continue;
        r = sys_pin_replace(e->maps[i], path);
        incident(e, r < 0 ? ENFORCE_REPAIR_FAILED : ENFORCE_PIN_LOST, NULL, "%s was removed%s%s",
                 path, r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
        repaired += r == 0;
    }
    return repaired;
}

static void read_inotify(struct enforce *e)
{
    _Alignas(struct inotify_event) char buffer[8192];
    ssize_t n;

    while ((n = read(e->inotify_fd, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            size_t length = strnlen(event->name, event->len);

            /* Our own renames over a pin come from a name that ends so. */
            if (!length || event->name[length - 1] != '+')
                e->pins_changed = true;
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
}

/* A device whose other end is in an armed pod's namespace, and that nobody announced: whatever it
 * may be for, it is bound at once, with no address that it may use. */
static void bind_new_device(struct enforce *e, const struct netdev *dev)
{
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        struct pod *pod = e->slots[i];
        struct device wanted = {.ifindex = dev->ifindex};
        struct error err = ERROR_INIT;

        if (!pod || pod->record.nsid < 0 || pod->record.nsid != dev->nsid ||
            device_find(pod, dev->ifindex))
            continue;
        (void)snprintf(wanted.name, sizeof(wanted.name), "%s", dev->name);
        wanted.policy.slot = wanted.guard.slot = pod->slot;
        wanted.policy.sandboxed = wanted.guard.sandboxed = (uint8_t)pod->record.sandboxed;
        if (device_attach(e, pod, &wanted, &err) < 0) {
            incident(e, ENFORCE_REPAIR_FAILED, NULL, "pod %s, new device %s: %s", pod->record.uid,
                     dev->name, err.msg);
            continue;
        }
        incident(e, ENFORCE_DEVICE_NEW, device_find(pod, dev->ifindex),
                 "a device appeared; closed until the pod is armed again");
    }
}

/* Attached the older way, a program is told of. */
static void note_xdp(struct enforce *e, const struct netdev *dev)
{
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        struct device *device = e->slots[i] ? device_find(e->slots[i], dev->ifindex) : NULL;
        struct error err = ERROR_INIT;

        if (device && xdp_remove(e, device, dev, &err) < 0)
            incident(e, ENFORCE_REPAIR_FAILED, device, "%s", err.msg);
    }
}

/* Pods' devices join their bridge after they were armed. */
static void note_master(struct enforce *e, const struct netdev *dev)
{
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        struct device *device = e->slots[i] ? device_find(e->slots[i], dev->ifindex) : NULL;

        if (!device || device->master == dev->master)
            continue;
        device->master = dev->master;
        nft_stale(e);
    }
}

static void on_netdev(void *ctx, const struct netdev_event *event)
{
    struct enforce *e = ctx;

    switch (event->kind) {
    case NETDEV_NEW:
        note_master(e, &event->dev);
        note_xdp(e, &event->dev);
        if (event->dev.has_nsid && event->dev.nsid >= 0)
            bind_new_device(e, &event->dev);
        break;
    case NETDEV_ADDRESS:
        e->own_changed = true;
        break;
    case NETDEV_OVERRUN:
        e->own_changed = e->devices_changed = true;
        break;
    case NETDEV_GONE:
        e->devices_changed = true; /* the sweep looks which, and where it went */
        break;
    }
}

int enforce_dispatch(struct enforce *e, struct error *err)
{
    int r = events_drain(e);

    if (r < 0)
        return error_errno(err, r, "read events");
    r = netdev_watch_read(e->watch_fd, on_netdev, e);
    if (r < 0)
        return error_errno(err, r, "read device notifications");
    read_inotify(e);
    (void)nft_verify(e, false);
    if (e->pins_changed) {
        r = enforce_sweep(e, err);
        return r < 0 ? r : 0;
    }
    return 0;
}

static int verify_pins_exist(struct enforce *e)
{
    char path[256];

    /* Somebody may have removed the folders or unmounted the file system under them. */
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", e->dir, i ? "maps" : "links");
        if (access(path, F_OK) == 0)
            continue;
        (void)sys_bpffs(e->pin_dir);
        (void)mkdir(e->pin_dir, 0700);
        (void)mkdir(e->dir, 0700);
        (void)mkdir(path, 0700);
        (void)inotify_add_watch(e->inotify_fd, path, IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF);
    }
    return verify_map_pins(e);
}

/* Maps and links that are nobody's but the agent's to change. */
static int verify_shared(struct enforce *e, const struct look *look, struct error *err)
{
    int repaired = 0, r;

    repaired += verify_config(e, e->guard_config, &e->guard_expected, "guard");
    repaired += verify_config(e, e->policy_config, &e->policy_expected, "policy engine");
    if (look->pins)
        repaired += verify_pins_exist(e);
    repaired += nft_verify(e, look->full);
    repaired += parent_verify(e, look->pins);
    repaired += upgrade_verify(e);
    r = guard_verify(e);
    if (r < 0)
        return error_errno(err, r, "verify the guard's table");
    return repaired + r + translated_verify(e, look->pins) + translations_verify(e) +
           sources_verify(e) + twins_verify(e);
}

/* A few entries; all of them if their number is not what it was. */
static int verify_rules(struct enforce *e, const struct look *look)
{
    bool touched;
    int repaired;

    counts_look(e);
    touched = e->rules_touched;
    e->rules_touched = false;
    repaired = rules_verify(e, touched);
    if (repaired >= 0)
        repaired += rules_remove_foreign(e, look->full, touched);
    if (repaired != 0 || touched)
        counts_settle(e);
    return repaired;
}

static int verify_all(struct enforce *e, struct look *look, struct error *err)
{
    int repaired, r;

    tally_look(e);
    repaired = verify_shared(e, look, err);
    if (repaired < 0)
        return repaired;
    look->links = watch_intact(e) && !e->devices_changed;
    e->devices_changed = false;
    look->entries = device_entries_intact(e);
    if (!look->entries)
        repaired += device_remove_foreign(e);
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i])
            repaired += verify_pod(e, e->slots[i], look);
    }
    r = verify_rules(e, look);
    e->tallied = false;
    return r < 0 ? error_errno(err, r, "verify rules") : repaired + r;
}

int enforce_sweep(struct enforce *e, struct error *err)
{
    struct look look = {.full = e->totals.sweeps % FULL_EVERY == 0, .handovers = HANDOVERS};
    bool slow = e->totals.sweeps++ % SLOW_EVERY == 0;
    int repaired, r;

    read_inotify(e);
    r = netdev_watch_read(e->watch_fd, on_netdev, e);
    if (r < 0)
        return error_errno(err, r, "read device notifications");
    look.pins = slow || e->pins_changed;
    e->pins_changed = false;
    repaired = verify_all(e, &look, err);
    if (repaired < 0)
        return repaired;
    (void)rules_flush(e, false);
    flows_collect(e);
    r = flows_prepare(e, err);
    if (r == 0 && (slow || e->own_changed))
        r = nodes_refresh(e, err);
    return r < 0 ? r : repaired;
}
