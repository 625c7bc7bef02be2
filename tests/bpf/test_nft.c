/*
 * Plane C alone: the guard's programs are taken off the pod's device, and what then stops a packet
 * is the table in nftables. Also by translation, and after others flushed the ruleset.
 */
#include "common/cleanup.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned table_changed;

static void on_incident(void *ctx, const struct enforce_incident *incident)
{
    (void)ctx;
    table_changed += incident->kind == ENFORCE_TABLE_CHANGED;
    printf("# incident %s: %s\n", enforce_incident_name(incident->kind), incident->detail);
}

/* One datagram from a host's namespace (-1: the node itself); did it come to the metadata server?
 */
static bool reaches(struct judge *j, int from, const char *address, int port, const char *source)
{
    int family = strchr(address, ':') ? AF_INET6 : AF_INET, tap = lab_tap(&j->lab.hosts[LAB_META]);
    int fd = from < 0 ? socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)
                      : lab_socket(&j->lab.hosts[from], family, SOCK_DGRAM, 0);
    struct sockaddr_storage to;
    socklen_t size;
    bool arrived;

    lab_sockaddr(address, port, &to, &size);
    (void)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size);
    lab_settle(&j->lab);
    arrived = lab_count(tap, source).ip > 0;
    close(fd);
    close(tap);
    return arrived;
}

static bool pod_reaches(struct judge *j, const char *address, int port)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];

    return reaches(j, LAB_POD, address, port, strchr(address, ':') ? h->v6 : h->v4);
}

static void open_again(struct judge *j)
{
    struct enforce_config config = {
        .pin_dir = j->lab.pin_dir, .no_translated = true, .on_incident = on_incident};
    struct error err = ERROR_INIT;

    enforce_close(j->e);
    if (enforce_open(&config, &j->e, &err) < 0) {
        tap_ok(false, "open: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    j->pod = enforced_pod_find(j->e, "pod-1");
    j->device = list_first(&j->pod->devices, struct device, siblings);
}

static void allow_all(struct judge *j)
{
    struct test_rules *rules = rules_new(POLICY_ALLOW, POLICY_ALLOW);
    struct error err = ERROR_INIT;

    if (enforce_set_rules(j->e, "pod-1", &rules->rules, &err) < 0)
        tap_ok(false, "set rules: %s", err.msg);
    free(rules);
}

static void detach_guard(struct judge *j)
{
    if (!j->device)
        exit(EXIT_FAILURE);
    (void)bpf_link_detach(j->device->hooks[HOOK_GUARD_FROM_POD].link_fd);
    (void)bpf_link_detach(j->device->hooks[HOOK_GUARD_TO_POD].link_fd);
}

static void test_addresses(struct judge *j)
{
    static const struct {
        const char *address;
        int port;
        bool denied;
    } rows[] = {
        {"169.254.169.254", 80, true},          {"169.254.169.254", 53, false},
        {"169.254.169.254", 54, true},          {"168.63.129.16", 80, true},
        {"168.63.129.16", 53, false},           {"169.254.2.7", 3260, false},
        {"169.254.20.10", 53, false},           {"fd00:ec2::254", 80, true},
        {"fd20:ce::254", 123, false},           {"fd20:ce::254", 124, true},
        {"64:ff9b::a9fe:a9fe", 80, true},       {"64:ff9b::a4d:202", 80, false},
        {"2002:a9fe:a9fe::1", 80, true},        {"64:ff9b:1:a9fe:a9:fe00::", 80, true},
        {"64:ff9b:1:12a9:fe:a9fe::", 80, true}, {"fd77:9::5efe:a9fe:a9fe", 80, true},
        {"fd77:9::5efe:a4d:202", 80, false},    {"2001:0:1::1", 80, true},
        {"64:ff9b::a9fe:205", 80, true},        {"100.100.100.200", 80, true},
    };

    lab_run("ip route add 100.100.100.200 via 169.254.169.254 dev bt-meta onlink");
    lab_run("ip route add 168.63.129.16 via 169.254.169.254 dev bt-meta onlink");
    lab_run("ip route add 169.254.0.0/16 via 169.254.169.254 dev bt-meta onlink");
    lab_run("ip -6 route add default via fd00:ec2::254 dev bt-meta onlink");
    for (int on = 0; on < 2; on++) {
        struct error err = ERROR_INIT;

        if (enforce_guard_set(j->e, on ? BERM_MODE_ALL : BERM_MODE_NONE, &err) < 0)
            tap_ok(false, "switch: %s", err.msg);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            bool got = pod_reaches(j, rows[i].address, rows[i].port);

            tap_ok(got == !(on && rows[i].denied), "nft, guard %s: %s port %d %s",
                   on ? "on" : "off", rows[i].address, rows[i].port, got ? "reached" : "denied");
        }
    }
}

static void test_translation(struct judge *j)
{
    lab_run("nft 'add table ip t; add chain ip t pre { type nat hook prerouting priority -100; }; "
            "add rule ip t pre ip daddr 10.77.1.1 udp dport 7777 dnat to 169.254.169.254:80'");
    tap_ok(!pod_reaches(j, "10.77.1.1", 7777), "nft: a Service that leads to metadata is denied");
    (void)enforce_guard_set(j->e, BERM_MODE_NONE, NULL);
    tap_ok(pod_reaches(j, "10.77.1.1", 7777), "control: guard off, it leads there");
    (void)enforce_guard_set(j->e, BERM_MODE_ALL, NULL);
    lab_run("nft delete table ip t");
}

static void test_sabotage(struct judge *j)
{
    static const struct {
        const char *before, *after; /* the table's name between them */
    } lines[] = {{"nft flush ruleset #", ""},
                 {"nft delete table inet ", ""},
                 {"nft flush chain inet ", " from4"},
                 {"nft flush set inet ", " pod_devices"},
                 {"nft add table inet ", " '{ flags dormant; }'"}};
    const char *name = strrchr(j->lab.pin_dir, '/') + 1;

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        unsigned before = table_changed;
        char line[128];
        struct pollfd p = {.fd = enforce_poll_fd(j->e), .events = POLLIN};

        snprintf(line, sizeof(line), "%s%s%s", lines[i].before, name, lines[i].after);
        (void)enforce_dispatch(j->e, NULL);
        lab_run("%s", line);
        tap_ok(pod_reaches(j, "169.254.169.254", 80), "control: %s", line);
        tap_ok(poll(&p, 1, 250) == 1, "and is told of at once");
        (void)enforce_dispatch(j->e, NULL);
        tap_ok(table_changed == before + 1 && !pod_reaches(j, "169.254.169.254", 80),
               "and is repaired and reported");
        (void)enforce_dispatch(j->e, NULL);
        tap_ok(table_changed == before + 1, "once");
    }
}

static void test_bridge(struct judge *j)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];

    lab_run("ip link add br0 type bridge && ip addr flush dev %s && ip link set %s master br0",
            h->device, h->device);
    lab_run("ip addr add 10.77.1.1/24 dev br0 && ip -6 addr add fd77:1::1/64 dev br0 nodad");
    lab_run("ip link set br0 address %02x:%02x:%02x:%02x:%02x:%02x up", h->gateway_mac[0],
            h->gateway_mac[1], h->gateway_mac[2], h->gateway_mac[3], h->gateway_mac[4],
            h->gateway_mac[5]);
    lab_neighbours(&j->lab, LAB_POD, "br0");
    (void)enforce_dispatch(j->e, NULL);
    tap_ok(!pod_reaches(j, "169.254.169.254", 80) && !pod_reaches(j, "fd00:ec2::254", 80),
           "a pod on a bridge is guarded, too");
    (void)enforce_guard_set(j->e, BERM_MODE_NONE, NULL);
    tap_ok(pod_reaches(j, "169.254.169.254", 80) && pod_reaches(j, "fd00:ec2::254", 80),
           "control: guard off");
    (void)enforce_guard_set(j->e, BERM_MODE_ALL, NULL);
}

int main(void)
{
    struct judge j;

    judge_open(&j);
    allow_all(&j);
    for (int i = 0; i < 3; i++)
        (void)enforce_sweep(j.e, NULL); /* links in place of filters */
    open_again(&j);
    (void)enforce_dispatch(j.e, NULL); /* of what opening changed: else it sweeps below */
    detach_guard(&j);
    test_addresses(&j);
    tap_ok(reaches(&j, -1, "169.254.169.254", 80, "169.254.169.253"),
           "the node's own processes are left alone");
    tap_ok(reaches(&j, LAB_PEER, "169.254.169.254", 80, j.lab.hosts[LAB_PEER].v4),
           "so is what is no pod's");
    test_translation(&j);
    test_sabotage(&j);
    test_bridge(&j);
    enforce_close(j.e);
    tap_ok(!pod_reaches(&j, "169.254.169.254", 80), "it stays without the agent");
    j.e = NULL;
    judge_close(&j);
    tap_ok(system("nft list tables | grep -q berm-t-") != 0, "uninstall deletes the table");
    return tap_end();
}
