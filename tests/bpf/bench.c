/*
 * What a verdict costs, and what traffic does: with nothing, with an nftables ruleset of the same
 * meaning, and enforced on all planes, in turns; ratios are of one turn, and the median counts. One
 * pod may reach 10,000 blocks of addresses and 1,000 peers, and the other one is among these.
 * usage: bench [SECONDS of each measurement of traffic [TURNS; 0: no traffic]]
 */
#include "agent/enforce/internal.h"
#include "common/cleanup.h"
#include "tests/bpf/frames.h"
#include "tests/bpf/hooks.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/traffic.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 10000, PEERS = 1000, PACKETS = 512, REPEAT = 1000, TRIES = 3, TURNS_MAX = 50 };
enum { TCP = 6, ACK = 0x10, ICMP_TIMESTAMP = 13 };

struct bench {
    struct lab lab;
    struct enforce *e;
    struct device *device;
    char group[64];
    struct traffic_end ends[2]; /* client, server */
};

/* -- who may be reached ------------------------------------------------------------------- */

/* Blocks 20.0.0.0/24 and on, every other one; peers 30.0.x.y; and the lab's peer. */
static uint32_t block(size_t i)
{
    return 20U << 24 | (uint32_t)i << 9;
}

static uint32_t peer(size_t i)
{
    return 30U << 24 | (uint32_t)i;
}

static void mapped(uint32_t v4, uint8_t ret[16])
{
    memset(ret, 0, 16);
    ret[10] = ret[11] = 0xff;
    for (int i = 0; i < 4; i++)
        ret[12 + i] = (uint8_t)(v4 >> (24 - 8 * i));
}

static void set_rules(struct bench *b)
{
    static struct policy_cidr blocks[BLOCKS], peers[PEERS + 1];
    static struct policy_rule list[2] = {
        {.verdict = POLICY_ALLOW, .any_port = true, .cidrs = blocks, .n_cidrs = BLOCKS},
        {.verdict = POLICY_ALLOW, .any_port = true, .cidrs = peers, .n_cidrs = PEERS + 1},
    };
    static char name[] = "bench";
    static char *names[] = {name};
    struct policy_rules rules = {.names = names, .n_names = 1};
    struct error err = ERROR_INIT;

    for (size_t i = 0; i < BLOCKS; i++) {
        mapped(block(i), blocks[i].addr);
        blocks[i].prefix = 96 + 24;
    }
    for (size_t i = 0; i < PEERS; i++)
        mapped(peer(i), peers[i].addr);
    lab_address(b->lab.hosts[LAB_POD2].v4, peers[PEERS].addr);
    for (size_t i = 0; i <= PEERS; i++)
        peers[i].prefix = 128;
    rules.dir[POLICY_EGRESS].rules = list;
    rules.dir[POLICY_EGRESS].n_rules = 2;
    rules.dir[POLICY_EGRESS].fallback = POLICY_DENY;
    rules.dir[POLICY_EGRESS].isolated = true;
    rules.dir[POLICY_INGRESS].fallback = POLICY_ALLOW;
    if (enforce_set_rules(b->e, "pod-1", &rules, &err) < 0) {
        printf("rules: %s\n", err.msg);
        exit(EXIT_FAILURE);
    }
}

/* The other end lets its client in by a rule, and nobody else. */
static void set_server_rules(struct bench *b)
{
    static struct policy_cidr client;
    static struct policy_rule rule = {
        .verdict = POLICY_ALLOW, .any_port = true, .cidrs = &client, .n_cidrs = 1};
    static char name[] = "server";
    static char *names[] = {name};
    struct policy_rules rules = {.names = names, .n_names = 1};
    struct error err = ERROR_INIT;

    lab_address(b->lab.hosts[LAB_POD].v4, client.addr);
    client.prefix = 128;
    rules.dir[POLICY_INGRESS].rules = &rule;
    rules.dir[POLICY_INGRESS].n_rules = 1;
    rules.dir[POLICY_INGRESS].fallback = POLICY_DENY;
    rules.dir[POLICY_INGRESS].isolated = true;
    rules.dir[POLICY_EGRESS].fallback = POLICY_ALLOW;
    if (enforce_set_rules(b->e, "pod-2", &rules, &err) < 0) {
        printf("rules: %s\n", err.msg);
        exit(EXIT_FAILURE);
    }
}

static void nft_rules(const struct bench *b)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/tmp/berm-bench-%d.nft", (int)getpid());
    f = fopen(path, "we");
    if (!f)
        exit(EXIT_FAILURE);
    fprintf(f, "table inet bench {\n set guarded { type ipv4_addr; elements = { 169.254.169.254, "
               "168.63.129.16, 100.100.100.200 } }\n set blocks { type ipv4_addr; flags interval; "
               "elements = { ");
    for (size_t i = 0; i < BLOCKS; i++)
        fprintf(f, "%u.%u.%u.0/24,", block(i) >> 24, block(i) >> 16 & 255, block(i) >> 8 & 255);
    fprintf(f, " } }\n set peers { type ipv4_addr; elements = { %s", b->lab.hosts[LAB_POD2].v4);
    for (size_t i = 0; i < PEERS; i++)
        fprintf(f, ",30.0.%u.%u", (unsigned)i >> 8, (unsigned)i & 255);
    fprintf(f,
            " } }\n chain f { type filter hook forward priority 0;\n ip daddr @guarded drop\n "
            "ct state established,related accept\n iifname %s ip daddr @peers accept\n "
            "iifname %s ip daddr @blocks accept\n iifname %s drop\n }\n}\n",
            b->lab.hosts[LAB_POD].device, b->lab.hosts[LAB_POD].device,
            b->lab.hosts[LAB_POD].device);
    fclose(f);
    lab_run("nft -f %s", path);
    (void)unlink(path);
}

/* -- verdicts ----------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void make_packet(const struct bench *b, uint32_t to, uint16_t port, bool tcp,
                        struct frame *f)
{
    const struct lab_host *pod = &b->lab.hosts[LAB_POD];
    uint8_t src[16], dst[16];

    memset(f, 0, sizeof(*f));
    lab_address(pod->v4, src);
    mapped(to, dst);
    frame_ether(f, pod->gateway_mac, pod->mac, 0x0800);
    frame_ip(f, 4, src, dst, 64);
    if (tcp)
        frame_l4(f, TCP, port, 443, ACK, 20);
    else
        frame_icmp(f, ICMP_TIMESTAMP, port);
    frame_end(f);
}

static uint32_t run_one(const struct bench *b, int program, const struct frame *f, int repeat)
{
    struct __sk_buff ctx = {.ifindex = (uint32_t)b->device->ifindex};
    struct bpf_test_run_opts opts;

    memset(&opts, 0, sizeof(opts));
    opts.sz = sizeof(opts);
    opts.data_in = f->data;
    opts.data_size_in = (uint32_t)f->size;
    opts.ctx_in = &ctx;
    opts.ctx_size_in = sizeof(ctx);
    opts.repeat = repeat;
    if (bpf_prog_test_run_opts(program, &opts) < 0) {
        printf("BPF_PROG_TEST_RUN: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    return opts.duration;
}

/* to(i): destinations. */
static void row(const struct bench *b, const char *name, int program, uint32_t (*to)(size_t),
                bool tcp)
{
    static uint32_t ns[PACKETS];
    static struct frame f;

    for (size_t i = 0; i < PACKETS; i++) {
        make_packet(b, to(i), (uint16_t)(1024 + i), tcp, &f);
        (void)run_one(b, program, &f, 1); /* a flow's first packet is another's cost */
        ns[i] = UINT32_MAX;
        for (int k = 0; k < TRIES; k++)
            ns[i] = MIN(ns[i], run_one(b, program, &f, REPEAT));
    }
    qsort(ns, PACKETS, sizeof(*ns), compare);
    printf("  %-46s %6u %6u %6u\n", name, ns[PACKETS / 2], ns[PACKETS * 99 / 100], ns[PACKETS - 1]);
}

static uint32_t to_block(size_t i)
{
    return block(i * 19 % BLOCKS) | 7;
}

static uint32_t to_peer(size_t i)
{
    return peer(i * 7 % PEERS);
}

static uint32_t to_nobody(size_t i)
{
    return 40U << 24 | (uint32_t)i << 8 | 1;
}

static uint32_t to_metadata(size_t i)
{
    (void)i;
    return 0xa9fea9fe;
}

static void verdicts(const struct bench *b)
{
    const int *programs = b->e->prog_fds[0];

    printf("one verdict, ns (%d packets, each %d times, %d tries) median   p99    max\n", PACKETS,
           REPEAT, TRIES);
    row(b, "an empty program", hooks_empty(BPF_PROG_TYPE_SCHED_CLS, 0, -1), to_peer, true);
    row(b, "guard: an address that is not guarded", programs[HOOK_GUARD_FROM_POD], to_peer, true);
    row(b, "guard: metadata (denied, counted)", programs[HOOK_GUARD_FROM_POD], to_metadata, true);
    row(b, "policy: a known connection", programs[HOOK_POLICY_FROM_POD], to_peer, true);
    row(b, "policy: by rule, one of 1,000 peers", programs[HOOK_POLICY_FROM_POD], to_peer, false);
    row(b, "policy: by rule, in one of 10,000 blocks", programs[HOOK_POLICY_FROM_POD], to_block,
        false);
    row(b, "policy: denied by default, counted", programs[HOOK_POLICY_FROM_POD], to_nobody, true);
}

/* -- traffic ------------------------------------------------------------------------------- */

enum way { NOTHING, NFTABLES, HOOKS, BERM, WAYS };
enum figure { BYTES, IPERF, CONNECTIONS, FIGURES };
static double figures[WAYS][FIGURES][TURNS_MAX];

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *list, int n)
{
    double sorted[TURNS_MAX];

    memcpy(sorted, list, (size_t)n * sizeof(*list));
    qsort(sorted, (size_t)n, sizeof(*sorted), compare_doubles);
    return sorted[n / 2];
}

/* Of the ratios to the same turn's with nothing in force. */
static double ratio(enum way way, enum figure figure, int turns)
{
    double list[TURNS_MAX];

    for (int i = 0; i < turns; i++)
        list[i] = 100 * figures[way][figure][i] / figures[NOTHING][figure][i];
    return median(list, turns);
}

static void traffic_table(int turns)
{
    static const char *const ways[WAYS] = {"nothing in force", "nftables, the same meaning",
                                           "the same hooks, empty programs",
                                           "berm: guard and policy"};
    bool iperf = figures[NOTHING][IPERF][0] > 0;

    printf("TCP from pod to pod, median of %d turns   Gbit/s  ratio  iperf3  ratio  new conn/s  "
           "ratio\n",
           turns);
    for (enum way way = 0; way < WAYS; way++) {
        printf("  %-36s %8.2f %6.1f%%", ways[way], median(figures[way][BYTES], turns),
               ratio(way, BYTES, turns));
        if (iperf)
            printf(" %6.2f %6.1f%%", median(figures[way][IPERF], turns), ratio(way, IPERF, turns));
        else
            printf(" %14s", "-");
        printf(" %10.0f %6.1f%%\n", median(figures[way][CONNECTIONS], turns),
               ratio(way, CONNECTIONS, turns));
    }
    if (!iperf)
        puts("  (no iperf3 here: apt-get install iperf3)");
}

static void measure(const struct bench *b, enum way way, int turn, double seconds)
{
    struct traffic t;

    traffic_measure(&b->ends[0], &b->ends[1], seconds, &t);
    figures[way][BYTES][turn] = t.gbits;
    figures[way][IPERF][turn] = t.iperf_gbits;
    figures[way][CONNECTIONS][turn] = t.connections;
}

/* -- enforcement ----------------------------------------------------------------------------- */

static void must(int r, const struct error *err)
{
    if (r >= 0)
        return;
    printf("enforce: %s\n", err->msg);
    exit(EXIT_FAILURE);
}

static void arm(struct bench *b, const char *uid, const struct traffic_end *end)
{
    struct enforce_pod pod = {
        .uid = uid, .netns_fd = end->host->netns_fd, .exceptions = ENFORCE_EXCEPTIONS_DEFAULT};
    struct error err = ERROR_INIT;

    must(enforce_arm(b->e, &pod, &err), &err);
    if (end->group >= 0)
        must(enforce_arm_cgroup(b->e, uid, end->group, false, &err), &err);
}

static void enforce(struct bench *b)
{
    struct enforce_config config = {.pin_dir = b->lab.pin_dir};
    struct error err = ERROR_INIT;
    struct pod *armed;

    must(enforce_open(&config, &b->e, &err), &err);
    arm(b, "pod-1", &b->ends[0]);
    arm(b, "pod-2", &b->ends[1]);
    set_rules(b);
    set_server_rules(b);
    for (int i = 0; i < 4; i++) /* links in place of filters */
        must(enforce_sweep(b->e, &err), &err);
    armed = enforced_pod_find(b->e, "pod-1");
    b->device = armed ? list_first(&armed->devices, struct device, siblings) : NULL;
}

static void stop(struct bench *b)
{
    struct error err = ERROR_INIT;

    enforce_close(b->e);
    (void)enforce_uninstall(b->lab.pin_dir, &err);
}

/* Without cgroup v2: sockets are judged on devices alone. */
static void open_ends(struct bench *b)
{
    static const int hosts[2] = {LAB_POD, LAB_POD2};
    struct error err = ERROR_INIT;
    char path[96];

    snprintf(b->group, sizeof(b->group), "/berm-t-bench-%d", (int)getpid());
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%d", b->group, i);
        b->ends[i].host = &b->lab.hosts[hosts[i]];
        b->ends[i].group = enforce_cgroup_open(path, &err);
    }
    if (b->ends[0].group < 0)
        puts("no cgroup v2 here: sockets are judged on devices alone");
}

static void close_ends(const struct bench *b)
{
    lab_run(
        "for d in /0 /1 ''; do rmdir /sys/fs/cgroup%s$d /sys/fs/cgroup/unified%s$d 2>/dev/null; "
        "done; true",
        b->group, b->group);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct hooks hooks;
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    int turns = argc > 2 ? MIN(atoi(argv[2]), (int)TURNS_MAX) : 5;

    setvbuf(stdout, NULL, _IOLBF, 0);
    lab_open(&b.lab);
    open_ends(&b);
    enforce(&b);
    verdicts(&b);
    stop(&b);
    for (int turn = 0; turn < turns; turn++) {
        measure(&b, NOTHING, turn, seconds);
        nft_rules(&b);
        measure(&b, NFTABLES, turn, seconds);
        lab_run("nft delete table inet bench");
        hooks_open(&hooks, b.ends);
        measure(&b, HOOKS, turn, seconds);
        hooks_close(&hooks);
        enforce(&b);
        measure(&b, BERM, turn, seconds);
        stop(&b);
    }
    if (turns > 0)
        traffic_table(turns);
    close_ends(&b);
    lab_close(&b.lab);
    return EXIT_SUCCESS;
}
