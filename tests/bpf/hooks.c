#include "tests/bpf/hooks.h"

#include "agent/enforce/sys.h"
#include "common/cleanup.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NEXT = -1, ALLOW = 1, ENGINES = 2 };

/* One for each engine, as there. */
static const struct {
    int program, attach;
    int engines;
} groups[] = {
    {BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 2},
    {BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 2},
    {BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE, 1},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, 2},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT, 2},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG, 1},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG, 1},
};
/* As in agent/enforce/translated.c. */
static const struct sys_netfilter netfilter[] = {
    {NFPROTO_IPV4, NF_INET_POST_ROUTING, 70},
    {NFPROTO_IPV4, NF_INET_POST_ROUTING, 80},
    {NFPROTO_IPV4, NF_INET_LOCAL_IN, 110},
    {NFPROTO_IPV4, NF_INET_LOCAL_IN, 120},
};

int hooks_empty(int type, int attach_type, int answer)
{
    const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = answer},
        {.code = BPF_JMP | BPF_EXIT},
    };
    struct bpf_prog_load_opts opts = {.sz = sizeof(opts),
                                      .expected_attach_type = (enum bpf_attach_type)attach_type};

    return bpf_prog_load((enum bpf_prog_type)type, "empty", "GPL", code, ARRAY_SIZE(code), &opts);
}

/* The link holds the program. */
static void keep(struct hooks *hooks, int program, int link, const char *where)
{
    if (program < 0 || link < 0 || hooks->n == HOOKS_MAX) {
        printf("an empty program at %s: %s\n", where, strerror(program < 0 ? -program : -link));
        exit(EXIT_FAILURE);
    }
    (void)close(program);
    hooks->links[hooks->n++] = link;
}

static void on_group(struct hooks *hooks, int group)
{
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        for (int k = 0; k < groups[i].engines; k++) {
            int program = hooks_empty(groups[i].program, groups[i].attach, ALLOW);

            keep(hooks, program,
                 bpf_link_create(program, group, (enum bpf_attach_type)groups[i].attach, NULL),
                 "a cgroup");
        }
    }
}

static void on_device(struct hooks *hooks, int ifindex)
{
    static const int directions[] = {SYS_TCX_INGRESS, SYS_TCX_EGRESS};

    for (size_t i = 0; i < ARRAY_SIZE(directions) * ENGINES; i++) {
        int program = hooks_empty(BPF_PROG_TYPE_SCHED_CLS, 0, NEXT);

        keep(hooks, program, sys_tcx_link(program, ifindex, directions[i / ENGINES], -1),
             "a device");
    }
}

void hooks_open(struct hooks *hooks, const struct traffic_end ends[2])
{
    hooks->n = 0;
    for (int i = 0; i < 2; i++) {
        if (ends[i].group >= 0)
            on_group(hooks, ends[i].group);
        on_device(hooks, ends[i].host->ifindex);
    }
    for (size_t i = 0; i < ARRAY_SIZE(netfilter); i++) {
        int program = hooks_empty(SYS_PROG_NETFILTER, SYS_ATTACH_NETFILTER, ALLOW);

        keep(hooks, program, sys_netfilter_link(program, &netfilter[i]), "a hook of netfilter");
    }
    lab_run("nft 'table inet hooks { "
            "chain p { type filter hook prerouting priority -300; }; "
            "chain f { type filter hook forward priority -300; }; "
            "chain i { type filter hook input priority -300; }; "
            "chain o { type filter hook output priority 10; }; }'");
}

void hooks_close(struct hooks *hooks)
{
    while (hooks->n > 0)
        (void)close(hooks->links[--hooks->n]);
    lab_run("nft delete table inet hooks");
}
