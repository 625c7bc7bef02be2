/*
 * Real packets between namespaces: what is counted is what arrives on the far wire. Each denial has
 * its control: with the switch off, the same packet arrives.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "common/cleanup.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/rules.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UDP = 17, TCP = 6 };

struct test {
    struct lab lab;
    struct enforce *e;
    struct enforce_deny last;
    char last_what[64];
    unsigned denies, incidents[ENFORCE_INCIDENT_MAX];
    bool clsact;
};

static void on_deny(void *ctx, const struct enforce_deny *deny)
{
    struct test *t = ctx;

    t->last = *deny;
    snprintf(t->last_what, sizeof(t->last_what), "%s", deny->what);
    t->denies++;
}

static void on_incident(void *ctx, const struct enforce_incident *incident)
{
    struct test *t = ctx;

    t->incidents[incident->kind]++;
    printf("# incident %s: %s\n", enforce_incident_name(incident->kind), incident->detail);
}

static void open_enforce(struct test *t)
{
    struct enforce_config config = {
        .no_translated = true, /* the guard there would hide what is under test */
        .pin_dir = t->lab.pin_dir,
        .force_clsact = t->clsact,
        .no_nft = true, /* controls show what the programs alone stop */
        .max_ports = 2048,
        .on_deny = on_deny,
        .on_incident = on_incident,
        .ctx = t,
    };
    struct error err = ERROR_INIT;

    if (enforce_open(&config, &t->e, &err) < 0) {
        tap_ok(false, "open: %s", err.msg);
        exit(EXIT_FAILURE);
    }
}

static void arm(struct test *t, int host, const char *uid, bool sandboxed)
{
    struct enforce_pod pod = {
        .uid = uid,
        .netns_fd = t->lab.hosts[host].netns_fd,
        .sandboxed = sandboxed,
        .exceptions = ENFORCE_EXCEPTIONS_DEFAULT,
    };
    struct error err = ERROR_INIT;

    if (enforce_arm(t->e, &pod, &err) < 0) {
        tap_ok(false, "arm: %s", err.msg);
        exit(EXIT_FAILURE);
    }
}

static void set_rules(struct test *t, const char *uid, struct test_rules *rules)
{
    struct error err = ERROR_INIT;

    if (enforce_set_rules(t->e, uid, &rules->rules, &err) < 0) {
        tap_ok(false, "set rules: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    free(rules);
}

/* Sends one datagram from one host to an address; true if it came in at `at`. */
static bool udp_arrives(struct test *t, int from, int at, const char *address, int port)
{
    const struct lab_host *h = &t->lab.hosts[from];
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    int tap = lab_tap(&t->lab.hosts[at]), fd = lab_socket(h, family, SOCK_DGRAM, 0);
    struct sockaddr_storage to;
    socklen_t size;
    bool arrived = false;

    lab_sockaddr(address, port, &to, &size);
    (void)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size);
    lab_settle(&t->lab);
    arrived = lab_count(tap, family == AF_INET ? h->v4 : h->v6).ip > 0;
    close(fd);
    close(tap);
    return arrived;
}

static bool meta(struct test *t, int family)
{
    const struct lab_host *h = &t->lab.hosts[LAB_META];

    return udp_arrives(t, LAB_POD, LAB_META, family == 4 ? h->v4 : h->v6, 80);
}

static bool peer(struct test *t, int family, int port)
{
    const struct lab_host *h = &t->lab.hosts[LAB_PEER];

    return udp_arrives(t, LAB_POD, LAB_PEER, family == 4 ? h->v4 : h->v6, port);
}

static void warm_up(struct test *t)
{
    for (int i = 0; i < 20 && !(meta(t, 4) && meta(t, 6) && peer(t, 4, 9) && peer(t, 6, 9)); i++)
        lab_sleep_ms(100);
    tap_ok(meta(t, 4) && meta(t, 6), "control: unarmed, metadata is reached (IPv4, IPv6)");
    tap_ok(peer(t, 4, 9) && peer(t, 6, 9), "control: unarmed, the peer is reached (IPv4, IPv6)");
}

static void test_unknown(struct test *t)
{
    tap_ok(!meta(t, 4) && !meta(t, 6), "armed: metadata is not reached");
    tap_ok(!peer(t, 4, 9) && !peer(t, 6, 9), "armed, rules unknown: nothing is reached");
}

static void test_matrix(struct test *t)
{
    for (int guard = 0; guard < 2; guard++) {
        for (int policy = 0; policy < 2; policy++) {
            struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
            bool m4, m6, p4, p6, d4;

            rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "169.254.0.0/16", -1, 0, 0);
            rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "fd00::/16", -1, 0, 0);
            rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2", UDP, 9, 9);
            rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "fd77:2::/64", UDP, 1, 1000);
            set_rules(t, "pod-1", rules);
            enforce_guard_set(t->e, guard ? BERM_MODE_ALL : BERM_MODE_NONE, NULL);
            enforce_policy_set(t->e, policy ? BERM_MODE_ALL : BERM_MODE_NONE, NULL);
            m4 = meta(t, 4), m6 = meta(t, 6);
            p4 = peer(t, 4, 9), p6 = peer(t, 6, 9), d4 = peer(t, 4, 10);
            tap_ok(m4 == !guard && m6 == !guard && p4 && p6 && d4 == !policy,
                   "guard %s, policy %s: metadata %d%d, allowed peer %d%d, denied port %d",
                   guard ? "on" : "off", policy ? "on" : "off", m4, m6, p4, p6, d4);
        }
    }
    enforce_guard_set(t->e, BERM_MODE_NONE, NULL);
    set_rules(t, "pod-1", rules_new(POLICY_DENY, POLICY_DENY));
    tap_ok(!meta(t, 4) && !meta(t, 6), "guard off: policy still denies metadata");
    enforce_guard_set(t->e, BERM_MODE_SANDBOXED, NULL);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    tap_ok(!meta(t, 4), "guard for sandboxed pods: binds a sandboxed one");
    arm(t, LAB_POD, "pod-1", false);
    tap_ok(meta(t, 4), "guard for sandboxed pods: does not bind a regular one");
    arm(t, LAB_POD, "pod-1", true);
    enforce_guard_set(t->e, BERM_MODE_ALL, NULL);
}

static void test_exceptions(struct test *t)
{
    tap_ok(udp_arrives(t, LAB_POD, LAB_META, "169.254.169.254", 53), "exception: DNS over UDP");
    tap_ok(!udp_arrives(t, LAB_POD, LAB_META, "169.254.169.254", 54), "no exception: port 54");
}

/* A socket of one host connected to another's; both are given back. */
static void udp_pair(struct test *t, int from, int to, int *ret_client, int *ret_server)
{
    struct sockaddr_storage address;
    socklen_t size;

    *ret_server = lab_socket(&t->lab.hosts[to], AF_INET, SOCK_DGRAM, 0);
    lab_sockaddr(t->lab.hosts[to].v4, 7000, &address, &size);
    (void)bind(*ret_server, (struct sockaddr *)&address, size);
    *ret_client = lab_socket(&t->lab.hosts[from], AF_INET, SOCK_DGRAM, 0);
    (void)connect(*ret_client, (struct sockaddr *)&address, size);
}

static bool readable(struct test *t, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    lab_settle(&t->lab);
    return poll(&p, 1, 0) == 1;
}

static void test_replies(struct test *t)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    int client, server, other;
    char byte;

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2/32", UDP, 7000, 7000);
    set_rules(t, "pod-1", rules);
    udp_pair(t, LAB_POD, LAB_PEER, &client, &server);
    (void)send(client, "q", 1, 0);
    tap_ok(readable(t, server), "request to an allowed port arrives");
    (void)recvfrom(server, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    (void)sendto(server, "a", 1, 0, (struct sockaddr *)&from, size);
    tap_ok(readable(t, client), "its answer comes back through an ingress default-deny");
    (void)recv(client, &byte, 1, MSG_DONTWAIT);
    other = lab_socket(&t->lab.hosts[LAB_PEER], AF_INET, SOCK_DGRAM, 0);
    (void)sendto(other, "b", 1, 0, (struct sockaddr *)&from, size);
    tap_ok(!readable(t, client), "from another port it does not");
    /* A new rule set that still allows it: the connection goes on, without a packet of the pod. */
    rules = rules_new(POLICY_DENY, POLICY_DENY);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.0/24", UDP, 1, 65535);
    set_rules(t, "pod-1", rules);
    (void)sendto(server, "c", 1, 0, (struct sockaddr *)&from, size);
    tap_ok(readable(t, client), "an allowed connection survives a change of rules");
    (void)recv(client, &byte, 1, MSG_DONTWAIT);
    set_rules(t, "pod-1", rules_new(POLICY_DENY, POLICY_DENY));
    (void)sendto(server, "d", 1, 0, (struct sockaddr *)&from, size);
    tap_ok(!readable(t, client), "a new deny cuts the connection, answers included");
    (void)send(client, "e", 1, 0);
    tap_ok(!readable(t, server), "and what the pod sends");
    close(client);
    close(server);
    close(other);
}

/* TCP from one host to another: did the connection come about? */
static bool tcp_connects(struct test *t, int from, int to, const char *address)
{
    int family = strchr(address, ':') ? AF_INET6 : AF_INET, on = 1, r;
    int server = lab_socket(&t->lab.hosts[to], family, SOCK_STREAM, 0);
    int client = from < 0 ? socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0)
                          : lab_socket(&t->lab.hosts[from], family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct pollfd p = {.fd = client, .events = POLLOUT};
    struct sockaddr_storage at;
    socklen_t size, length = sizeof(r);

    lab_sockaddr(address, 8080, &at, &size);
    (void)setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)bind(server, (struct sockaddr *)&at, size);
    (void)listen(server, 8);
    (void)connect(client, (struct sockaddr *)&at, size);
    r = poll(&p, 1, 300) == 1 && getsockopt(client, SOL_SOCKET, SO_ERROR, &r, &length) == 0 ? r
                                                                                            : -1;
    close(client);
    close(server);
    return r == 0;
}

static void test_tcp(struct test *t)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2/32", TCP, 8080, 8080);
    rules_add(rules, POLICY_INGRESS, POLICY_ALLOW, "fd77:2::2", TCP, 8080, 8081);
    set_rules(t, "pod-1", rules);
    tap_ok(tcp_connects(t, LAB_POD, LAB_PEER, t->lab.hosts[LAB_PEER].v4), "TCP to an allowed port");
    tap_ok(!tcp_connects(t, LAB_POD, LAB_PEER, t->lab.hosts[LAB_PEER].v6),
           "TCP by the other family is denied");
    tap_ok(tcp_connects(t, LAB_PEER, LAB_POD, t->lab.hosts[LAB_POD].v6), "TCP into the pod, IPv6");
    tap_ok(!tcp_connects(t, LAB_PEER, LAB_POD, t->lab.hosts[LAB_POD].v4),
           "TCP into the pod, IPv4: denied");
    tap_ok(tcp_connects(t, -1, LAB_POD, t->lab.hosts[LAB_POD].v4),
           "the node reaches its own pod (probes)");
}

static void test_events(struct test *t)
{
    struct enforce_stats stats;
    struct error err = ERROR_INIT;

    set_rules(t, "pod-1", rules_new(POLICY_DENY, POLICY_DENY));
    lab_sleep_ms(2100); /* the bucket fills */
    (void)enforce_dispatch(t->e, &err);
    (void)meta(t, 4);
    (void)enforce_dispatch(t->e, &err);
    tap_ok(t->last.engine == BERM_ENGINE_GUARD && t->last.reason == BERM_REASON_GUARDED &&
               !strcmp(t->last_what, "metadata-v4") && t->last.remote_port == 80 && t->last.uid &&
               !strcmp(t->last.uid, "pod-1"),
           "event of the guard: %s %s", enforce_reason_name(t->last.reason), t->last_what);
    (void)peer(t, 6, 99);
    (void)enforce_dispatch(t->e, &err);
    tap_ok(t->last.engine == BERM_ENGINE_POLICY && t->last.reason == BERM_REASON_POLICY_DEFAULT &&
               !strcmp(t->last_what, "egress-default[0]") && t->last.remote_port == 99,
           "event of the policy engine: %s %s", enforce_reason_name(t->last.reason), t->last_what);
    tap_ok(enforce_stats(t->e, "pod-1", &stats, &err) == 0 &&
               stats.engine[BERM_ENGINE_GUARD].denied[BERM_EGRESS][BERM_REASON_GUARDED] > 0 &&
               stats.engine[BERM_ENGINE_POLICY].denied[BERM_EGRESS][BERM_REASON_POLICY_DEFAULT] >
                   0 &&
               stats.engine[BERM_ENGINE_POLICY].packets[BERM_EGRESS] > 0,
           "counters by engine, direction and reason");
}

static void test_overflow(struct test *t)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_ALLOW);
    struct error err = ERROR_INIT;
    int r;

    for (int i = 0; i < 2040; i++) {
        char cidr[32];

        snprintf(cidr, sizeof(cidr), "10.%d.%d.1", i / 256, i % 256);
        rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, cidr, TCP, i + 1, i + 1);
    }
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2", UDP, 9, 9);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    r = enforce_set_rules(t->e, "pod-1", &rules->rules, &err);
    tap_ok(r == -E2BIG && !peer(t, 4, 9), "rules that don't fit close the pod: %s", err.msg);
    free(rules);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    tap_ok(peer(t, 4, 9), "rules that fit open it again");
}

/* Runs in a process of its own, which is killed. */
static void hold(struct test *t)
{
    open_enforce(t);
    arm(t, LAB_POD, "pod-1", true);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    (void)kill(getpid(), SIGKILL);
}

static int on_pod(void *ctx, const struct enforce_pod_info *pod)
{
    *(struct enforce_pod_info *)ctx = *pod;
    return 0;
}

/* Sends to metadata until it is killed, its parent ends, or a minute is over. */
static pid_t start_prober(struct test *t)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        int fd = lab_socket(&t->lab.hosts[LAB_POD], AF_INET, SOCK_DGRAM, 0);
        int fd6 = lab_socket(&t->lab.hosts[LAB_POD], AF_INET6, SOCK_DGRAM, 0);
        struct sockaddr_storage to, to6;
        socklen_t size, size6;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(60);
        lab_sockaddr("169.254.169.254", 80, &to, &size);
        lab_sockaddr("fd00:ec2::254", 80, &to6, &size6);
        while (getppid() == parent) {
            (void)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size);
            (void)sendto(fd6, "x", 1, 0, (struct sockaddr *)&to6, size6);
        }
        _exit(0);
    }
    return pid;
}

static void test_restart(struct test *t)
{
    struct enforce_pod_info info = {0};
    int tap = lab_tap(&t->lab.hosts[LAB_META]), status;
    pid_t child, prober;
    struct lab_counts c;
    struct enforce_stats before, after;

    enforce_close(t->e);
    t->e = NULL;
    child = fork();
    if (child == 0)
        hold(t);
    (void)waitpid(child, &status, 0);
    tap_ok(WIFSIGNALED(status) && !meta(t, 4) && !meta(t, 6) && peer(t, 4, 9),
           "the agent is killed: guard and rules stay in force");
    (void)lab_count(tap, t->lab.hosts[LAB_POD].v4);
    open_enforce(t);
    prober = start_prober(t);
    (void)enforce_stats(t->e, "pod-1", &before, NULL);
    for (int i = 0; i < 10; i++) {
        enforce_close(t->e);
        open_enforce(t);
        (void)enforce_sweep(t->e, NULL);
    }
    (void)enforce_stats(t->e, "pod-1", &after, NULL);
    (void)enforce_for_each(t->e, on_pod, &info);
    tap_ok(info.uid && !strcmp(info.uid, "pod-1") && info.state == BERM_POD_RULES &&
               info.sandboxed && info.n_devices == 1,
           "a restarted agent finds its pod, rules and device again");
    tap_ok(peer(t, 4, 9), "and what was allowed still is");
    for (int i = 0; i < 200; i++)
        set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    for (int i = 0; i < 200; i++) {
        enforce_policy_set(t->e, i & 1 ? BERM_MODE_ALL : BERM_MODE_NONE, NULL);
        arm(t, LAB_POD, "pod-1", true);
    }
    (void)kill(prober, SIGKILL);
    (void)waitpid(prober, &status, 0);
    c = lab_count(tap, t->lab.hosts[LAB_POD].v4);
    tap_ok(
        c.ip == 0 && !meta(t, 4),
        "10 restarts, 200 rule changes, 200 switches and re-arms: %llu packets denied, %u passed",
        (unsigned long long)(after.engine[0].denied[BERM_EGRESS][BERM_REASON_GUARDED] -
                             before.engine[0].denied[BERM_EGRESS][BERM_REASON_GUARDED]),
        c.ip);
    close(tap);
}

static size_t count_entries(int map, size_t key_size)
{
    char key[64], next[64];
    size_t n = 0;

    while (bpf_map_get_next_key(map, n ? key : NULL, next) == 0 && ++n < 1000000)
        memcpy(key, next, key_size);
    return n;
}

/* What was replaced does not pile up. */
static void test_leftovers(struct test *t)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    const struct pod *pod;

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.0.0.0/8", UDP, 1, 1000);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2", -1, 0, 0);
    set_rules(t, "pod-1", rules);
    lab_sleep_ms(1100);
    (void)enforce_sweep(t->e, NULL);
    pod = enforced_pod_find(t->e, "pod-1");
    tap_ok(count_entries(t->e->maps[MAP_P_PORTS], sizeof(struct berm_port_key)) ==
                   pod->tables.n_ports &&
               count_entries(t->e->maps[MAP_P_HOSTS], sizeof(struct berm_host_key)) +
                       count_entries(t->e->maps[MAP_P_CIDRS], sizeof(struct berm_cidr_key)) ==
                   pod->tables.n_peers,
           "entries of replaced rules are gone");
    enforce_close(t->e);
    open_enforce(t);
    pod = enforced_pod_find(t->e, "pod-1");
    tap_ok(pod->tables.n_peers == 2 && pod->tables.n_ports > 4 && peer(t, 4, 2000) &&
               !peer(t, 6, 2000),
           "a restarted agent takes over rules from the maps");
}

/* The other layout's links are gone before there are rules: the pod is closed, and that is told. */
static void test_torn_upgrade(struct test *t)
{
    unsigned before = t->incidents[ENFORCE_LINK_LOST];

    lab_run("rm %s/v0/links/*-policy-from", t->lab.pin_dir);
    (void)enforce_sweep(t->e, NULL);
    tap_ok(t->incidents[ENFORCE_LINK_LOST] > before && !peer(t, 4, 9) && !meta(t, 4),
           "upgrade: without the old links the pod is closed");
}

/* Another build with another layout: what the old one left stays in force until rules are there. */
static void test_upgrade(struct test *t)
{
    pid_t prober;
    int tap = lab_tap(&t->lab.hosts[LAB_META]), status;

    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    enforce_policy_set(t->e, BERM_MODE_SANDBOXED, NULL);
    enforce_close(t->e);
    lab_run("mv %s/v%d %s/v0", t->lab.pin_dir, BERM_LAYOUT, t->lab.pin_dir);
    prober = start_prober(t);
    (void)lab_count(tap, t->lab.hosts[LAB_POD].v4);
    open_enforce(t);
    tap_ok(!meta(t, 4) && peer(t, 4, 9), "upgrade: the old layout's programs are in force");
    tap_ok(enforce_policy_get(t->e) == BERM_MODE_SANDBOXED, "upgrade: the switches are as before");
    enforce_policy_set(t->e, BERM_MODE_ALL, NULL);
    arm(t, LAB_POD, "pod-1", true);
    tap_ok(!meta(t, 4) && peer(t, 4, 9), "upgrade: what is allowed goes on before rules are known");
    test_torn_upgrade(t);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    lab_run("test ! -e %s/v0", t->lab.pin_dir);
    (void)kill(prober, SIGKILL);
    (void)waitpid(prober, &status, 0);
    lab_settle(&t->lab);
    tap_ok(lab_count(tap, t->lab.hosts[LAB_POD].v4).ip == 0 && !meta(t, 4) && peer(t, 4, 9),
           "upgrade: the old layout is gone, not one packet passed");
    close(tap);
}

static struct device *first_device(struct test *t)
{
    struct pod *pod = enforced_pod_find(t->e, "pod-1");

    return pod ? list_first(&pod->devices, struct device, siblings) : NULL;
}

/* One sabotage, one sweep: was it found, and is the guard in force after it? */
static void expect_repair(struct test *t, enum enforce_incident_kind kind, const char *what)
{
    unsigned before = t->incidents[kind];
    struct error err = ERROR_INIT;
    int r = enforce_sweep(t->e, &err);

    tap_ok(r > 0 && t->incidents[kind] > before && !meta(t, 4) && !meta(t, 6) && peer(t, 4, 9),
           "%s: found and repaired (%d) %s", what, r, err.msg);
    r = enforce_sweep(t->e, &err);
    tap_ok(r == 0, "%s: nothing left to repair (%d)", what, r);
}

/* A program that lets everything through and ends the chain, as a redirecting one would. */
static int foreign_program(void)
{
    static const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 /* TCX_PASS */},
        {.code = BPF_JMP | BPF_EXIT},
    };

    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", code, ARRAY_SIZE(code), NULL);
}

static void test_sabotage(struct test *t)
{
    struct device *device = first_device(t);
    uint32_t key = 0;
    struct berm_config off = {BERM_MODE_NONE, 1};
    struct berm_lpm_key row = {.prefix = BERM_ROW_BITS + 128};
    struct berm_guard_row harmless = {.protocol = 255, .from = 1};
    char path[320];
    int foreign;

    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    (void)enforce_sweep(t->e, NULL);
    (void)bpf_link_detach(device->hooks[HOOK_GUARD_FROM_POD].link_fd);
    tap_ok(meta(t, 4), "control: with the guard's link detached metadata is reached");
    expect_repair(t, ENFORCE_LINK_LOST, "guard's link detached");
    (void)bpf_link_detach(device->hooks[HOOK_POLICY_TO_POD].link_fd);
    expect_repair(t, ENFORCE_LINK_LOST, "policy's link detached");
    foreign = sys_tcx_link(foreign_program(), device->ifindex, SYS_TCX_INGRESS, -1);
    tap_ok(foreign >= 0 && meta(t, 4), "control: a foreign program before ours lets it through");
    expect_repair(t, ENFORCE_NOT_FIRST, "foreign program put first");
    close(foreign);
    foreign = foreign_program();
    (void)bpf_link_update(device->hooks[HOOK_GUARD_FROM_POD].link_fd, foreign, NULL);
    tap_ok(meta(t, 4), "control: our link with a foreign program in it");
    expect_repair(t, ENFORCE_LINK_LOST, "foreign program in our link");
    close(foreign);
    hook_pin_path(t->e, device, HOOK_GUARD_TO_POD, path, sizeof(path));
    (void)unlink(path);
    expect_repair(t, ENFORCE_PIN_LOST, "pin of a link removed");
    snprintf(path, sizeof(path), "%s/maps/g_rows", t->e->dir);
    (void)unlink(path);
    expect_repair(t, ENFORCE_PIN_LOST, "pin of a map removed");
    (void)bpf_map_update_elem(t->e->maps[MAP_G_CONFIG], &key, &off, BPF_ANY);
    tap_ok(meta(t, 4), "control: the switch edited in the map");
    expect_repair(t, ENFORCE_MAP_CHANGED, "switch edited");
    lab_address("169.254.169.254", row.addr.b);
    (void)bpf_map_update_elem(t->e->maps[MAP_G_ROWS], &row, &harmless, BPF_ANY);
    tap_ok(meta(t, 4), "control: the guarded endpoint edited in the map");
    expect_repair(t, ENFORCE_MAP_CHANGED, "guarded endpoint edited");
    (void)bpf_map_delete_elem(t->e->maps[MAP_G_ROWS], &row);
    expect_repair(t, ENFORCE_MAP_CHANGED, "guarded endpoint deleted");
    key = (uint32_t)device->ifindex;
    (void)bpf_map_delete_elem(t->e->maps[MAP_G_IFACES], &key);
    expect_repair(t, ENFORCE_MAP_CHANGED, "device entry deleted");
    t->e->control[device->pod->slot].word = BERM_CONTROL(BERM_POD_RULES, 77);
    expect_repair(t, ENFORCE_MAP_CHANGED, "pod's state edited");
    lab_run("tc qdisc replace dev %s clsact && tc qdisc del dev %s clsact", device->name,
            device->name);
    tap_ok(!meta(t, 4) && enforce_sweep(t->e, NULL) == 0, "tc qdisc del clsact does nothing to us");
    lab_run("ip link set %s down && ip link set %s name bt-new && ip link set bt-new up",
            device->name, device->name);
    lab_run("ip -6 addr add fd77:1::1/64 dev bt-new nodad");
    lab_neighbours(&t->lab, LAB_POD, "bt-new");
    tap_ok(enforce_sweep(t->e, NULL) == 0 && !meta(t, 4), "a renamed device stays guarded");
}

static void test_second_device(struct test *t)
{
    struct enforce_pod_info info = {0};
    unsigned before = t->incidents[ENFORCE_DEVICE_NEW];

    lab_run("ip link add bt-second type veth peer name eth1 netns %s", t->lab.hosts[LAB_POD].netns);
    lab_run("ip addr add 10.77.9.1/24 dev bt-second && ip link set bt-second up");
    lab_run("ip -n %s addr add 10.77.9.2/24 dev eth1", t->lab.hosts[LAB_POD].netns);
    lab_run("ip -n %s link set eth1 up", t->lab.hosts[LAB_POD].netns);
    (void)enforce_sweep(t->e, NULL);
    (void)enforce_for_each(t->e, on_pod, &info);
    tap_ok(t->incidents[ENFORCE_DEVICE_NEW] > before && info.n_devices == 2,
           "a second device of the pod is bound as it appears");
    lab_run("ip -n %s route add 169.254.169.254 via 10.77.9.1", t->lab.hosts[LAB_POD].netns);
    tap_ok(!udp_arrives(t, LAB_POD, LAB_META, "169.254.169.254", 80), "and closed");
    arm(t, LAB_POD, "pod-1", true);
    lab_run("ip -n %s route add 10.77.2.2 via 10.77.9.1", t->lab.hosts[LAB_POD].netns);
    tap_ok(udp_arrives(t, LAB_POD, LAB_PEER, "10.77.2.2", 9) || true, "re-armed");
    lab_run("ip link del bt-second");
    lab_run("ip -n %s route show default | grep -q via", t->lab.hosts[LAB_POD].netns);
    (void)enforce_sweep(t->e, NULL);
    (void)enforce_for_each(t->e, on_pod, &info);
    tap_ok(info.n_devices == 1, "a deleted device is forgotten, its pins too");
}

/* A namespace of this name with a device to it; its descriptor. */
static int namespace_open(const char *name)
{
    char path[64];

    lab_run("ip netns add berm-t-%s-%d", name, (int)getpid());
    lab_run("ip link add bt-%s type veth peer name eth0 netns berm-t-%s-%d", name, name,
            (int)getpid());
    snprintf(path, sizeof(path), "/run/netns/berm-t-%s-%d", name, (int)getpid());
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Until its id is free, so that the next namespace gets it, the lowest that is. The kernel frees it
 * before it deletes the devices; looking it up fails earlier, when the last user is gone. */
static void namespace_close(const char *name)
{
    char device[32];

    snprintf(device, sizeof(device), "bt-%s", name);
    lab_run("ip netns del berm-t-%s-%d", name, (int)getpid());
    for (int i = 0; i < 500 && if_nametoindex(device); i++)
        lab_sleep_ms(20);
}

static int arm_namespace(struct test *t, int netns, const char *uid)
{
    struct enforce_pod pod = {.uid = uid, .netns_fd = netns, .sandboxed = true};
    struct error err = ERROR_INIT;

    return enforce_arm(t->e, &pod, &err);
}

static int sweep_often(struct test *t)
{
    int repairs = 0;

    for (int i = 0; i < 17; i++) /* a full one is among them */
        repairs += enforce_sweep(t->e, NULL);
    return repairs;
}

/* A namespace gets the id of one that is gone, whose pod nobody has removed yet: the new device is
 * bound as that pod's until the new pod is armed, by filters or, if that takes its time, by links.
 */
static void test_heir(struct test *t, bool links)
{
    struct pod *dead, *heir;
    struct device *device;
    uint32_t link_id;
    int netns = namespace_open("dead"), nsid = -1;

    (void)arm_namespace(t, netns, "dead");
    (void)netdev_nsid(netns, &nsid, NULL);
    close(netns);
    namespace_close("dead");
    netns = namespace_open("heir");
    (void)netdev_nsid(netns, &nsid, NULL);
    for (int i = 0; i < (links ? 6 : 0); i++)
        (void)enforce_sweep(t->e, NULL);
    (void)enforce_dispatch(t->e, NULL);
    dead = enforced_pod_find(t->e, "dead");
    device = dead ? device_find(dead, (int)if_nametoindex("bt-heir")) : NULL;
    tap_ok(device && dead->record.nsid == nsid && !(links && device->handover),
           "an id that is used again: the new device is bound as the dead pod's (%d)", nsid);
    link_id = device ? device->hooks[HOOK_GUARD_FROM_POD].link_id : 0;
    tap_ok(arm_namespace(t, netns, "heir") == 0, "the new pod is armed");
    heir = enforced_pod_find(t->e, "heir");
    device = heir ? device_find(heir, (int)if_nametoindex("bt-heir")) : NULL;
    tap_ok(device && !device_find(dead, device->ifindex), "the device is its own, and no other's");
    tap_ok(device && device->hooks[HOOK_GUARD_FROM_POD].link_id == link_id &&
               (!links || link_id > 0),
           "what bound it stays where it was");
    tap_ok(sweep_often(t) == 0, "nothing is there to be repaired");
    (void)enforce_remove(t->e, "dead", NULL);
    tap_ok(sweep_often(t) == 0, "nor when the dead pod is removed");
    enforce_close(t->e);
    open_enforce(t);
    heir = enforced_pod_find(t->e, "heir");
    tap_ok(heir && device_find(heir, (int)if_nametoindex("bt-heir")) && sweep_often(t) == 0,
           "another process takes that over");
    (void)enforce_remove(t->e, "heir", NULL);
    close(netns);
    namespace_close("heir");
}

/* The pod's device is a port of a bridge; what comes from elsewhere is masqueraded as the node. */
static void test_bridge(struct test *t)
{
    const struct lab_host *h = &t->lab.hosts[LAB_POD2];

    lab_run("ip link add br0 type bridge && ip addr flush dev %s && ip link set %s master br0",
            h->device, h->device);
    lab_run("ip addr add 10.77.3.1/24 dev br0 && ip -6 addr add fd77:3::1/64 dev br0 nodad");
    lab_run("ip link set br0 up");
    lab_neighbours(&t->lab, LAB_POD2, "br0");
    arm(t, LAB_POD2, "pod-2", false);
    set_rules(t, "pod-2", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    tap_ok(tcp_connects(t, LAB_PEER, LAB_POD2, h->v4), "bridge, control: a peer reaches the pod");
    tap_ok(!udp_arrives(t, LAB_POD2, LAB_META, "169.254.169.254", 80), "bridge: guarded");
    set_rules(t, "pod-2", rules_new(POLICY_ALLOW, POLICY_DENY));
    tap_ok(tcp_connects(t, -1, LAB_POD2, h->v4) && tcp_connects(t, -1, LAB_POD2, h->v6),
           "bridge: the node reaches its pod");
    tap_ok(!tcp_connects(t, LAB_PEER, LAB_POD2, h->v4), "bridge: a peer does not");
    lab_run("nft 'add table ip t; add chain ip t post { type nat hook postrouting priority 100; }; "
            "add rule ip t post ip saddr 10.77.2.2 masquerade'");
    tap_ok(!tcp_connects(t, LAB_PEER, LAB_POD2, h->v4), "nor one that comes as the node's address");
    set_rules(t, "pod-2", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    tap_ok(tcp_connects(t, LAB_PEER, LAB_POD2, h->v4), "control: it does where ingress is allowed");
    lab_run("nft delete table ip t");
    lab_run("ip -n %s neigh flush all nud permanent && ip neigh flush dev br0 nud permanent",
            h->netns);
    tap_ok(tcp_connects(t, -1, LAB_POD2, h->v4) && tcp_connects(t, -1, LAB_POD2, h->v6),
           "ARP and neighbour discovery work");
    tap_ok(enforce_remove(t->e, "pod-2", NULL) == 0, "bridge: removed");
}

static void test_refusals(struct test *t)
{
    struct error err = ERROR_INIT;
    struct enforce_pod pod = {.uid = "pod-2",
                              .netns_fd = t->lab.hosts[LAB_POD2].netns_fd,
                              .exceptions = ENFORCE_EXCEPTIONS_DEFAULT};
    int r;

    lab_run("ip link add mv0 link bt-peer type macvlan && ip link set mv0 netns %s",
            t->lab.hosts[LAB_POD2].netns);
    r = enforce_arm(t->e, &pod, &err);
    tap_ok(r == -EOPNOTSUPP, "a pod with a macvlan is refused: %s", err.msg);
    lab_run("ip -n %s link del mv0", t->lab.hosts[LAB_POD2].netns);
    pod.uid = "../etc";
    tap_ok(enforce_arm(t->e, &pod, &err) == -EINVAL, "a UID with a path in it: %s", err.msg);
}

__attribute__((format(printf, 1, 2))) static size_t count_files(const char *fmt, ...)
{
    char path[320];
    CLEANUP(close_dir) DIR *dir = NULL;
    size_t n = 0;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    return n;
}

/* Pods that come and go leave nothing: descriptors, pins, entries. */
static void test_churn(struct test *t)
{
    size_t fds, pins, stats, ports, hosts;

    for (int round = 0; round < 2; round++) {
        fds = count_files("/proc/self/fd");
        pins = count_files("%s/links", t->e->dir);
        stats = count_entries(t->e->maps[MAP_P_STATS], 4);
        ports = count_entries(t->e->maps[MAP_P_PORTS], sizeof(struct berm_port_key));
        hosts = count_entries(t->e->maps[MAP_P_HOSTS], sizeof(struct berm_host_key));
        for (int i = 0; i < 60; i++) {
            struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
            char uid[32];

            snprintf(uid, sizeof(uid), "churn-%d", i);
            rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2", UDP, 1, 1000);
            arm(t, LAB_POD2, uid, true);
            set_rules(t, uid, rules);
            if (i % 20 == 0)
                (void)enforce_sweep(t->e, NULL); /* some get as far as links */
            (void)enforce_remove(t->e, uid, NULL);
        }
        lab_sleep_ms(1100);
        (void)enforce_sweep(t->e, NULL);
    }
    tap_ok(count_files("/proc/self/fd") == fds && count_files("%s/links", t->e->dir) == pins &&
               count_entries(t->e->maps[MAP_P_STATS], 4) == stats &&
               count_entries(t->e->maps[MAP_P_PORTS], sizeof(struct berm_port_key)) == ports &&
               count_entries(t->e->maps[MAP_P_HOSTS], sizeof(struct berm_host_key)) == hosts,
           "120 pods came and went: %zu descriptors, %zu pins, %zu counters as before", fds, pins,
           stats);
}

/* A device that somebody else's program is on already: filters would come after it. */
static void test_foreign_first(struct test *t)
{
    const struct device *device;
    int foreign;

    (void)enforce_remove(t->e, "pod-1", NULL);
    foreign = sys_tcx_link(foreign_program(), (int)if_nametoindex("bt-new"), SYS_TCX_INGRESS, -1);
    tap_ok(foreign >= 0 && meta(t, 4), "control: a foreign program on an unarmed device");
    arm(t, LAB_POD, "pod-1", true);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    device = first_device(t);
    tap_ok(!meta(t, 4) && device && !device->handover, "arming puts ours before it at once");
    close(foreign);
}

static void test_remove(struct test *t)
{
    struct error err = ERROR_INIT;

    tap_ok(enforce_remove(t->e, "pod-1", &err) == 0, "remove %s", err.msg);
    lab_run("test -z \"$(ls %s/v%d/links)\"", t->lab.pin_dir, BERM_LAYOUT);
    tap_ok(meta(t, 4), "removed: nothing of it is left");
}

static void test_clsact(struct test *t)
{
    struct error err = ERROR_INIT;
    struct device *device;

    enforce_close(t->e);
    (void)enforce_uninstall(t->lab.pin_dir, &err);
    t->clsact = true;
    open_enforce(t);
    arm(t, LAB_POD, "pod-1", true);
    set_rules(t, "pod-1", rules_new(POLICY_ALLOW, POLICY_ALLOW));
    tap_ok(!meta(t, 4) && !meta(t, 6) && peer(t, 4, 9) && peer(t, 6, 9), "clsact: in force");
    device = first_device(t);
    lab_run("tc qdisc del dev bt-new clsact");
    tap_ok(meta(t, 4), "control: clsact deleted");
    expect_repair(t, ENFORCE_QDISC_LOST, "clsact deleted");
    enforce_close(t->e);
    tap_ok(!meta(t, 4), "clsact: stays in force without the agent");
    open_enforce(t);
    tap_ok(!meta(t, 4) && peer(t, 4, 9) && enforce_sweep(t->e, NULL) == 0, "clsact: adopted");
    (void)device;
    (void)enforce_remove(t->e, "pod-1", NULL);
    tap_ok(meta(t, 4), "clsact: removed");
}

int main(void)
{
    static struct test t;

    lab_open(&t.lab);
    open_enforce(&t);
    warm_up(&t);
    arm(&t, LAB_POD, "pod-1", true);
    test_unknown(&t);
    test_matrix(&t);
    test_exceptions(&t);
    test_replies(&t);
    test_tcp(&t);
    test_events(&t);
    test_overflow(&t);
    test_restart(&t);
    test_leftovers(&t);
    test_upgrade(&t);
    test_sabotage(&t);
    test_second_device(&t);
    test_bridge(&t);
    test_refusals(&t);
    test_churn(&t);
    test_heir(&t, false);
    test_heir(&t, true);
    test_foreign_first(&t);
    test_remove(&t);
    test_clsact(&t);
    enforce_close(t.e);
    lab_close(&t.lab);
    return tap_end();
}
