/*
 * How many entries the rules' maps have: a question that has no system call. Whoever adds one that
 * the agent did not write, or takes one away, changes it. And a comparison of some of them with
 * what the agent wrote, in one call for all.
 */
#include "bpf/lib/entries.h"
#include "bpf/lib/rules.h"

char LICENSE[] SEC("license") = "GPL";

struct berm_counts counts;
struct berm_checks checks;

/* Run by BPF_PROG_TEST_RUN alone; a program for system calls may not use such maps. */
SEC("tc")
int count_rules(struct __sk_buff *skb)
{
    (void)skb;
    counts.hosts = (__u64)bpf_map_sum_elem_count((const struct bpf_map *)&p_hosts);
    counts.cidrs = trie_entries(&p_cidrs);
    counts.ports = trie_entries(&p_ports);
    return 0;
}

INLINE int holds(const struct berm_check *c)
{
    const struct berm_verdict *verdict;
    const struct berm_class *class;

    if (c->map == BERM_CHECK_PORTS) {
        verdict = bpf_map_lookup_elem(&p_ports, &c->port);
        return verdict && verdict->allow == c->verdict.allow &&
               verdict->reason == c->verdict.reason && verdict->origin == c->verdict.origin &&
               verdict->name == c->verdict.name;
    }
    class = c->map == BERM_CHECK_HOSTS ? bpf_map_lookup_elem(&p_hosts, &c->host)
                                       : bpf_map_lookup_elem(&p_cidrs, &c->cidr);
    return class && class->id == c->class.id;
}

static long check_one(__u32 i, void *ctx)
{
    struct berm_check *c = &checks.list[i & (BERM_CHECKS_MAX - 1)];

    (void)ctx;
    c->differs = !holds(c);
    checks.differing += c->differs;
    return 0;
}

SEC("tc")
int check_rules(struct __sk_buff *skb)
{
    (void)skb;
    checks.differing = 0;
    bpf_loop(checks.n, check_one, 0, 0);
    return 0;
}
