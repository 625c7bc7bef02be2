/*
 * Arming: from a network namespace to the devices on this host that lead into it. The pod says
 * nothing of this by itself: each end is asked for the other, and both must agree.
 *
 * Refused: devices whose traffic leaves by a way that no program on a host-side end sees (macvlan,
 * ipvlan, physical devices moved into the namespace).
 */
#include "agent/enforce/internal.h"

#include <errno.h>
#include <string.h>

/* What is found out before anything is changed. */
struct plan {
    struct netdev_view view;
    struct device wanted[NETDEV_MAX];
    size_t n;
    int nsid;
    uint64_t cookie;
};

static bool is_pair(const struct netdev *dev)
{
    return !strcmp(dev->kind, "veth") || !strcmp(dev->kind, "netkit");
}

static int find_host_end(const struct netdev *dev, struct netdev *ret, struct error *err)
{
    if (netdev_host(dev->peer, ret, err) < 0)
        return error_set(err, -EOPNOTSUPP, "device %s: its other end is not on this host's network",
                         dev->name);
    if (ret->peer != dev->ifindex || !ret->has_nsid || strcmp(ret->kind, dev->kind) != 0)
        return error_set(err, -EOPNOTSUPP, "device %s: %s on the host is not its other end",
                         dev->name, ret->name);
    return 0;
}

static bool is_zero(const uint8_t mac[6])
{
    static const uint8_t zero[6];

    return !memcmp(mac, zero, 6);
}

static bool is_link_local(const struct berm_addr *a)
{
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static void add_address(struct berm_addr *list, uint32_t *n, const struct berm_addr *a)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (!memcmp(&list[i], a, sizeof(*a)))
            return;
    }
    if (*n < BERM_ADDRS_MAX)
        list[(*n)++] = *a;
}

/* Addresses of the pod: as told, or as its devices have them now. */
static int record_addresses(const struct enforce_pod *pod, const struct netdev_view *view,
                            struct berm_record *record, struct error *err)
{
    enum { OWN_MAX = BERM_ADDRS_MAX - 2 }; /* two places are for link-local ones */
    uint32_t n = 0;

    if (pod->n_addrs > OWN_MAX)
        return error_set(err, -E2BIG, "pod %s: %zu addresses, at most %d", pod->uid, pod->n_addrs,
                         OWN_MAX);
    memset(record->addrs, 0, sizeof(record->addrs));
    for (size_t i = 0; i < pod->n_addrs; i++) {
        struct berm_addr a;

        memcpy(&a, pod->addrs[i], sizeof(a));
        add_address(record->addrs, &n, &a);
    }
    for (size_t i = 0; !pod->n_addrs && i < view->n_addrs; i++) {
        const struct netdev_addr *a = &view->addrs[i];
        bool loopback = true;

        for (size_t k = 0; k < view->n_devs; k++)
            loopback = view->devs[k].ifindex == a->ifindex ? view->devs[k].loopback : loopback;
        if (loopback || is_link_local(&a->addr))
            continue;
        if (n == OWN_MAX)
            return error_set(err, -E2BIG, "pod %s: its devices have more than %d addresses",
                             pod->uid, OWN_MAX);
        add_address(record->addrs, &n, &a->addr);
    }
    record->n_addrs = n;
    return 0;
}

/* The MAC that the pod was given is its first device's. */
static void fill_iface(struct berm_iface *iface, const struct pod *pod, const struct netdev *dev,
                       const struct netdev_view *view, bool first)
{
    const struct berm_record *record = &pod->record;
    struct berm_addr made;

    memset(iface, 0, sizeof(*iface));
    iface->slot = pod->slot;
    iface->sandboxed = (uint8_t)record->sandboxed;
    iface->exceptions = record->exceptions;
    iface->n_addrs = record->n_addrs;
    memcpy(iface->mac, is_zero(record->mac) || !first ? dev->mac : record->mac, 6);
    memcpy(iface->addrs, record->addrs, sizeof(iface->addrs));
    netdev_link_local(iface->mac, &made);
    add_address(iface->addrs, &iface->n_addrs, &made);
    for (size_t i = 0; i < view->n_addrs; i++) {
        if (view->addrs[i].ifindex == dev->ifindex && is_link_local(&view->addrs[i].addr))
            add_address(iface->addrs, &iface->n_addrs, &view->addrs[i].addr);
    }
}

/* Which devices, and their host ends. Their entries are filled when the pod's slot is known. */
static int make_plan(const struct enforce_pod *pod, struct plan *plan, struct error *err)
{
    int r;

    plan->nsid = -1;
    if (netdev_cookie(pod->netns_fd, &plan->cookie) < 0)
        plan->cookie = 0; /* before Linux 5.14: the parent cgroup's guard knows no exceptions */
    if (pod->host_network)
        return 0;
    r = netdev_read(pod->netns_fd, &plan->view, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < plan->view.n_devs; i++) {
        const struct netdev *dev = &plan->view.devs[i];
        struct netdev host;

        if (dev->loopback || (!dev->has_nsid && *dev->kind))
            continue; /* stacked on others of the same namespace, or both ends inside */
        if (!is_pair(dev) || !dev->has_nsid)
            return error_set(err, -EOPNOTSUPP,
                             "device %s (%s) has no end on this host that could be guarded",
                             dev->name, *dev->kind ? dev->kind : "physical");
        r = find_host_end(dev, &host, err);
        if (r < 0)
            return r;
        plan->wanted[plan->n].ifindex = host.ifindex;
        plan->wanted[plan->n].hooks[0].variant = (int)i; /* index into the view, for fill */
        (void)snprintf(plan->wanted[plan->n].name, IF_NAMESIZE, "%s", host.name);
        plan->n++;
    }
    r = netdev_nsid(pod->netns_fd, &plan->nsid, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < plan->n; i++) {
        struct netdev host;

        r = netdev_host(plan->wanted[i].ifindex, &host, err);
        if (r < 0)
            return r;
        if (host.nsid != plan->nsid)
            return error_set(err, -EOPNOTSUPP, "device %s leads into another namespace", host.name);
    }
    return 0;
}

/* A pod that another layout's links judge goes on by them until its rules are known. */
static bool inherits(const struct enforce *e, const struct pod *pod, const struct plan *plan)
{
    int ifindexes[NETDEV_MAX];

    if (!e->upgrading || BERM_CONTROL_STATE(pod->control) != BERM_POD_UNKNOWN)
        return false;
    for (size_t i = 0; i < plan->n; i++)
        ifindexes[i] = plan->wanted[i].ifindex;
    return upgrade_judges(e, ifindexes, plan->n);
}

static bool is_wanted(const struct plan *plan, int ifindex)
{
    for (size_t i = 0; i < plan->n; i++) {
        if (plan->wanted[i].ifindex == ifindex)
            return true;
    }
    return false;
}

/* A namespace's id is used again once it is gone: whoever had it before is dead. The new one's
 * devices may have been taken for the dead pod's as they appeared. */
static void claim(struct enforce *e, struct pod *pod, const struct plan *plan)
{
    for (size_t i = 0; plan->nsid >= 0 && i < BERM_PODS_MAX; i++) {
        struct pod *other = e->slots[i];
        struct device *device, *next;

        if (!other || other == pod || other->record.nsid != plan->nsid)
            continue;
        other->record.nsid = NSID_GONE;
        (void)pod_save(e, other, NULL);
        list_for_each_entry_safe (device, next, &other->devices, siblings) {
            if (is_wanted(plan, device->ifindex) && !device_find(pod, device->ifindex))
                device_take(e, pod, device);
        }
    }
}

static int apply_plan(struct enforce *e, struct pod *pod, struct plan *plan, struct error *err)
{
    struct device *device, *next;

    for (size_t i = 0; i < plan->n; i++) {
        struct device *wanted = &plan->wanted[i];
        const struct netdev *dev = &plan->view.devs[wanted->hooks[0].variant];
        int r;

        fill_iface(&wanted->guard, pod, dev, &plan->view, i == 0);
        wanted->policy = wanted->guard;
        wanted->policy.audit = pod_watched(pod);
        r = device_attach(e, pod, wanted, err);
        if (r < 0)
            return r;
    }
    list_for_each_entry_safe (device, next, &pod->devices, siblings) {
        if (!is_wanted(plan, device->ifindex))
            device_remove(e, device);
    }
    return 0;
}

static int arm(struct enforce *e, const struct enforce_pod *request, struct pod *pod,
               struct plan *plan, struct error *err)
{
    int r = record_addresses(request, &plan->view, &pod->record, err);

    if (r < 0)
        return r;
    pod->record.sandboxed = request->sandboxed;
    pod->record.audit = request->audit;
    pod->record.exceptions =
        request->exceptions | ((UINT64_C(1) << guard_builtin_exceptions()) - 1);
    pod->record.host_network = request->host_network;
    pod->record.cookie = plan->cookie;
    pod->record.nsid = plan->nsid;
    memcpy(pod->record.mac, request->mac, 6);
    pod->inherited = inherits(e, pod, plan);
    claim(e, pod, plan);
    r = pod_save(e, pod, err);
    if (r == 0)
        r = sources_write(e, pod, err);
    if (r == 0)
        r = cgroup_write(e, pod, err);
    if (r == 0)
        r = apply_plan(e, pod, plan, err);
    return r < 0 ? r : nft_refresh(e, err);
}

int enforce_arm(struct enforce *e, const struct enforce_pod *request, struct error *err)
{
    CLEANUP(free_ptr) struct plan *plan = calloc(1, sizeof(*plan));
    struct pod *pod = request->uid ? enforced_pod_find(e, request->uid) : NULL;
    bool created = !pod;
    int r;

    if (!plan)
        return error_set(err, -ENOMEM, "out of memory");
    r = make_plan(request, plan, err);
    if (r == 0 && created)
        r = pod_new(e, request->uid, &pod, err);
    if (r < 0) {
        (void)error_wrap(err, "arm pod %s", request->uid ? request->uid : "without UID");
        return r;
    }
    r = arm(e, request, pod, plan, err);
    if (r < 0) {
        if (created)
            (void)enforced_pod_free(e, pod, NULL);
        (void)error_wrap(err, "arm pod %s", request->uid);
    }
    return r;
}

bool enforce_is_gone(const struct enforce *e, const char *uid)
{
    const struct pod *pod = enforced_pod_find(e, uid);

    if (!pod || !list_empty(&pod->devices))
        return false;
    if (pod->record.host_network)
        return !pod->record.cgroup_id;
    return pod->record.nsid == NSID_GONE ||
           (pod->record.nsid >= 0 && !netdev_nsid_used(pod->record.nsid));
}

int enforce_remove(struct enforce *e, const char *uid, struct error *err)
{
    struct pod *pod = enforced_pod_find(e, uid);

    int r = pod ? enforced_pod_free(e, pod, err) : 0;

    return r < 0 ? r : nft_refresh(e, err);
}
