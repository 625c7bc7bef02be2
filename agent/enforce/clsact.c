/*
 * Hooks by clsact, for kernels without tcx (before 6.6), and for the moment between a device's
 * arming and its links (a filter is there in 0.4 ms, four links take four grace periods). The guard
 * at preference 1, the policy engine at 2. Any root tool can delete the qdisc, so the sweep is what
 * keeps it; replacing a filter is done in place.
 */
#include "agent/enforce/internal.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

/* libbpf wants the padding of these two zero as well: memset, and no copies by value. */
static void hook_init(struct bpf_tc_hook *hook, const struct device *device, enum hook_kind kind)
{
    memset(hook, 0, sizeof(*hook));
    hook->sz = sizeof(*hook);
    hook->ifindex = device->ifindex;
    hook->attach_point = kind == HOOK_GUARD_FROM_POD || kind == HOOK_POLICY_FROM_POD
                             ? BPF_TC_INGRESS
                             : BPF_TC_EGRESS;
}

static uint32_t priority_of(enum hook_kind kind)
{
    return kind == HOOK_GUARD_FROM_POD || kind == HOOK_GUARD_TO_POD ? 1 : 2;
}

static void opts_init(struct bpf_tc_opts *opts, enum hook_kind kind)
{
    memset(opts, 0, sizeof(*opts));
    opts->sz = sizeof(*opts);
    opts->handle = CLSACT_HANDLE;
    opts->priority = priority_of(kind);
}

static int filter_put(struct enforce *e, struct device *device, enum hook_kind kind,
                      struct error *err)
{
    struct bpf_tc_hook hook;
    struct bpf_tc_opts opts;
    int r;

    hook_init(&hook, device, kind);
    opts_init(&opts, kind);
    opts.prog_fd = e->prog_fds[0][kind];
    opts.flags = BPF_TC_F_REPLACE;
    r = bpf_tc_hook_create(&hook);
    if (r == 0 || r == -EEXIST)
        r = bpf_tc_attach(&hook, &opts);
    if (r < 0)
        return error_errno(err, r, "device %s: attach program by clsact", device->name);
    device->hooks[kind].prog_id = e->prog_ids[0][kind];
    return 0;
}

static int clsact_attach(struct enforce *e, struct device *device, struct error *err)
{
    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        int r = filter_put(e, device, kind, err);

        if (r < 0)
            return r;
    }
    return 0;
}

static int clsact_verify(struct enforce *e, struct device *device, struct error *err)
{
    int repaired = 0;

    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        struct bpf_tc_hook hook;
        struct bpf_tc_opts opts;
        int r;

        hook_init(&hook, device, kind);
        opts_init(&opts, kind);
        r = bpf_tc_query(&hook, &opts);

        if (r == -ENODEV)
            return r;
        if (r == 0 && opts.prog_id == e->prog_ids[0][kind])
            continue;
        r = filter_put(e, device, kind, err);
        if (r < 0)
            return r;
        incident(e, ENFORCE_QDISC_LOST, device, "filter at preference %u was gone",
                 (unsigned)priority_of(kind));
        repaired++;
    }
    return repaired;
}

static void clsact_detach(struct enforce *e, struct device *device)
{
    (void)e;
    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        struct bpf_tc_hook hook;
        struct bpf_tc_opts opts;

        hook_init(&hook, device, kind);
        opts_init(&opts, kind);
        (void)bpf_tc_detach(&hook, &opts);
    }
}

const struct hook_ops clsact_ops = {clsact_attach, clsact_verify, clsact_detach};
