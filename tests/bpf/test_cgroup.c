/*
 * Guard and policy on a cgroup, alone: the probing process sits in the pod's cgroup but in the
 * node's network namespace, where no device's programs see its packets.
 */
#include "agent/enforce/internal.h"
#include "common/cleanup.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

static char group[256];

/* Where cgroup v2 is mounted, as a folder of our own in it; false: nowhere. */
static bool make_group(void)
{
    CLEANUP(close_file) FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[512], at[200], type[32];

    while (mounts && fgets(line, sizeof(line), mounts)) {
        if (sscanf(line, "%*s %199s %31s", at, type) != 2 || strcmp(type, "cgroup2") != 0)
            continue;
        snprintf(group, sizeof(group), "%s/berm-t-%d", at, (int)getpid());
        return mkdir(group, 0755) == 0;
    }
    return false;
}

enum probe { CONNECT, SEND, CONNECT_SEND, MAPPED, UDPLITE, RAW, ANSWER };
enum { ANSWER_PORT = 6000 };

/* errno of the probe, run by a child inside the group. */
static int probe(enum probe kind, const char *address, int port)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int family = strchr(address, ':') || kind == MAPPED ? AF_INET6 : AF_INET, r = 0, fd;
        struct sockaddr_storage to;
        socklen_t size;
        char path[300], mapped[80];

        snprintf(path, sizeof(path), "%s/cgroup.procs", group);
        fd = open(path, O_WRONLY);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(255);
        snprintf(mapped, sizeof(mapped), "::ffff:%s", address);
        lab_sockaddr(kind == MAPPED ? mapped : address, port, &to, &size);
        fd = socket(family,
                    kind == CONNECT ? SOCK_STREAM | SOCK_NONBLOCK
                    : kind == RAW   ? SOCK_RAW
                                    : SOCK_DGRAM,
                    kind == UDPLITE ? IPPROTO_UDPLITE
                    : kind == RAW   ? IPPROTO_UDP
                                    : 0);
        if (fd < 0)
            _exit(errno);
        if (kind == ANSWER) {
            const struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(ANSWER_PORT)};

            if (bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0)
                _exit(errno);
        }
        if (kind == CONNECT || kind == CONNECT_SEND || kind == UDPLITE)
            r = connect(fd, (struct sockaddr *)&to, size);
        if (r == 0 && kind != CONNECT && kind != RAW)
            r = kind == SEND || kind == MAPPED || kind == ANSWER
                    ? (int)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size)
                    : (int)send(fd, "x", 1, 0);
        _exit(r < 0 && errno != EINPROGRESS ? errno : 0);
    }
    (void)waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void test_denied(struct judge *j)
{
    static const struct {
        enum probe kind;
        const char *name, *address;
    } rows[] = {
        {CONNECT, "TCP connect", "169.254.169.254"},
        {CONNECT, "TCP connect, IPv6", "fd00:ec2::254"},
        {SEND, "UDP sendto", "169.254.169.254"},
        {SEND, "UDP sendto, IPv6", "fd00:ec2::254"},
        {CONNECT_SEND, "UDP connect and send", "169.254.169.254"},
        {MAPPED, "UDP sendto, IPv4-mapped", "169.254.169.254"},
        {UDPLITE, "UDP-Lite connect and send", "169.254.169.254"},
        {RAW, "raw socket", "169.254.169.254"},
    };

    for (int on = 0; on < 2; on++) {
        (void)enforce_guard_set(j->e, on ? BERM_MODE_ALL : BERM_MODE_NONE, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            int tap = lab_tap(&j->lab.hosts[LAB_META]);
            int r = probe(rows[i].kind, rows[i].address, 80);
            unsigned seen;

            lab_settle(&j->lab);
            seen =
                lab_count(tap, strchr(rows[i].address, ':') ? "fd00:ec2::253" : "169.254.169.253")
                    .ip;
            tap_ok(on ? r == EPERM && seen == 0 : r == 0 && (seen > 0 || rows[i].kind == RAW),
                   "cgroup, guard %s: %s: %s, %u packets", on ? "on" : "off", rows[i].name,
                   strerror(r), seen);
            close(tap);
        }
    }
    tap_ok(probe(SEND, "169.254.169.254", 53) == 0, "exception: DNS");
    tap_ok(probe(CONNECT, j->lab.hosts[LAB_PEER].v4, 80) == 0, "others are reached");
    tap_ok(probe(SEND, "127.0.0.1", 80) == 0, "loopback is");
}

static void set_rules_of(struct judge *j, const char *uid, struct test_rules *rules)
{
    struct error err = ERROR_INIT;

    if (enforce_set_rules(j->e, uid, &rules->rules, &err) < 0)
        tap_ok(false, "set rules: %s", err.msg);
    free(rules);
}

static void set_rules(struct judge *j, struct test_rules *rules)
{
    set_rules_of(j, "pod-1", rules);
}

static void test_policy(struct judge *j)
{
    const char *peer = j->lab.hosts[LAB_PEER].v4, *peer6 = j->lab.hosts[LAB_PEER].v6;
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    int tap = lab_tap(&j->lab.hosts[LAB_PEER]);

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, peer, IPPROTO_TCP, 80, 80);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, peer, IPPROTO_UDP, 90, 99);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "169.254.0.0/16", -1, 0, 0);
    set_rules(j, rules);
    lab_settle(&j->lab);
    (void)lab_count(tap, "10.77.2.1");
    tap_ok(probe(CONNECT, peer, 81) == EPERM && probe(CONNECT, peer6, 80) == EPERM,
           "policy: a denied connection fails at once");
    tap_ok(probe(SEND, peer, 80) == EPERM && probe(CONNECT_SEND, peer6, 95) == EPERM,
           "policy: so does a denied datagram");
    lab_settle(&j->lab);
    tap_ok(lab_count(tap, "10.77.2.1").ip <= 8, "policy: nothing of it is on the wire");
    tap_ok(probe(CONNECT, peer, 80) == 0 && probe(SEND, peer, 95) == 0 &&
               probe(MAPPED, peer, 95) == 0,
           "policy: what is allowed goes");
    tap_ok(probe(CONNECT, "169.254.169.254", 80) == EPERM, "no rule opens what the guard denies");
    tap_ok(probe(CONNECT, "127.0.0.1", 81) != EPERM && probe(SEND, "::1", 81) != EPERM,
           "policy: loopback is the pod's own");
    (void)enforce_policy_set(j->e, BERM_MODE_NONE, NULL);
    tap_ok(probe(CONNECT, peer, 81) == 0 && probe(CONNECT, "169.254.169.254", 80) == EPERM,
           "policy off: open; the guard stays");
    (void)enforce_policy_set(j->e, BERM_MODE_ALL, NULL);
    (void)enforce_guard_set(j->e, BERM_MODE_NONE, NULL);
    tap_ok(probe(CONNECT, peer, 81) == EPERM && probe(CONNECT, "169.254.169.254", 80) == 0,
           "guard off: open; the policy stays");
    (void)enforce_guard_set(j->e, BERM_MODE_ALL, NULL);
    set_rules(j, rules_new(POLICY_ALLOW, POLICY_ALLOW));
    close(tap);
}

/* A datagram from the second pod, which opens a connection for answers. */
static void open_from(const struct lab_host *h, int port, const char *address)
{
    int fd = lab_socket(h, AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_storage own, to;
    socklen_t size;

    lab_sockaddr(h->v4, port, &own, &size);
    if (bind(fd, (struct sockaddr *)&own, size) < 0)
        tap_ok(false, "bind: %s", strerror(errno));
    lab_sockaddr(address, ANSWER_PORT, &to, &size);
    (void)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size);
    close(fd);
}

static uint64_t denied_to(struct judge *j, const char *uid)
{
    struct enforce_stats stats = {0};

    (void)enforce_stats(j->e, uid, &stats, NULL);
    return stats.engine[BERM_ENGINE_POLICY].denied[BERM_INGRESS][BERM_REASON_POLICY_DEFAULT];
}

/* errno of an answer from the group, in the peer's namespace, to what the second pod sent to a
 * Service that is translated to it; 255: nothing arrived. */
static int answer_service(const struct lab_host *h, const struct lab_host *server)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(ANSWER_PORT)}, from;
    int client = lab_socket(h, AF_INET, SOCK_DGRAM, 0), status;
    struct sockaddr_storage to;
    socklen_t size;
    pid_t pid = fork();

    if (pid == 0) {
        struct timeval wait = {.tv_sec = 5};
        char path[300], byte;
        int group_fd, fd;

        snprintf(path, sizeof(path), "%s/cgroup.procs", group);
        group_fd = open(path, O_WRONLY);
        if (group_fd < 0 || write(group_fd, "0", 1) != 1)
            _exit(255);
        fd = lab_socket(server, AF_INET, SOCK_DGRAM, 0);
        if (bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
            _exit(255);
        lab_sockaddr("10.96.0.10", 53, &to, &size);
        size = sizeof(from);
        if (sendto(client, "x", 1, 0, (struct sockaddr *)&to, sizeof(own)) != 1 ||
            recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&from, &size) != 1)
            _exit(255);
        _exit(sendto(fd, "y", 1, 0, (struct sockaddr *)&from, size) < 0 ? errno : 0);
    }
    close(client);
    (void)waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* What another pod of this node would not let in fails at the sender, at once. */
static void test_peer(struct judge *j)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD2];
    struct enforce_pod pod = {.uid = "pod-2", .netns_fd = h->netns_fd};
    struct test_rules *rules = rules_new(POLICY_ALLOW, POLICY_DENY);
    struct error err = ERROR_INIT;
    uint64_t before;
    int r;

    tap_ok(probe(CONNECT, h->v4, 81) == 0, "peer: not armed, nobody knows what it would say");
    tap_ok(enforce_arm(j->e, &pod, &err) == 0, "peer: armed %s", err.msg);
    tap_ok(probe(CONNECT, h->v4, 81) == 0 && probe(SEND, h->v4, 81) == 0,
           "peer: its rules are not known yet: no answer is given for it");
    rules_add(rules, POLICY_INGRESS, POLICY_ALLOW, NULL, IPPROTO_TCP, 80, 80);
    set_rules_of(j, "pod-2", rules);
    before = denied_to(j, "pod-2");
    tap_ok(probe(CONNECT, h->v4, 81) == EPERM && probe(CONNECT, h->v6, 81) == EPERM,
           "peer: a connection that its ingress denies fails at once");
    tap_ok(probe(SEND, h->v4, 80) == EPERM && probe(SEND, h->v6, 80) == EPERM,
           "peer: so does a datagram");
    tap_ok(denied_to(j, "pod-2") >= before + 4, "peer: counted as its ingress");
    tap_ok(probe(CONNECT, h->v4, 80) == 0 && probe(CONNECT, h->v6, 80) == 0,
           "peer: what it allows goes");
    open_from(h, 5000, "10.77.3.1");
    tap_ok(probe(ANSWER, h->v4, 5000) == 0, "peer: so do answers to what it opened itself");
    tap_ok(probe(ANSWER, h->v4, 5001) == EPERM, "peer: and no others");
    lab_run("nft 'add table ip svc; add chain ip svc pre { type nat hook prerouting priority -100; "
            "}; add rule ip svc pre ip daddr 10.96.0.10 udp dport 53 dnat to 10.77.2.2:%d'",
            ANSWER_PORT);
    set_rules(j, rules_new(POLICY_ALLOW, POLICY_ALLOW));
    r = answer_service(h, &j->lab.hosts[LAB_PEER]);
    tap_ok(r == 0, "peer: answers to what it opened by a Service go, too (%d)", r);
    lab_run("nft delete table ip svc");
    (void)enforce_set_audit(j->e, "pod-2", true, &err);
    tap_ok(probe(CONNECT, h->v4, 81) == 0, "peer: only watched: it would let it in");
    (void)enforce_set_audit(j->e, "pod-2", false, &err);
    (void)enforce_policy_set(j->e, BERM_MODE_SANDBOXED, NULL);
    tap_ok(probe(CONNECT, h->v4, 81) == 0, "peer: not bound by the switch: the same");
    (void)enforce_policy_set(j->e, BERM_MODE_ALL, NULL);
    (void)enforce_remove(j->e, "pod-2", &err);
    tap_ok(probe(CONNECT, h->v4, 81) == 0, "peer: gone");
}

static int to_service(struct judge *j, const struct enforce_backend *backends, size_t n)
{
    struct enforce_frontend f = {
        .protocol = IPPROTO_TCP, .port = 80, .backends = backends, .n_backends = n};
    struct error err = ERROR_INIT;

    lab_address("10.96.0.10", f.addr);
    if (enforce_set_frontends(j->e, &f, 1, &err) < 0)
        tap_ok(false, "%s", err.msg);
    return probe(CONNECT, "10.96.0.10", 80);
}

/* Its backend is chosen later, by the node: but if none is allowed, nothing is waited for. */
static void test_service(struct judge *j)
{
    const struct lab_host *a = &j->lab.hosts[LAB_PEER], *b = &j->lab.hosts[LAB_POD2];
    struct enforce_pod pod = {.uid = "pod-2", .netns_fd = b->netns_fd};
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct enforce_backend list[BERM_BACKENDS_MAX + 1] = {0};
    struct enforce_totals totals;
    struct error err = ERROR_INIT;
    uint64_t before;

    enforce_totals(j->e, &totals);
    if (!totals.translated) {
        tap_ok(true, "service # SKIP this kernel has no BPF programs in netfilter (6.4)");
        free(rules);
        return;
    }
    lab_run("ip route add 10.96.0.10 via 10.77.2.2");
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, a->v4, IPPROTO_TCP, 8080, 8080);
    set_rules(j, rules);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        lab_address(b->v4, list[i].addr);
        list[i].port = (uint16_t)(8080 + i);
    }
    tap_ok(to_service(j, list, 0) == 0, "service: backends not known: left to the node");
    tap_ok(to_service(j, list, 1) == EPERM, "service: its only backend denied: fails at once");
    tap_ok(to_service(j, list, BERM_BACKENDS_MAX) == EPERM, "service: so it does with all denied");
    tap_ok(to_service(j, list, BERM_BACKENDS_MAX + 1) == 0, "service: too many: left to the node");
    lab_address(a->v4, list[3].addr);
    tap_ok(to_service(j, list, 4) == EPERM, "service: an allowed backend's other port denied");
    list[3].port = 8080;
    tap_ok(to_service(j, list, 4) == 0, "service: one allowed: left to the node");
    tap_ok(to_service(j, list, 3) == EPERM, "service: and no more");
    set_rules(j, rules_new(POLICY_ALLOW, POLICY_ALLOW));
    tap_ok(to_service(j, list, 3) == 0, "service: all allowed");
    rules = rules_new(POLICY_ALLOW, POLICY_DENY);
    rules_add(rules, POLICY_INGRESS, POLICY_ALLOW, NULL, IPPROTO_TCP, 8081, 8081);
    tap_ok(enforce_arm(j->e, &pod, &err) == 0, "service: backend armed %s", err.msg);
    set_rules_of(j, "pod-2", rules);
    before = denied_to(j, "pod-2");
    tap_ok(to_service(j, list, 1) == EPERM && denied_to(j, "pod-2") > before,
           "service: denied by its backend's ingress, and counted there");
    tap_ok(to_service(j, list, 2) == 0, "service: another backend lets it in: left to the node");
    (void)enforce_set_frontends(j->e, NULL, 0, &err);
    tap_ok(bpf_map_get_next_key(j->e->maps[MAP_P_BACKENDS], NULL, list) < 0,
           "service: gone with all of its entries");
    (void)enforce_remove(j->e, "pod-2", &err);
}

int main(void)
{
    struct error err = ERROR_INIT;
    struct judge j;
    int fd, r;

    judge_open(&j);
    if (!make_group()) {
        printf("ok 1 - cgroup # SKIP no cgroup v2 that can be written\n");
        judge_close(&j);
        return EXIT_SUCCESS;
    }
    fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tap_ok(probe(CONNECT, "169.254.169.254", 80) == 0, "control: unarmed");
    r = enforce_arm_cgroup(j.e, "pod-1", fd, false, &err);
    tap_ok(r == 0, "armed %s", err.msg);
    tap_ok(probe(SEND, "10.77.2.2", 9) == EPERM, "rules unknown: nothing goes");
    set_rules(&j, rules_new(POLICY_ALLOW, POLICY_ALLOW));
    test_denied(&j);
    test_policy(&j);
    test_peer(&j);
    test_service(&j);
    r = enforce_arm_cgroup(j.e, "pod-1", fd, true, &err);
    tap_ok(r == 0 && probe(RAW, "10.77.2.2", 1) == 0, "raw sockets where they were granted");
    (void)enforce_sweep(j.e, &err);
    (void)bpf_link_detach(j.pod->cgroup_links[2]);
    tap_ok(enforce_sweep(j.e, &err) == 1 && probe(CONNECT, "169.254.169.254", 80) == EPERM,
           "a detached link is attached again %s", err.msg);
    enforce_close(j.e);
    tap_ok(probe(CONNECT, "169.254.169.254", 80) == EPERM, "it stays without the agent");
    {
        struct enforce_config config = {.pin_dir = j.lab.pin_dir};

        r = enforce_open(&config, &j.e, &err);
    }
    tap_ok(r == 0 && enforce_sweep(j.e, &err) == 0 &&
               probe(CONNECT, "169.254.169.254", 80) == EPERM,
           "and is taken over by the next %s", err.msg);
    (void)enforce_remove(j.e, "pod-1", &err);
    tap_ok(probe(CONNECT, "169.254.169.254", 80) == 0, "removed");
    close(fd);
    judge_close(&j);
    (void)rmdir(group);
    return tap_end();
}
