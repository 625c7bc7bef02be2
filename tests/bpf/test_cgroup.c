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

enum probe { CONNECT, SEND, CONNECT_SEND, MAPPED, UDPLITE, RAW };

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
        if (kind == CONNECT || kind == CONNECT_SEND || kind == UDPLITE)
            r = connect(fd, (struct sockaddr *)&to, size);
        if (r == 0 && kind != CONNECT && kind != RAW)
            r = kind == SEND || kind == MAPPED
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

static void set_rules(struct judge *j, struct test_rules *rules)
{
    struct error err = ERROR_INIT;

    if (enforce_set_rules(j->e, "pod-1", &rules->rules, &err) < 0)
        tap_ok(false, "set rules: %s", err.msg);
    free(rules);
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
