/*
 * Policy behind address translation: a Service with an allowed and a denied backend, by rules as
 * kube-proxy writes them for nftables and for iptables, real packets in both families. Each
 * translator is first seen to reach both backends when policy allows both.
 */
#include "common/cleanup.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE4 "10.96.0.10"
#define SERVICE6 "fd96::10"
enum { SERVICE_PORT = 80, BACKEND_PORT = 8080, NODE_PORT = 30080, TRIES = 8 };

static unsigned incidents[ENFORCE_INCIDENT_MAX];

static void on_incident(void *ctx, const struct enforce_incident *incident)
{
    (void)ctx;
    incidents[incident->kind]++;
    printf("# incident %s: %s\n", enforce_incident_name(incident->kind), incident->detail);
}

/* -- the node's translation ---------------------------------------------------------------- */

/* kube-proxy's shape in nftables: verdict maps to a chain a Service, a random one of its
 * endpoints' chains (here: one after the other), masquerade by mark. */
static const char nft_rules[] =
    "table ip kp { chain services { "
    "ip daddr . meta l4proto . th dport vmap { 10.96.0.10 . udp . 80 : goto svc, "
    "10.96.0.10 . tcp . 80 : goto svc }; "
    "fib daddr type local meta l4proto { tcp, udp } th dport 30080 goto svc; }; "
    "chain svc { %s numgen inc mod 2 vmap { 0 : goto a, 1 : goto b }; }; "
    "chain a { meta l4proto { tcp, udp } dnat to 10.77.2.2:8080; }; "
    "chain b { meta l4proto { tcp, udp } dnat to 10.77.3.2:8080; }; "
    "chain pre { type nat hook prerouting priority -100; goto services; }; "
    "chain out { type nat hook output priority -100; goto services; }; "
    "chain post { type nat hook postrouting priority 100; "
    "meta mark and 0x4000 == 0x4000 masquerade; }; };"
    "table ip6 kp { chain services { "
    "ip6 daddr . meta l4proto . th dport vmap { fd96::10 . udp . 80 : goto svc, "
    "fd96::10 . tcp . 80 : goto svc }; "
    "fib daddr type local meta l4proto { tcp, udp } th dport 30080 goto svc; }; "
    "chain svc { %s numgen inc mod 2 vmap { 0 : goto a, 1 : goto b }; }; "
    "chain a { meta l4proto { tcp, udp } dnat to [fd77:2::2]:8080; }; "
    "chain b { meta l4proto { tcp, udp } dnat to [fd77:3::2]:8080; }; "
    "chain pre { type nat hook prerouting priority -100; goto services; }; "
    "chain out { type nat hook output priority -100; goto services; }; "
    "chain post { type nat hook postrouting priority 100; "
    "meta mark and 0x4000 == 0x4000 masquerade; }; };";

static void load(const char *command, const char *text)
{
    FILE *f = popen(command, "w");

    if (!f || fputs(text, f) < 0 || pclose(f) != 0) {
        printf("not ok - set-up: %s\n", command);
        exit(EXIT_FAILURE);
    }
}

static void nft_on(bool masquerade)
{
    const char *mark = masquerade ? "meta mark set meta mark or 0x4000;" : "";
    char text[4096];

    (void)snprintf(text, sizeof(text), nft_rules, mark, mark);
    load("nft -f -", text);
}

static void nft_off(void)
{
    lab_run("nft delete table ip kp; nft delete table ip6 kp");
}

/* kube-proxy's chains for iptables, the random choice made regular. */
static void iptables_one(const char *tool, const char *service, const char *a, const char *b,
                         bool masquerade)
{
    char command[64], text[4096];
    size_t n = 0;

    (void)snprintf(command, sizeof(command), "%s-restore", tool);
    n += (size_t)snprintf(
        text, sizeof(text),
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-POSTROUTING - [0:0]\n"
        ":KUBE-MARK-MASQ - [0:0]\n:KUBE-SVC-X - [0:0]\n:KUBE-SEP-A - [0:0]\n:KUBE-SEP-B - [0:0]\n"
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
        "-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n"
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
        "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n"
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully\n"
        "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n");
    for (int i = 0; i < 2; i++) {
        const char *p = i ? "udp" : "tcp";

        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "-A KUBE-SERVICES -d %s -p %s -m %s --dport 80 -j KUBE-SVC-X\n"
                              "-A KUBE-NODEPORTS -p %s -m %s --dport 30080 -j KUBE-SVC-X\n"
                              "-A KUBE-SEP-A -p %s -m %s -j DNAT --to-destination %s:8080\n"
                              "-A KUBE-SEP-B -p %s -m %s -j DNAT --to-destination %s:8080\n",
                              service, p, p, p, p, p, p, a, p, p, b);
    }
    (void)snprintf(text + n, sizeof(text) - n,
                   "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n"
                   "%s-A KUBE-SVC-X -m statistic --mode nth --every 2 --packet 0 -j KUBE-SEP-A\n"
                   "-A KUBE-SVC-X -j KUBE-SEP-B\nCOMMIT\n",
                   masquerade ? "-A KUBE-SVC-X -j KUBE-MARK-MASQ\n" : "");
    load(command, text);
}

static void iptables_on(const char *four, const char *six, bool masquerade)
{
    iptables_one(four, SERVICE4, "10.77.2.2", "10.77.3.2", masquerade);
    iptables_one(six, SERVICE6, "[fd77:2::2]", "[fd77:3::2]", masquerade);
}

static void iptables_off(const char *four, const char *six)
{
    lab_run("for t in %s %s; do $t -t nat -F; $t -t nat -X; done", four, six);
}

static void legacy_on(bool masquerade)
{
    iptables_on("iptables-legacy", "ip6tables-legacy", masquerade);
}
static void legacy_off(void)
{
    iptables_off("iptables-legacy", "ip6tables-legacy");
}
static void iptables_nft_on(bool masquerade)
{
    iptables_on("iptables-nft", "ip6tables-nft", masquerade);
}
static void iptables_nft_off(void)
{
    iptables_off("iptables-nft", "ip6tables-nft");
}

/* IPVS as kube-proxy sets it up: the Service's addresses on a dummy device, conntrack on. */
static void ipvs_on(bool masquerade)
{
    lab_run("ip link add kube-ipvs0 type dummy && ip addr add " SERVICE4 "/32 dev kube-ipvs0 && "
            "ip -6 addr add " SERVICE6 "/128 dev kube-ipvs0 nodad && "
            "sysctl -qw net.ipv4.vs.conntrack=1");
    for (int i = 0; i < 2; i++) {
        const char *p = i ? "-u" : "-t";

        lab_run("for s in " SERVICE4 ":80 10.77.1.1:30080; do ipvsadm -A %s $s -s rr; "
                "for b in 10.77.2.2 10.77.3.2; do ipvsadm -a %s $s -r $b:8080 -m; done; done",
                p, p);
        lab_run("for s in '[" SERVICE6 "]:80' '[fd77:1::1]:30080'; do ipvsadm -A %s $s -s rr; "
                "for b in fd77:2::2 fd77:3::2; do ipvsadm -a %s $s -r \"[$b]:8080\" -m; done; done",
                p, p);
    }
    if (masquerade)
        lab_run("nft 'table inet kp { chain post { type nat hook postrouting priority 100; "
                "meta l4proto { tcp, udp } th dport 8080 masquerade; }; }'");
}
static void ipvs_off(void)
{
    lab_run("ipvsadm -C; ip link del kube-ipvs0; nft delete table inet kp 2>/dev/null; true");
}

static const struct translator {
    const char *name, *needs;
    void (*on)(bool masquerade);
    void (*off)(void);
} translators[] = {
    {"nftables", "nft list tables", nft_on, nft_off},
    {"iptables (nft)", "iptables-nft -t nat -L -n", iptables_nft_on, iptables_nft_off},
    {"iptables (legacy)", "iptables-legacy -t nat -L -n", legacy_on, legacy_off},
    {"IPVS", "ipvsadm -L -n", ipvs_on, ipvs_off},
};

/* -- the two backends ---------------------------------------------------------------------- */

struct backends {
    int a, b; /* LAB_PEER, LAB_POD2 */
};

static int serve(const struct lab_host *h, const char *address, int type, int port)
{
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    int fd = h ? lab_socket(h, family, type, 0) : socket(family, type | SOCK_CLOEXEC, 0);
    struct sockaddr_storage at;
    socklen_t size;

    lab_sockaddr(address, port, &at, &size);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) < 0 ||
        (type == SOCK_STREAM && listen(fd, 16) < 0)) {
        printf("not ok - set-up: serve %s: %s\n", address, strerror(errno));
        exit(EXIT_FAILURE);
    }
    return fd;
}

static struct backends backends_open(const struct judge *j, bool six, int type)
{
    const struct lab_host *a = &j->lab.hosts[LAB_PEER], *b = &j->lab.hosts[LAB_POD2];

    return (struct backends){serve(a, six ? a->v6 : a->v4, type, BACKEND_PORT),
                             serve(b, six ? b->v6 : b->v4, type, BACKEND_PORT)};
}

static void backends_close(struct backends *b)
{
    close(b->a);
    close(b->b);
}

/* One datagram that came is answered to whom it came from. */
static bool answer(int fd)
{
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);
    char text[16];

    if (recvfrom(fd, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &size) < 0)
        return false;
    (void)sendto(fd, "r", 1, 0, (struct sockaddr *)&from, size);
    return true;
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

struct outcome {
    unsigned a, b, replies;
};

/* A datagram, and what became of it. */
static void exchange(struct judge *j, int client, const struct sockaddr *to, socklen_t size,
                     const struct backends *b, struct outcome *o)
{
    char text[16];
    bool came;

    (void)sendto(client, "x", 1, 0, to, size);
    lab_settle(&j->lab);
    came = answer(b->a);
    o->a += came;
    if (answer(b->b)) {
        came = true;
        o->b++;
    }
    lab_settle(&j->lab);
    if (came && readable(client, 200))
        o->replies += recv(client, text, sizeof(text), MSG_DONTWAIT) > 0;
}

/* Some to each: a packet that is sent again shifts whose turn it is. */
static bool both(const struct outcome *o)
{
    return o->a > 0 && o->b > 0 && o->a + o->b == TRIES && o->replies == TRIES;
}
static bool first_only(const struct outcome *o)
{
    return o->a > 0 && o->b == 0 && o->replies == o->a;
}

/* A client whose port no connection has had: what stands would be let through. */
static int fresh_client(const struct judge *j, bool six)
{
    static int port = 20000;
    const struct lab_host *h = &j->lab.hosts[LAB_POD];

    return serve(h, six ? h->v6 : h->v4, SOCK_DGRAM, port++);
}

static struct outcome ask(struct judge *j, const char *address, int port)
{
    bool six = strchr(address, ':') != NULL;
    struct backends b = backends_open(j, six, SOCK_DGRAM);
    struct sockaddr_storage to;
    struct outcome o = {0};
    socklen_t size;

    lab_sockaddr(address, port, &to, &size);
    for (int i = 0; i < TRIES; i++) {
        int client = fresh_client(j, six);

        exchange(j, client, (struct sockaddr *)&to, size, &b, &o);
        close(client);
    }
    backends_close(&b);
    return o;
}

/* TCP connections that stand after a moment. */
static unsigned connects(struct judge *j, const char *address, int port)
{
    bool six = strchr(address, ':') != NULL;
    struct backends b = backends_open(j, six, SOCK_STREAM);
    int clients[TRIES];
    struct sockaddr_storage to;
    unsigned n = 0;
    socklen_t size;

    lab_sockaddr(address, port, &to, &size);
    for (int i = 0; i < TRIES; i++) {
        clients[i] = lab_socket(&j->lab.hosts[LAB_POD], six ? AF_INET6 : AF_INET,
                                SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], (struct sockaddr *)&to, size);
    }
    lab_settle(&j->lab);
    for (int i = 0; i < TRIES; i++) {
        struct pollfd p = {.fd = clients[i], .events = POLLOUT};

        n += poll(&p, 1, 50) == 1 && p.revents == POLLOUT;
        close(clients[i]);
    }
    backends_close(&b);
    return n;
}

/* -- policy -------------------------------------------------------------------------------- */

static void put(struct judge *j, const char *uid, struct test_rules *rules)
{
    struct error err = ERROR_INIT;

    if (enforce_set_rules(j->e, uid, &rules->rules, &err) < 0)
        tap_ok(false, "set rules: %s", err.msg);
    free(rules);
}

static void allow_all(struct judge *j, const char *uid)
{
    put(j, uid, rules_new(POLICY_ALLOW, POLICY_ALLOW));
}

/* Egress to that backend's own port alone; ingress isolated, so that replies prove themselves. */
static void allow_only(struct judge *j, const char *four, const char *six)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, four, IPPROTO_UDP, BACKEND_PORT, BACKEND_PORT);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, four, IPPROTO_TCP, BACKEND_PORT, BACKEND_PORT);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, six, IPPROTO_UDP, BACKEND_PORT, BACKEND_PORT);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, six, IPPROTO_TCP, BACKEND_PORT, BACKEND_PORT);
    put(j, "pod-1", rules);
}

static void allow_peer(struct judge *j)
{
    allow_only(j, "10.77.2.2", "fd77:2::2");
}

static void frontends(struct judge *j, bool on)
{
    struct enforce_frontend list[6] = {0};
    struct error err = ERROR_INIT;

    for (int i = 0; i < 6; i++) {
        list[i].protocol = i & 1 ? IPPROTO_TCP : IPPROTO_UDP;
        list[i].port = i < 4 ? SERVICE_PORT : NODE_PORT;
        if (i < 4)
            lab_address(i < 2 ? SERVICE4 : SERVICE6, list[i].addr);
    }
    if (enforce_set_frontends(j->e, list, on ? 6 : 0, &err) < 0)
        tap_ok(false, "frontends: %s", err.msg);
}

/* -- cases --------------------------------------------------------------------------------- */

static void test_mixed(struct judge *j, const struct translator *t, bool masquerade)
{
    static const struct {
        const char *address;
        int port;
    } ways[] = {{SERVICE4, SERVICE_PORT},
                {SERVICE6, SERVICE_PORT},
                {"10.77.1.1", NODE_PORT},
                {"fd77:1::1", NODE_PORT}};
    const char *how = masquerade ? ", masqueraded" : "";

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        const char *a = ways[i].address;
        int port = ways[i].port;
        struct outcome o;

        allow_all(j, "pod-1");
        o = ask(j, a, port);
        tap_ok(both(&o), "%s%s: %s port %d, all allowed: %u and %u, %u replies", t->name, how, a,
               port, o.a, o.b, o.replies);
        allow_peer(j);
        o = ask(j, a, port);
        tap_ok(first_only(&o), "%s%s: %s port %d, one backend denied: %u and %u, %u replies",
               t->name, how, a, port, o.a, o.b, o.replies);
        o.a = connects(j, a, port);
        tap_ok(o.a > 0 && o.a < TRIES, "%s%s: %s port %d, TCP: %u of %d connections", t->name, how,
               a, port, o.a, TRIES);
        frontends(j, false);
        o = ask(j, a, port);
        tap_ok(o.a == 0 && o.b == 0, "%s%s: %s port %d, not known as translated: nothing", t->name,
               how, a, port);
        frontends(j, true);
    }
}

static void test_ports(struct judge *j)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct outcome o;

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.2.2", IPPROTO_UDP, SERVICE_PORT,
              SERVICE_PORT);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, SERVICE4, -1, 0, 0);
    put(j, "pod-1", rules);
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(o.a == 0 && o.b == 0, "the Service's own address and port count for nothing");
    allow_peer(j);
}

/* A connection that stands, and policies that change under it. */
static void test_changes(struct judge *j)
{
    struct backends b = backends_open(j, false, SOCK_DGRAM);
    int client = lab_socket(&j->lab.hosts[LAB_POD], AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_storage to, from = {0};
    struct outcome o = {0};
    socklen_t size, from_size = sizeof(from);
    int backend;
    char text[4];

    lab_sockaddr(SERVICE4, SERVICE_PORT, &to, &size);
    allow_all(j, "pod-1");
    (void)sendto(client, "x", 1, 0, (struct sockaddr *)&to, size);
    lab_settle(&j->lab);
    backend = readable(b.a, 0) ? b.a : b.b;
    (void)recvfrom(backend, text, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &from_size);
    if (backend == b.a)
        allow_only(j, "10.77.2.2", "fd77:2::2");
    else
        allow_only(j, "10.77.3.2", "fd77:3::2");
    (void)sendto(backend, "r", 1, 0, (struct sockaddr *)&from, from_size);
    tap_ok(readable(client, 1000), "rules changed, still allowed: a reply passes by itself");
    (void)recv(client, text, 1, MSG_DONTWAIT);
    exchange(j, client, (struct sockaddr *)&to, size, &b, &o);
    tap_ok(o.a + o.b == 1 && o.replies == 1, "and so does the next exchange");
    if (backend == b.a)
        allow_only(j, "10.77.3.2", "fd77:3::2");
    else
        allow_only(j, "10.77.2.2", "fd77:2::2");
    (void)sendto(backend, "r", 1, 0, (struct sockaddr *)&from, from_size);
    lab_settle(&j->lab);
    tap_ok(!readable(client, 50), "its backend denied: no more replies");
    exchange(j, client, (struct sockaddr *)&to, size, &b, &o);
    (void)sendto(backend, "r", 1, 0, (struct sockaddr *)&from, from_size);
    lab_settle(&j->lab);
    tap_ok(o.a + o.b == 1 && !readable(client, 50), "nor packets, nor replies after one was tried");
    close(client);
    backends_close(&b);
}

/* A backend on the node itself: the packet never reaches postrouting. */
static void test_local(struct judge *j)
{
    struct test_rules *rules;
    int server, allowed;

    lab_run("nft 'table ip kl { chain pre { type nat hook prerouting priority -100; "
            "ip daddr 10.96.0.1 tcp dport 443 dnat to 10.77.1.1:6443; }; }'");
    for (allowed = 0; allowed < 2; allowed++) {
        struct enforce_frontend f = {.protocol = IPPROTO_TCP, .port = 443};
        struct sockaddr_storage to;
        struct pollfd p = {.events = POLLOUT};
        struct error err = ERROR_INIT;
        socklen_t size;
        bool stands;

        lab_address("10.96.0.1", f.addr);
        if (enforce_set_frontends(j->e, &f, 1, &err) < 0)
            tap_ok(false, "%s", err.msg);
        rules = rules_new(POLICY_DENY, POLICY_DENY);
        rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.1.1", IPPROTO_TCP,
                  allowed ? 6443 : 443, allowed ? 6443 : 443);
        put(j, "pod-1", rules);
        server = serve(NULL, "10.77.1.1", SOCK_STREAM, 6443);
        p.fd = lab_socket(&j->lab.hosts[LAB_POD], AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        lab_sockaddr("10.96.0.1", 443, &to, &size);
        (void)connect(p.fd, (struct sockaddr *)&to, size);
        stands = poll(&p, 1, allowed ? 1000 : 100) == 1 && p.revents == POLLOUT;
        tap_ok(stands == (allowed == 1), "a backend on the node itself, %s",
               allowed ? "allowed" : "denied");
        close(p.fd);
        close(server);
    }
    lab_run("nft delete table ip kl");
    frontends(j, true);
}

/* Known as translated, but nobody does: judged by the address that it has. */
static void test_untranslated(struct judge *j)
{
    for (int allowed = 0; allowed < 2; allowed++) {
        struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
        int tap = lab_tap(&j->lab.hosts[LAB_PEER]), client;
        struct sockaddr_storage to;
        socklen_t size;

        if (allowed)
            rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, SERVICE4, -1, 0, 0);
        put(j, "pod-1", rules);
        client = lab_socket(&j->lab.hosts[LAB_POD], AF_INET, SOCK_DGRAM, 0);
        lab_sockaddr(SERVICE4, SERVICE_PORT, &to, &size);
        (void)sendto(client, "x", 1, 0, (struct sockaddr *)&to, size);
        lab_settle(&j->lab);
        tap_ok((lab_count(tap, "10.77.1.2").ip == 1) == (allowed == 1),
               "not translated, its own address %s", allowed ? "allowed" : "denied");
        close(client);
        close(tap);
    }
    allow_peer(j);
}

static void test_switches(struct judge *j)
{
    struct enforce_pod pod = {
        .uid = "pod-1", .netns_fd = j->lab.hosts[LAB_POD].netns_fd, .audit = true};
    struct enforce_stats stats = {0};
    struct outcome o;

    (void)enforce_policy_set(j->e, BERM_MODE_NONE, NULL);
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(o.b > 0, "policy switched off: both");
    (void)enforce_policy_set(j->e, BERM_MODE_SANDBOXED, NULL);
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(o.b > 0, "for sandboxed pods only, and it is none: both");
    (void)enforce_policy_set(j->e, BERM_MODE_ALL, NULL);
    (void)enforce_arm(j->e, &pod, NULL);
    o = ask(j, SERVICE4, SERVICE_PORT);
    (void)enforce_stats(j->e, "pod-1", &stats, NULL);
    tap_ok(o.b > 0 && stats.engine[BERM_ENGINE_POLICY].audited[BERM_EGRESS] >= o.b,
           "audit: both, and counted");
    pod.audit = false;
    (void)enforce_arm(j->e, &pod, NULL);
    o = ask(j, SERVICE4, SERVICE_PORT);
    (void)enforce_stats(j->e, "pod-1", &stats, NULL);
    tap_ok(o.b == 0 &&
               stats.engine[BERM_ENGINE_POLICY].denied[BERM_EGRESS][BERM_REASON_POLICY_DEFAULT] > 0,
           "enforced again, and the denials counted");
}

/* A client from outside comes by the node's address: it is judged as what it is. */
static void test_ingress(struct judge *j)
{
    static const struct {
        const char *from;
        bool open;
    } rows[] = {{"10.77.2.2", true}, {"10.77.3.2", false}, {"10.77.1.1", false}};

    lab_run("nft 'table ip ki { chain pre { type nat hook prerouting priority -100; "
            "udp dport 30090 dnat to 10.77.1.2:8080; }; chain post { type nat hook postrouting "
            "priority 100; udp dport 8080 masquerade; }; }'");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct test_rules *rules = rules_new(POLICY_ALLOW, POLICY_DENY);
        int server = serve(&j->lab.hosts[LAB_POD], "10.77.1.2", SOCK_DGRAM, 8080);
        int client = lab_socket(&j->lab.hosts[LAB_PEER], AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_storage to;
        socklen_t size;
        bool came;

        rules_add(rules, POLICY_INGRESS, POLICY_ALLOW, rows[i].from, IPPROTO_UDP, 8080, 8080);
        put(j, "pod-1", rules);
        lab_sockaddr("10.77.2.1", 30090, &to, &size);
        (void)sendto(client, "x", 1, 0, (struct sockaddr *)&to, size);
        lab_settle(&j->lab);
        came = answer(server);
        tap_ok(came == rows[i].open, "node port to the pod, masqueraded, %s allowed: %s",
               rows[i].from, came ? "reached" : "denied");
        tap_ok(!came || readable(client, 500), "its reply");
        close(server);
        close(client);
    }
    lab_run("nft delete table ip ki");
}

static void open_again(struct judge *j)
{
    struct enforce_config config = {.pin_dir = j->lab.pin_dir, .on_incident = on_incident};
    struct error err = ERROR_INIT;

    enforce_close(j->e);
    if (enforce_open(&config, &j->e, &err) < 0) {
        tap_ok(false, "open: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    j->pod = enforced_pod_find(j->e, "pod-1");
}

static void test_survives(struct judge *j)
{
    static const char *const pins[] = {"translated-policy-postrouting4",
                                       "translated-policy-postrouting6", "translated-policy-input4",
                                       "translated-policy-input6"};
    struct outcome o;

    enforce_close(j->e);
    j->e = NULL;
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(first_only(&o), "without an agent");
    open_again(j);
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(first_only(&o), "with the next agent");
    (void)enforce_sweep(j->e, NULL);
    memset(incidents, 0, sizeof(incidents));
    for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
        char path[256];
        int fd;

        (void)snprintf(path, sizeof(path), "%s/v%d/links/%s", j->lab.pin_dir, BERM_LAYOUT, pins[i]);
        fd = bpf_obj_get(path);
        (void)bpf_link_detach(fd);
        (void)close(fd);
    }
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(o.b > 0, "links detached by somebody: not judged (the control)");
    tap_ok(enforce_sweep(j->e, NULL) >= 4 && incidents[ENFORCE_LINK_LOST] == 4,
           "a sweep finds all four");
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(first_only(&o), "and judges again");
    lab_run("rm %s/v%d/links/translated-policy-*", j->lab.pin_dir, BERM_LAYOUT);
    (void)enforce_dispatch(j->e, NULL);
    tap_ok(incidents[ENFORCE_PIN_LOST] == 4, "removed pins are put back");
    tap_ok(enforce_sweep(j->e, NULL) == 0, "then a sweep finds nothing");
}

/* The address of a dead pod, used again by another. */
static void test_reuse(struct judge *j)
{
    uint8_t addrs[1][16];
    struct enforce_pod pod = {.uid = "pod-b",
                              .netns_fd = j->lab.hosts[LAB_POD].netns_fd,
                              .addrs = (const uint8_t(*)[16])addrs,
                              .n_addrs = 1};
    struct outcome o;

    lab_address("10.77.1.2", addrs[0]);
    (void)enforce_remove(j->e, "pod-1", NULL);
    (void)enforce_arm(j->e, &pod, NULL);
    allow_all(j, "pod-b");
    o = ask(j, SERVICE4, SERVICE_PORT);
    tap_ok(both(&o), "the next pod with the address has its own rules");
}

int main(void)
{
    struct enforce_totals totals;
    struct judge j;

    judge_open(&j);
    enforce_totals(j.e, &totals);
    if (!totals.translated) {
        puts("ok 1 - all # SKIP this kernel has no BPF programs in netfilter (6.4)");
        judge_close(&j);
        return 0;
    }
    lab_run("ip route add " SERVICE4 " via 10.77.2.2 && ip -6 route add " SERVICE6
            " via fd77:2::2");
    open_again(&j);
    frontends(&j, true);
    for (size_t i = 0; i < ARRAY_SIZE(translators); i++) {
        const struct translator *t = &translators[i];
        char test[128];

        (void)snprintf(test, sizeof(test), "%s >/dev/null 2>&1", t->needs);
        if (system(test) != 0) {
            tap_ok(true, "%s # SKIP '%s' does not work here", t->name, t->needs);
            continue;
        }
        for (int masquerade = 0; masquerade < 2; masquerade++) {
            t->on(masquerade);
            test_mixed(&j, t, masquerade);
            t->off();
        }
    }
    test_untranslated(&j);
    test_local(&j);
    test_ingress(&j);
    nft_on(false);
    test_ports(&j);
    test_changes(&j);
    allow_peer(&j);
    test_switches(&j);
    test_survives(&j);
    test_reuse(&j);
    judge_close(&j);
    return tap_end();
}
