/*
 * What a verdict costs, and what traffic does: with nothing, with an nftables ruleset of the same
 * meaning, and enforced. One pod may reach 10,000 blocks of addresses and 1,000 peers. Of several
 * tries the best counts: a machine that does other work only makes them worse.
 * usage: bench [SECONDS of each measurement of traffic]
 */
#include "agent/enforce/internal.h"
#include "common/cleanup.h"
#include "tests/bpf/frames.h"
#include "tests/bpf/lab.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 10000, PEERS = 1000, PACKETS = 512, REPEAT = 1000, TRIES = 3, PORT = 5201 };
enum { TCP = 6, ACK = 0x10, ICMP_TIMESTAMP = 13 };

struct bench {
    struct lab lab;
    struct enforce *e;
    struct device *device;
    double seconds;
};

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

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
    lab_address(b->lab.hosts[LAB_PEER].v4, peers[PEERS].addr);
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
    fprintf(f, " } }\n set peers { type ipv4_addr; elements = { %s", b->lab.hosts[LAB_PEER].v4);
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

static int empty_program(void)
{
    static const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };

    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", code, ARRAY_SIZE(code), NULL);
}

static void verdicts(const struct bench *b)
{
    const int *programs = b->e->prog_fds[0];

    printf("one verdict, ns (%d packets, each %d times, %d tries) median   p99    max\n", PACKETS,
           REPEAT, TRIES);
    row(b, "an empty program", empty_program(), to_peer, true);
    row(b, "guard: an address that is not guarded", programs[HOOK_GUARD_FROM_POD], to_peer, true);
    row(b, "guard: metadata (denied, counted)", programs[HOOK_GUARD_FROM_POD], to_metadata, true);
    row(b, "policy: a known connection", programs[HOOK_POLICY_FROM_POD], to_peer, true);
    row(b, "policy: by rule, one of 1,000 peers", programs[HOOK_POLICY_FROM_POD], to_peer, false);
    row(b, "policy: by rule, in one of 10,000 blocks", programs[HOOK_POLICY_FROM_POD], to_block,
        false);
    row(b, "policy: denied by default, counted", programs[HOOK_POLICY_FROM_POD], to_nobody, true);
}

/* -- traffic ------------------------------------------------------------------------------- */

static pid_t serve(const struct bench *b)
{
    int fd = lab_socket(&b->lab.hosts[LAB_PEER], AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_storage at;
    socklen_t size;
    pid_t pid;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    lab_sockaddr("0.0.0.0", PORT, &at, &size);
    if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 1024) < 0)
        exit(EXIT_FAILURE);
    pid = fork();
    if (pid == 0) {
        static char buffer[1 << 18];

        for (;;) {
            int c = accept(fd, NULL, NULL);

            while (c >= 0 && read(c, buffer, sizeof(buffer)) > 0)
                ;
            if (c >= 0)
                (void)close(c);
        }
    }
    (void)close(fd);
    return pid;
}

static int dial(const struct bench *b)
{
    const struct linger none = {.l_onoff = 1}; /* no TIME_WAIT */
    int fd = lab_socket(&b->lab.hosts[LAB_POD], AF_INET, SOCK_STREAM, 0);
    struct sockaddr_storage at;
    socklen_t size;

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    lab_sockaddr(b->lab.hosts[LAB_PEER].v4, PORT, &at, &size);
    if (connect(fd, (struct sockaddr *)&at, size) < 0) {
        printf("connect: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    return fd;
}

struct traffic {
    double gbits, connections;
};

static struct traffic measure(const struct bench *b)
{
    static char buffer[1 << 17];
    pid_t server = serve(b);
    struct traffic t = {0};
    double begin = now(), took;
    int fd = dial(b);

    while ((took = now() - begin) < b->seconds)
        t.gbits += (double)MAX(write(fd, buffer, sizeof(buffer)), 0);
    (void)close(fd);
    t.gbits = t.gbits * 8 / took / 1e9;
    begin = now();
    while ((took = now() - begin) < b->seconds) {
        (void)close(dial(b));
        t.connections++;
    }
    t.connections /= took;
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    return t;
}

static void traffic_row(const char *name, const struct traffic *t, const struct traffic *none)
{
    printf("  %-34s %8.2f %6.1f %% %10.0f %6.1f %%\n", name, t->gbits, 100 * t->gbits / none->gbits,
           t->connections, 100 * t->connections / none->connections);
}

static void enforce(struct bench *b)
{
    struct enforce_config config = {.pin_dir = b->lab.pin_dir};
    struct enforce_pod pod = {.uid = "pod-1",
                              .netns_fd = b->lab.hosts[LAB_POD].netns_fd,
                              .exceptions = ENFORCE_EXCEPTIONS_DEFAULT};
    struct error err = ERROR_INIT;
    struct pod *armed;

    if (enforce_open(&config, &b->e, &err) < 0 || enforce_arm(b->e, &pod, &err) < 0) {
        printf("enforce: %s\n", err.msg);
        exit(EXIT_FAILURE);
    }
    set_rules(b);
    for (int i = 0; i < 3; i++) /* links in place of filters */
        (void)enforce_sweep(b->e, &err);
    armed = enforced_pod_find(b->e, "pod-1");
    b->device = armed ? list_first(&armed->devices, struct device, siblings) : NULL;
}

static void keep_best(struct traffic *best, struct traffic t)
{
    best->gbits = MAX(best->gbits, t.gbits);
    best->connections = MAX(best->connections, t.connections);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct traffic none = {0}, nft = {0}, ours = {0};
    struct error err = ERROR_INIT;

    setvbuf(stdout, NULL, _IOLBF, 0);
    b.seconds = argc > 1 ? atof(argv[1]) : 2;
    lab_open(&b.lab);
    for (int round = 0; round < TRIES; round++) {
        keep_best(&none, measure(&b));
        nft_rules(&b);
        keep_best(&nft, measure(&b));
        lab_run("nft delete table inet bench");
        enforce(&b);
        keep_best(&ours, measure(&b));
        if (round == TRIES - 1)
            verdicts(&b);
        enforce_close(b.e);
        (void)enforce_uninstall(b.lab.pin_dir, &err);
    }
    printf("TCP from a pod to a peer by the node      Gbit/s   ratio   new conn/s  ratio\n");
    traffic_row("nothing in force", &none, &none);
    traffic_row("nftables, the same meaning", &nft, &none);
    traffic_row("berm: guard and policy", &ours, &none);
    lab_close(&b.lab);
    return EXIT_SUCCESS;
}
