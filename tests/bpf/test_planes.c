/*
 * Mutated frames on two planes at once: what the program on the pod's device denies for what the
 * packet is or where it goes, the one on its cgroup denies, too, and the other way round; the same
 * of the guard behind the translation. The device also looks at hardware addresses, forgeries and
 * tunnels, which the others do not see.
 *
 * FUZZ_SEED (1) and FUZZ_ROUNDS choose the run; a failure prints its seed and the frame.
 */
#include "agent/enforce/sys.h"
#include "common/cleanup.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/mutate.h"
#include "tests/bpf/rules.h"
#include "tests/planes_guard.skel.h"
#include "tests/planes_policy.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TC_PASS = -1, CGROUP_PASS = 1, NETFILTER_PASS = 1, POST_ROUTING = 4, CONTROL_ROUNDS = 500 };
enum plane { PLANE_GUARD, PLANE_POLICY, PLANE_NETFILTER, PLANE_MAX };
enum said { PASSED, DENIED, NOT_RUN };

struct planes {
    struct judge judge;
    struct planes_guard_bpf *guard;
    struct planes_policy_bpf *policy;
    int netfilter; /* -1: this kernel has none, or can't try frames on it */
    uint64_t seed;
    unsigned passed[PLANE_MAX], denied[PLANE_MAX], failures;
    bool quiet; /* differences are wanted */
};

/* What a netfilter program is told of the hook; the kernel wants the rest to be zero. */
struct hook_state {
    uint8_t hook, pf;
    uint8_t zero[46];
};

static bool is_ip(const struct frame *f)
{
    return (f->data[12] == 0x08 && f->data[13] == 0x00) ||
           (f->data[12] == 0x86 && f->data[13] == 0xdd);
}

static enum said run(int program, const struct frame *f, void *ctx, size_t ctx_size, uint32_t pass)
{
    struct bpf_test_run_opts opts;

    memset(&opts, 0, sizeof(opts));
    opts.sz = sizeof(opts);
    opts.data_in = f->data;
    opts.data_size_in = (uint32_t)f->size;
    opts.ctx_in = ctx;
    opts.ctx_size_in = (uint32_t)ctx_size;
    if (bpf_prog_test_run_opts(program, &opts) < 0)
        return NOT_RUN; /* the kernel does not build such a packet */
    return opts.retval == pass ? PASSED : DENIED;
}

static enum said on_cgroup(const struct planes *p, int program, const struct frame *f)
{
    struct __sk_buff ctx = {.ifindex = (uint32_t)p->judge.device->ifindex};

    return run(program, f, &ctx, sizeof(ctx), CGROUP_PASS);
}

static enum said in_netfilter(const struct planes *p, const struct frame *f)
{
    struct hook_state state = {.hook = POST_ROUTING, .pf = f->data[12] == 0x08 ? 2 : 10};

    return p->netfilter < 0 ? NOT_RUN : run(p->netfilter, f, &state, sizeof(state), NETFILTER_PASS);
}

/* Reasons for which every plane that sees the packet must deny it. */
static bool is_common(enum berm_reason r)
{
    switch (r) {
    case BERM_REASON_MALFORMED:
    case BERM_REASON_IP_OPTIONS:
    case BERM_REASON_EXTENSION_HEADER:
    case BERM_REASON_ROUTING_HEADER:
    case BERM_REASON_TINY_FRAGMENT:
    case BERM_REASON_GUARDED:
    case BERM_REASON_GUARDED_EMBEDDED:
    case BERM_REASON_POLICY:
    case BERM_REASON_POLICY_DEFAULT:
        return true;
    default:
        return false;
    }
}

static void compare(struct planes *p, enum plane plane, enum said said, enum berm_reason device,
                    const struct frame *f)
{
    static const char *const names[] = {"the guard", "the policy engine", "the guard, translated"};
    char what[160];

    if (said == NOT_RUN)
        return;
    p->passed[plane] += said == PASSED;
    p->denied[plane] += said == DENIED;
    if (said == PASSED ? !is_common(device) : device != BERM_REASON_NONE)
        return;
    p->failures++;
    if (p->quiet)
        return;
    (void)snprintf(what, sizeof(what), "%s: %s, the device's program: %s", names[plane],
                   said == PASSED ? "passed" : "denied",
                   device == BERM_REASON_NONE ? "passed" : enforce_reason_name(device));
    mutate_fail(f, p->seed, what);
}

static bool has_extensions(const struct frame *f)
{
    uint8_t next = f->data[20];

    return f->data[12] == 0x86 && (next == 0 || next == 43 || next == 44 || next == 60);
}

static bool is_from_pod(const struct planes *p, const struct frame *f)
{
    uint8_t v4[16], v6[16];

    lab_address(p->judge.lab.hosts[LAB_POD].v4, v4);
    lab_address(p->judge.lab.hosts[LAB_POD].v6, v6);
    return f->data[12] == 0x08 ? !memcmp(f->data + 26, v4 + 12, 4) : !memcmp(f->data + 22, v6, 16);
}

static void one(struct planes *p, const struct frame *f, bool device_first)
{
    int guard = bpf_program__fd(p->guard->progs.cguard_egress),
        policy = bpf_program__fd(p->policy->progs.cpolicy_egress);
    enum berm_reason reason[BERM_ENGINE_MAX] = {0};
    enum said on_guard = NOT_RUN, on_policy = NOT_RUN;

    /* Link control is the kernel's own: no socket of a pod's, no cgroup. */
    if (f->size < 34 || !is_ip(f) || mutate_is_link_control(f))
        return;
    /* Whoever is first remembers the connection for the other. */
    for (int i = 0; i < 2; i++) {
        if (device_first == !i) {
            for (int e = 0; e < BERM_ENGINE_MAX; e++)
                reason[e] = judge_reason(&p->judge, (enum berm_engine)e, BERM_EGRESS, f);
        } else {
            on_guard = on_cgroup(p, guard, f);
            on_policy = on_cgroup(p, policy, f);
        }
    }
    compare(p, PLANE_GUARD, on_guard, reason[BERM_ENGINE_GUARD], f);
    compare(p, PLANE_POLICY, on_policy, reason[BERM_ENGINE_POLICY], f);
    /* There the header is read as it is, unless it belongs to a connection, which here none does.
     */
    if (is_from_pod(p, f) && !has_extensions(f) &&
        (reason[BERM_ENGINE_GUARD] == BERM_REASON_NONE ||
         reason[BERM_ENGINE_GUARD] == BERM_REASON_GUARDED ||
         reason[BERM_ENGINE_GUARD] == BERM_REASON_GUARDED_EMBEDDED))
        compare(p, PLANE_NETFILTER, in_netfilter(p, f), reason[BERM_ENGINE_GUARD], f);
}

static int netfilter_program(const struct planes *p)
{
    CLEANUP(close_fd) int link = -1;
    struct sys_link_info info;
    char path[320];

    (void)snprintf(path, sizeof(path), "%s/links/translated-guard-postrouting4", p->judge.e->dir);
    link = bpf_obj_get(path);
    return link >= 0 && sys_link_info(link, &info) == 0 ? bpf_prog_get_fd_by_id(info.prog_id) : -1;
}

static void open_planes(struct planes *p)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct error err = ERROR_INIT;

    judge_open(&p->judge);
    lab_default_route(&p->judge.lab);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.0/24", 6, 80, 443);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "fd77:2::/64", 17, 53, 53);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "169.254.0.0/16", -1, 0, 0);
    (void)enforce_set_rules(p->judge.e, "pod-1", &rules->rules, &err);
    free(rules);
    p->guard = planes_guard_bpf__open();
    p->policy = planes_policy_bpf__open();
    if (!p->guard || !p->policy || load_share_maps(p->judge.e, p->guard->obj, &err) < 0 ||
        load_share_maps(p->judge.e, p->policy->obj, &err) < 0 ||
        planes_guard_bpf__load(p->guard) < 0 || planes_policy_bpf__load(p->policy) < 0) {
        tap_ok(false, "load the programs for cgroups: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    p->guard->bss->planes_pod = (struct berm_cgroup){
        .exceptions = p->judge.device->guard.exceptions, .slot = p->judge.pod->slot, .known = 1};
    p->policy->bss->planes_pod =
        (struct berm_cgroup_rules){.known = 1, .pod = p->judge.device->policy};
    p->netfilter = netfilter_program(p);
}

static void try_frames(struct planes *p, long rounds)
{
    for (long i = 0; i < rounds && (p->quiet || p->failures < 5); i++) {
        struct frame f;

        mutate_base(&p->judge, &f);
        mutate(&f);
        one(p, &f, i % 2);
    }
}

/* A source that only a raw socket can write: what is sent there does not stay in the pod. */
static void loopback_source(const struct planes *p)
{
    static const char *const ends[2][2] = {{"127.0.0.1", "169.254.169.254"},
                                           {"::1", "fd00:ec2::254"}};
    const struct lab_host *h = &p->judge.lab.hosts[LAB_POD];

    for (int six = 0; six < 2; six++) {
        uint8_t src[16], dst[16];
        struct frame f;

        lab_address(ends[six][0], src);
        lab_address(ends[six][1], dst);
        frame_ether(&f, h->gateway_mac, h->mac, six ? 0x86dd : 0x0800);
        frame_ip(&f, six ? 6 : 4, src, dst, 64);
        frame_l4(&f, 17, 1000, 80, 0, 100);
        frame_end(&f);
        tap_ok(on_cgroup(p, bpf_program__fd(p->guard->progs.cguard_egress), &f) == DENIED,
               "cgroup: from %s to %s: denied", ends[six][0], ends[six][1]);
    }
}

/* The cgroup's guard does not know the pod and denies all: that must show. */
static void control(struct planes *p)
{
    p->guard->bss->planes_pod.known = BERM_CGROUP_UNKNOWN;
    p->quiet = true;
    p->failures = 0;
    try_frames(p, CONTROL_ROUNDS);
    tap_ok(p->failures > 0, "control: a plane that denies all is told from the others (%u frames)",
           p->failures);
}

int main(void)
{
    static const char *const names[] = {"guard on the cgroup", "policy engine on the cgroup",
                                        "guard behind the translation"};
    const char *seed_text = getenv("FUZZ_SEED"), *rounds_text = getenv("FUZZ_ROUNDS");
    long rounds = rounds_text ? atol(rounds_text) : 20000;
    static struct planes p;

    p.seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    open_planes(&p);
    mutate_seed(p.seed);
    try_frames(&p, rounds);
    for (int i = 0; i < PLANE_MAX; i++) {
        if (i == PLANE_NETFILTER && !p.passed[i] && !p.denied[i])
            tap_ok(true, "%s # SKIP this kernel tries no frames on it", names[i]);
        else
            tap_ok(p.failures == 0 && p.passed[i] > 0 && p.denied[i] > 0,
                   "seed %llu, %ld frames, %s: as on the device, %u passed, %u denied",
                   (unsigned long long)p.seed, rounds, names[i], p.passed[i], p.denied[i]);
    }
    loopback_source(&p);
    control(&p);
    planes_guard_bpf__destroy(p.guard);
    planes_policy_bpf__destroy(p.policy);
    close_fd(&p.netfilter);
    judge_close(&p.judge);
    return tap_end();
}
