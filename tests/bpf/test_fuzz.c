/*
 * Mutated frames: whatever the guard lets through must not, by any reading, go to a guarded
 * address; whatever the policy engine lets through of a pod that is denied everything must be link
 * control. The reference reads frames the way a router and a host would, generously: through VLAN
 * tags and IP options, by source routes, with ports where there are any.
 *
 * FUZZ_SEED and FUZZ_ROUNDS choose the run; a failure prints its seed and the frame.
 */
#include "policy/guard.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/mutate.h"
#include "tests/bpf/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static bool is_guarded(const uint8_t addr[16], int protocol, int port)
{
    return guard_eval(addr, protocol, port).action == GUARD_DENY;
}

/* Does the IPv4 packet reach a guarded address, as a router sees it? */
static bool v4_guarded(const uint8_t *ip, size_t n)
{
    uint8_t addr[16] = {[10] = 0xff, [11] = 0xff};
    size_t header = (size_t)(ip[0] & 15) * 4;
    int port = -1;

    if (n < 20 || ip[0] >> 4 != 4 || header < 20)
        return false;
    memcpy(addr + 12, ip + 16, 4);
    if ((get16(ip + 6) & 0x1fff) == 0 && header + 4 <= n &&
        (ip[9] == 6 || ip[9] == 17 || ip[9] == 132))
        port = (int)get16(ip + header + 2);
    if (is_guarded(addr, ip[9], port))
        return true;
    for (size_t i = 20; i + 8 <= header && header <= n; i++) { /* a source route's hops */
        if (ip[i] != 131 && ip[i] != 137)
            continue;
        memcpy(addr + 12, ip + i + 3, 4);
        if (is_guarded(addr, 0, -1))
            return true;
    }
    return false;
}

static bool v6_guarded(const uint8_t *ip, size_t n)
{
    size_t at = 40;
    uint8_t next;
    int port = -1;

    if (n < 40 || ip[0] >> 4 != 6)
        return false;
    next = ip[6];
    for (int i = 0; i < 32 && at + 8 <= n; i++) {
        if (next == 43) { /* the last hop is what it is about */
            if (at + 24 <= n && is_guarded(ip + at + 8, 0, -1))
                return true;
        } else if (next == 44) {
            if (get16(ip + at + 2) & 0xfff8) {
                next = ip[at];
                at = n;
                break;
            }
            next = ip[at];
            at += 8;
            continue;
        } else if (next != 0 && next != 60) {
            break;
        }
        next = ip[at];
        at += ((size_t)ip[at + 1] + 1) * 8;
    }
    if (at + 4 <= n && (next == 6 || next == 17 || next == 132))
        port = (int)get16(ip + at + 2);
    return is_guarded(ip + 24, next, port);
}

static bool reference_guarded(const struct frame *f)
{
    size_t at = 12;
    unsigned type;

    while (at + 6 <= f->size && (get16(f->data + at) == 0x8100 || get16(f->data + at) == 0x88a8))
        at += 4;
    if (at + 2 > f->size)
        return false;
    type = get16(f->data + at);
    at += 2;
    if (type == 0x0800 && f->size - at >= 20)
        return v4_guarded(f->data + at, f->size - at);
    if (type == 0x86dd && f->size - at >= 40)
        return v6_guarded(f->data + at, f->size - at);
    return false;
}

/* A pod may always speak to itself. */
static bool is_to_itself(const struct judge *j, const struct frame *f)
{
    uint8_t v4[16], v6[16];

    lab_address(j->lab.hosts[LAB_POD].v4, v4);
    lab_address(j->lab.hosts[LAB_POD].v6, v6);
    return (get16(f->data + 12) == 0x0800 && !memcmp(f->data + 30, v4 + 12, 4)) ||
           (get16(f->data + 12) == 0x86dd && !memcmp(f->data + 38, v6, 16));
}

int main(void)
{
    const char *seed_text = getenv("FUZZ_SEED"), *rounds_text = getenv("FUZZ_ROUNDS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
    long rounds = rounds_text ? atol(rounds_text) : 100000;
    unsigned guarded = 0, let_through = 0, control = 0, failures = 0;
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct judge j;

    judge_open(&j);
    lab_default_route(&j.lab);
    (void)enforce_set_rules(j.e, "pod-1", &rules->rules, NULL);
    mutate_seed(seed);
    for (long i = 0; i < rounds && failures < 5; i++) {
        struct frame f;
        bool is, guard, policy;

        mutate_base(&j, &f);
        mutate(&f);
        is = reference_guarded(&f);
        guard = judge_pass(&j, BERM_ENGINE_GUARD, BERM_EGRESS, &f);
        policy = judge_pass(&j, BERM_ENGINE_POLICY, BERM_EGRESS, &f);
        guarded += is;
        let_through += guard;
        control += policy;
        if (is && guard) {
            mutate_fail(&f, seed, "the guard let a guarded address through");
            failures++;
        }
        if (policy && !mutate_is_link_control(&f) && !is_to_itself(&j, &f)) {
            mutate_fail(&f, seed, "the policy engine let through what it denies");
            failures++;
        }
    }
    tap_ok(failures == 0 && guarded > 0 && let_through > 0 && control > 0,
           "seed %llu, %ld frames: %u to guarded addresses, none passed; the guard let %u others "
           "through, a policy that denies all %u of link control",
           (unsigned long long)seed, rounds, guarded, let_through, control);
    judge_close(&j);
    free(rules);
    return tap_end();
}
