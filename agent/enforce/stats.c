/* Counters, totals, the list of pods, and names for numbers. */
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

static void add(struct enforce_engine_stats *sum, const struct berm_stats *one)
{
    for (int d = 0; d < BERM_DIRECTION_MAX; d++) {
        sum->packets[d] += one->packets[d];
        sum->bytes[d] += one->bytes[d];
        sum->audited[d] += one->audited[d];
        for (int r = 0; r < BERM_REASON_MAX; r++)
            sum->denied[d][r] += one->denied[d][r];
    }
    sum->events_lost += one->events_limited + one->events_full;
}

int enforce_stats(struct enforce *e, const char *uid, struct enforce_stats *ret, struct error *err)
{
    static const enum enforce_map maps[BERM_ENGINE_MAX] = {MAP_G_STATS, MAP_P_STATS};
    const struct pod *pod = enforced_pod_find(e, uid);
    int cpus = libbpf_num_possible_cpus();
    CLEANUP(free_ptr) struct berm_stats *each = NULL;
    struct enforce_stats sum = {0};

    if (!pod)
        return error_set(err, -ENOENT, "pod %s is not armed", uid);
    each = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*each));
    if (!each)
        return error_set(err, -ENOMEM, "out of memory");
    for (int i = 0; i < BERM_ENGINE_MAX; i++) {
        if (bpf_map_lookup_elem(e->maps[maps[i]], &pod->slot, each) < 0)
            return error_errno(err, -errno, "read counters of pod %s", uid);
        for (int cpu = 0; cpu < cpus; cpu++)
            add(&sum.engine[i], &each[cpu]);
    }
    *ret = sum;
    return 0;
}

static size_t count_devices(const struct pod *pod)
{
    const struct device *device;
    size_t n = 0;

    list_for_each_entry (device, &pod->devices, siblings)
        n++;
    return n;
}

void enforce_totals(const struct enforce *e, struct enforce_totals *ret)
{
    *ret = e->totals;
    ret->pods = e->pods.count;
    ret->frontends = e->n_frontends;
    ret->devices = 0;
    for (size_t i = 0; i < BERM_PODS_MAX; i++)
        ret->devices += e->slots[i] ? count_devices(e->slots[i]) : 0;
}

static void fill_info(const struct pod *pod, struct enforce_pod_info *ret)
{
    *ret = (struct enforce_pod_info){.uid = pod->record.uid,
                                     .sandboxed = pod->record.sandboxed,
                                     .audit = pod->record.audit,
                                     .host_network = pod->record.host_network,
                                     .state = BERM_CONTROL_STATE(pod->control),
                                     .n_devices = count_devices(pod),
                                     .addrs = (const uint8_t(*)[16])pod->record.addrs,
                                     .n_addrs = pod->record.n_addrs};
}

bool enforce_find(const struct enforce *e, const char *uid, struct enforce_pod_info *ret)
{
    const struct pod *pod = enforced_pod_find(e, uid);

    if (pod)
        fill_info(pod, ret);
    return pod != NULL;
}

int enforce_for_each(struct enforce *e, int (*fn)(void *ctx, const struct enforce_pod_info *pod),
                     void *ctx)
{
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        struct enforce_pod_info info;
        int r;

        if (!e->slots[i])
            continue;
        fill_info(e->slots[i], &info);
        r = fn(ctx, &info);
        if (r)
            return r;
    }
    return 0;
}

const char *enforce_reason_name(enum berm_reason reason)
{
    static const char *const names[] = {
#define X(name, text) text,
        BERM_REASONS(X)
#undef X
    };

    return (unsigned)reason < BERM_REASON_MAX ? names[reason] : "";
}
