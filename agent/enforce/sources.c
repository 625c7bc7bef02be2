/*
 * What programs go by that see no device of a pod: pods by their addresses (netfilter) and by their
 * network namespaces (the parent cgroup).
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- pods by address --------------------------------------------------------------------- */

/* An entry in each engine's map. */
struct source {
    struct berm_guard_source guard;
    struct berm_source policy;
};

static void source_of(const struct pod *pod, struct source *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->guard.slot = ret->policy.slot = pod->slot;
    ret->guard.sandboxed = ret->policy.sandboxed = (uint8_t)pod->record.sandboxed;
    ret->guard.exceptions = pod->record.exceptions;
    ret->policy.audit = pod_watched(pod);
}

static int source_put(struct enforce *e, const struct berm_addr *addr, const struct source *s)
{
    return bpf_map_update_elem(e->maps[MAP_G_SOURCES], addr, &s->guard, BPF_ANY) < 0 ||
                   bpf_map_update_elem(e->maps[MAP_P_SOURCES], addr, &s->policy, BPF_ANY) < 0
               ? -errno
               : 0;
}

/* 0 and the slot, if both maps have the address, of one pod. */
static bool source_get(struct enforce *e, const struct berm_addr *addr, struct source *ret)
{
    memset(ret, 0, sizeof(*ret));
    return bpf_map_lookup_elem(e->maps[MAP_G_SOURCES], addr, &ret->guard) == 0 &&
           bpf_map_lookup_elem(e->maps[MAP_P_SOURCES], addr, &ret->policy) == 0 &&
           ret->guard.slot == ret->policy.slot;
}

static bool has_source(const struct pod *pod, const struct berm_addr *addr)
{
    for (uint32_t i = 0; i < pod->n_sources; i++) {
        if (!memcmp(&pod->sources[i], addr, sizeof(*addr)))
            return true;
    }
    return false;
}

/* Unless the address is another pod's by now. If an older pod has it as well, it is found again. */
static void source_delete(struct enforce *e, const struct pod *pod, const struct berm_addr *addr)
{
    struct source now;

    if (source_get(e, addr, &now) && now.guard.slot != pod->slot)
        return;
    (void)bpf_map_delete_elem(e->maps[MAP_G_SOURCES], addr);
    (void)bpf_map_delete_elem(e->maps[MAP_P_SOURCES], addr);
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        const struct pod *other = e->slots[i];

        if (!other || other == pod || !has_source(other, addr))
            continue;
        source_of(other, &now);
        (void)source_put(e, addr, &now);
    }
}

/* -- pods by network namespace ------------------------------------------------------------- */

static void netns_of(const struct pod *pod, struct berm_netns *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->exceptions = pod->record.exceptions;
    ret->slot = pod->slot;
    ret->sandboxed = (uint8_t)pod->record.sandboxed;
    ret->silent = pod->record.cgroup_id != 0;
}

static bool has_netns(const struct pod *pod)
{
    return pod->record.cookie && !pod->record.host_network;
}

static int netns_put(struct enforce *e, uint64_t cookie, const struct berm_netns *want)
{
    struct berm_netns now;

    if (bpf_map_lookup_elem(e->maps[MAP_G_NETNS], &cookie, &now) == 0 &&
        !memcmp(&now, want, sizeof(now)))
        return 0;
    return bpf_map_update_elem(e->maps[MAP_G_NETNS], &cookie, want, BPF_ANY) < 0 ? -errno : 1;
}

/* The node's own namespace, and what holds for those that nobody knows. */
static void netns_defaults(struct berm_netns *host, struct berm_netns *others)
{
    *host = (struct berm_netns){.host = 1, .slot = UINT32_MAX};
    *others = (struct berm_netns){.slot = UINT32_MAX};
    others->exceptions = (UINT64_C(1) << guard_builtin_exceptions()) - 1;
}

int netns_default(struct enforce *e, bool told)
{
    struct berm_netns host, others;
    int changed;

    netns_defaults(&host, &others);
    if (!e->cookie && netdev_cookie(-1, &e->cookie) < 0)
        return 0;
    changed = (netns_put(e, 0, &others) > 0) + (netns_put(e, e->cookie, &host) > 0);
    if (changed && told)
        incident(e, ENFORCE_MAP_CHANGED, NULL, "an entry of map g_netns was not as written");
    return changed;
}

/* Entries of namespaces that are gone, from before a restart. */
void netns_collect(struct enforce *e)
{
    uint64_t key, next;
    void *from = NULL;

    for (size_t n = 0; n < BERM_NETNS_MAX; n++) {
        bool gone = bpf_map_get_next_key(e->maps[MAP_G_NETNS], from, &next) < 0;
        bool ours = from && (key == 0 || key == e->cookie);

        for (size_t i = 0; from && !ours && i < BERM_PODS_MAX; i++)
            ours = e->slots[i] && has_netns(e->slots[i]) && e->slots[i]->record.cookie == key;
        if (from && !ours)
            (void)bpf_map_delete_elem(e->maps[MAP_G_NETNS], &key);
        if (gone)
            return;
        key = next;
        from = &key;
    }
}

static int verify_netns(struct enforce *e, const struct pod *pod)
{
    struct berm_netns want;

    if (!has_netns(pod))
        return 0;
    netns_of(pod, &want);
    if (netns_put(e, pod->record.cookie, &want) <= 0)
        return 0;
    incident(e, ENFORCE_MAP_CHANGED, NULL, "the namespace of pod %s was not as written",
             pod->record.uid);
    return 1;
}

/* -- both ---------------------------------------------------------------------------------- */

int sources_write(struct enforce *e, struct pod *pod, struct error *err)
{
    const struct berm_record *record = &pod->record;
    struct berm_addr before[BERM_ADDRS_MAX];
    uint32_t n_before = pod->n_sources;
    struct berm_netns ns;
    struct source value;
    int r = 0;

    memcpy(before, pod->sources, sizeof(before));
    source_of(pod, &value);
    pod->n_sources = record->host_network ? 0 : MIN(record->n_addrs, (uint32_t)BERM_ADDRS_MAX);
    memcpy(pod->sources, record->addrs, sizeof(pod->sources));
    for (uint32_t i = 0; r == 0 && i < pod->n_sources; i++)
        r = source_put(e, &pod->sources[i], &value);
    for (uint32_t i = 0; i < n_before; i++) {
        if (!has_source(pod, &before[i]))
            source_delete(e, pod, &before[i]);
    }
    netns_of(pod, &ns);
    if (r == 0 && has_netns(pod))
        r = MIN(netns_put(e, record->cookie, &ns), 0);
    return r < 0 ? error_errno(err, r, "write where pod %s is found by", record->uid) : 0;
}

void sources_remove(struct enforce *e, struct pod *pod)
{
    uint32_t n = pod->n_sources;

    pod->n_sources = 0;
    for (uint32_t i = 0; i < n; i++)
        source_delete(e, pod, &pod->sources[i]);
    if (has_netns(pod))
        (void)bpf_map_delete_elem(e->maps[MAP_G_NETNS], &pod->record.cookie);
}

static int verify_sources(struct enforce *e, const struct pod *pod)
{
    int repaired = 0;

    for (uint32_t i = 0; i < pod->n_sources; i++) {
        const struct pod *other;
        struct source now, want;
        bool there = source_get(e, &pod->sources[i], &now);

        other = there && now.guard.slot < BERM_PODS_MAX ? e->slots[now.guard.slot] : NULL;
        source_of(other && has_source(other, &pod->sources[i]) ? other : pod, &want);
        if (there && !memcmp(&now, &want, sizeof(now)))
            continue;
        (void)source_put(e, &pod->sources[i], &want);
        incident(e, ENFORCE_MAP_CHANGED, NULL, "the address of pod %s was not as written",
                 pod->record.uid);
        repaired++;
    }
    return repaired;
}

/* An address that two pods have makes no sum that could be foretold: then each is looked at. */
static bool is_intact(const struct enforce *e)
{
    struct berm_tally guard = {0}, policy = {0}, spaces = {0};
    const uint64_t zero = 0;
    struct berm_netns host, others;

    netns_defaults(&host, &others);
    tally_add(&spaces, &zero, sizeof(zero), &others, sizeof(others));
    tally_add(&spaces, &e->cookie, sizeof(e->cookie), &host, sizeof(host));
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        const struct pod *pod = e->slots[i];
        struct source value;
        struct berm_netns ns;

        if (!pod)
            continue;
        source_of(pod, &value);
        for (uint32_t k = 0; k < pod->n_sources; k++) {
            tally_add(&guard, &pod->sources[k], 16, &value.guard, sizeof(value.guard));
            tally_add(&policy, &pod->sources[k], 16, &value.policy, sizeof(value.policy));
        }
        netns_of(pod, &ns);
        if (has_netns(pod))
            tally_add(&spaces, &pod->record.cookie, sizeof(uint64_t), &ns, sizeof(ns));
    }
    return tally_matches(e, MAP_G_SOURCES, 16, sizeof(struct berm_guard_source), &guard) &&
           tally_matches(e, MAP_P_SOURCES, 16, sizeof(struct berm_source), &policy) &&
           tally_matches(e, MAP_G_NETNS, sizeof(uint64_t), sizeof(struct berm_netns), &spaces);
}

static bool is_pods_address(const struct enforce *e, const void *key)
{
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i] && has_source(e->slots[i], key))
            return true;
    }
    return false;
}

static bool is_pods_netns(const struct enforce *e, const void *key)
{
    uint64_t cookie = *(const uint64_t *)key;

    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i] && has_netns(e->slots[i]) && e->slots[i]->record.cookie == cookie)
            return true;
    }
    return cookie == 0 || cookie == e->cookie;
}

int sources_verify(struct enforce *e)
{
    int repaired;

    if (is_intact(e))
        return 0;
    repaired = netns_default(e, true) +
               tally_remove_foreign(e, MAP_G_SOURCES, 16, is_pods_address) +
               tally_remove_foreign(e, MAP_P_SOURCES, 16, is_pods_address) +
               tally_remove_foreign(e, MAP_G_NETNS, sizeof(uint64_t), is_pods_netns);
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i])
            repaired += verify_sources(e, e->slots[i]) + verify_netns(e, e->slots[i]);
    }
    return repaired;
}
