#include "tests/oracle/packets/wire.h"

#include "agent/standalone/netlink.h"
#include "common/cleanup.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const int wire_ports[WIRE_PORTS] = {53, 80, 81, 443, 8080};
enum { SCTP = 132 };

static struct wire *to_close; /* whatever ends the program */

static void must(int r, const char *what, const struct error *err)
{
    if (r >= 0)
        return;
    printf("not ok - set-up: %s: %s\n", what, err && *err->msg ? err->msg : strerror(errno));
    exit(EXIT_FAILURE);
}

/* -- namespaces and devices ----------------------------------------------------------------- */

static int fresh_netns(void)
{
    CLEANUP(close_fd) int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int fd;

    if (unshare(CLONE_NEWNET) < 0)
        return -1;
    fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (setns(home, CLONE_NEWNET) < 0)
        abort();
    return fd;
}

static void make_devices(struct wire_host *h, size_t i)
{
    struct veth_end host = {.name = h->lab.device,
                            .mac = {2, 0x90, 0, 0, 0, (uint8_t)i},
                            .ns_fd = -1},
                    pod = {.name = "eth0", .mac = {2, 0x91, 0, 0, 0, (uint8_t)i}};
    struct error err = ERROR_INIT;
    struct netlink nl, inner;

    pod.ns_fd = h->lab.netns_fd;
    memcpy(h->lab.mac, pod.mac, 6);
    memcpy(h->lab.gateway_mac, host.mac, 6);
    must(netlink_open(&nl, -1, &err), "netlink", &err);
    must(netlink_open(&inner, h->lab.netns_fd, &err), "netlink", &err);
    must(link_add_veth(&nl, &host, &pod, 1500, &err), "veth", &err);
    h->lab.ifindex = link_index(&nl, h->lab.device, &err);
    must(link_set_up(&nl, h->lab.ifindex, &err), "up", &err);
    must(link_set_up(&inner, link_index(&inner, "lo", &err), &err), "up", &err);
    must(link_set_up(&inner, link_index(&inner, "eth0", &err), &err), "up", &err);
    netlink_close(&inner);
    netlink_close(&nl);
}

/* -- addresses --------------------------------------------------------------------------- */

/* Another line for ip(8). */
__attribute__((format(printf, 2, 3))) static void line(struct wire_script *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    s->size += (size_t)vsnprintf(s->text + s->size, sizeof(s->text) - s->size, fmt, ap);
    va_end(ap);
    if (s->size >= sizeof(s->text))
        abort();
}

/* Runs the lines in the host's namespace, or in the node's; what is so already is no error. */
static void run_script(struct wire_script *s, const struct wire_host *h)
{
    char command[160] = "ip -force -batch - 2>/dev/null";
    FILE *f;

    if (!s->size)
        return;
    if (h)
        (void)snprintf(command, sizeof(command),
                       "exec nsenter --net=/proc/%d/fd/%d ip -force -batch - 2>/dev/null",
                       (int)getpid(), h->lab.netns_fd);
    f = popen(command, "we");
    must(f ? 0 : -1, "ip", NULL);
    if (f) {
        (void)fwrite(s->text, 1, s->size, f);
        (void)pclose(f);
    }
    s->size = 0;
}

static void run_scripts(struct wire *w)
{
    run_script(&w->script, NULL);
    for (size_t i = 0; i < WIRE_HOSTS; i++)
        run_script(&w->hosts[i].script, &w->hosts[i]);
}

static void neighbour(struct wire_script *s, const char *address, const char *device,
                      const uint8_t m[6])
{
    line(s, "neigh replace %s dev %s lladdr %02x:%02x:%02x:%02x:%02x:%02x nud permanent\n", address,
         device, m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* An address for the host's device, and a way out by the node. */
static void add_address(struct wire_host *h, const char *address)
{
    bool six = strchr(address, ':') != NULL;
    const char *gateway = six ? "fe80::1" : "169.254.1.1";

    line(&h->script, "addr add %s/%d dev eth0%s\n", address, six ? 128 : 32, six ? " nodad" : "");
    neighbour(&h->script, gateway, "eth0", h->lab.gateway_mac);
    line(&h->script, "route replace default via %s dev eth0 onlink\n", gateway);
}

static void take(struct wire *w, struct wire_host *h, char had[64], const char *has)
{
    int bits = strchr(had, ':') ? 128 : 32;

    if (!*had || strcmp(had, has) == 0)
        return;
    line(&h->script, "addr del %s/%d dev eth0\n", had, bits);
    line(&w->script, "route del %s/%d dev %s\n", had, bits, h->lab.device);
    *had = '\0';
}

static void give(struct wire *w, struct wire_host *h, char had[64], const char *has)
{
    if (strcmp(had, has) == 0)
        return;
    add_address(h, has);
    line(&w->script, "route replace %s/%d dev %s\n", has, strchr(has, ':') ? 128 : 32,
         h->lab.device);
    neighbour(&w->script, has, h->lab.device, h->lab.mac);
    (void)snprintf(had, 64, "%s", has);
}

/* All that is no pod's; it may send as anybody. */
static void world_routes(struct wire *w, struct wire_host *h)
{
    add_address(h, "198.18.0.1");
    add_address(h, "fd98::1");
    for (int six = 0; six < 2; six++) {
        const char *via = six ? "fe80::2" : "169.254.1.2";

        line(&w->script, "route replace default via %s dev %s onlink\n", via, h->lab.device);
        neighbour(&w->script, via, h->lab.device, h->lab.mac);
    }
    run_scripts(w);
}

/* -- sockets in the pods' cgroups ------------------------------------------------------------- */

/* Where this process is, below the mount of cgroup v2. */
static bool own_group(char *ret, size_t size)
{
    CLEANUP(close_file) FILE *f = fopen("/proc/self/cgroup", "re");
    char line[512];

    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        (void)snprintf(ret, size, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
        return true;
    }
    return false;
}

static void enter_group(int group_fd)
{
    CLEANUP(close_fd) int fd = openat(group_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

    must(fd < 0 || write(fd, "0", 1) != 1 ? -1 : 0, "enter a cgroup", NULL);
}

static int listener(struct wire_host *h, int type, int port)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = lab_socket(&h->lab, AF_INET6, type | SOCK_NONBLOCK, 0), no = 0;

    must(fd, "socket", NULL);
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    must(bind(fd, (struct sockaddr *)&any, sizeof(any)), "bind", NULL);
    if (type == SOCK_STREAM)
        must(listen(fd, 64), "listen", NULL);
    return fd;
}

static void make_sockets(struct wire_host *h)
{
    static const int families[] = {AF_INET, AF_INET6};

    for (int i = 0; i < WIRE_PORTS; i++) {
        h->listeners[i] = listener(h, SOCK_STREAM, wire_ports[i]);
        h->datagrams[i] = listener(h, SOCK_DGRAM, wire_ports[i]);
    }
    for (int f = 0; f < 2; f++) {
        h->raw[f] = lab_socket(&h->lab, families[f], SOCK_RAW | SOCK_NONBLOCK, SCTP);
        h->sockets[WIRE_TCP][f] = lab_socket(&h->lab, families[f], SOCK_STREAM | SOCK_NONBLOCK, 0);
        h->sockets[WIRE_UDP][f] = lab_socket(&h->lab, families[f], SOCK_DGRAM | SOCK_NONBLOCK, 0);
        h->sockets[WIRE_SCTP][f] = lab_socket(&h->lab, families[f], SOCK_RAW | SOCK_NONBLOCK, SCTP);
        must(h->raw[f] < 0 || h->sockets[WIRE_SCTP][f] < 0 ? -1 : 0, "socket", NULL);
    }
}

/* -- all of it -----------------------------------------------------------------------------------
 */

static void arm(struct wire *w, struct wire_host *h)
{
    struct enforce_pod pod = {.uid = h->uid, .netns_fd = h->lab.netns_fd};
    uint8_t addrs[2][16];
    struct error err = ERROR_INIT;

    if (*h->v4)
        lab_address(h->v4, addrs[pod.n_addrs++]);
    if (*h->v6)
        lab_address(h->v6, addrs[pod.n_addrs++]);
    pod.addrs = (const uint8_t(*)[16])addrs;
    must(enforce_arm(w->e, &pod, &err), "arm", &err);
    must(enforce_arm_cgroup(w->e, h->uid, h->group_fd, true, &err), "arm a cgroup", &err);
}

static void close_at_exit(void)
{
    if (to_close)
        wire_close(to_close);
}

void wire_open(struct wire *w)
{
    struct enforce_config config = {.pin_dir = w->pin_dir, .no_nft = true, .no_translated = true};
    struct error err = ERROR_INIT;
    cpu_set_t one;
    struct stat own_net;
    char own[300];
    int home;

    memset(w, 0, sizeof(*w));
    w->port = 20000;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
    setvbuf(stdout, NULL, _IOLBF, 0);
    home = geteuid() || !own_group(own, sizeof(own)) ? -1 : enforce_cgroup_find(own, &err);
    if (home < 0 || unshare(CLONE_NEWNET) < 0) {
        printf("ok 1 - all # SKIP needs root and cgroup v2\n1..1\n");
        exit(EXIT_SUCCESS);
    }
    /* By the namespace's number: process ids may be those of others, too. */
    must(stat("/proc/self/ns/net", &own_net), "namespace", NULL);
    (void)snprintf(w->name, sizeof(w->name), "berm-o-%lu", (unsigned long)own_net.st_ino);
    (void)snprintf(w->pin_dir, sizeof(w->pin_dir), "/sys/fs/bpf/%s", w->name);
    lab_run("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
            "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 2>/dev/null; true");
    must(enforce_open(&config, &w->e, &err), "open", &err);
    to_close = w;
    (void)atexit(close_at_exit);
    for (size_t i = 0; i < WIRE_HOSTS; i++) {
        struct wire_host *h = &w->hosts[i];
        char path[64];

        (void)snprintf(h->uid, sizeof(h->uid), "p%zu", i);
        (void)snprintf(h->lab.device, sizeof(h->lab.device), "bo%zu", i);
        (void)snprintf(path, sizeof(path), "/%s-%zu", w->name, i);
        must(h->lab.netns_fd = fresh_netns(), "namespace", NULL);
        make_devices(h, i);
        h->tap = lab_tap(&h->lab);
        h->marks = lab_socket(&h->lab, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(WIRE_MARKER));
        if (i == WIRE_WORLD)
            break;
        must(h->group_fd = enforce_cgroup_open(path, &err), "cgroup", &err);
        enter_group(h->group_fd);
        make_sockets(h);
        enter_group(home);
    }
    world_routes(w, &w->hosts[WIRE_WORLD]);
    must(w->marker_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "socket", NULL);
    (void)close(home);
}

void wire_close(struct wire *w)
{
    struct error err = ERROR_INIT;
    int home = enforce_cgroup_find("/", &err);

    if (!to_close)
        return;
    to_close = NULL;
    enforce_close(w->e);
    if (enforce_uninstall(w->pin_dir, &err) < 0)
        printf("# uninstall: %s\n", err.msg);
    for (size_t i = 0; i < WIRE_PODS; i++) {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s-%zu", w->name, i);
        (void)unlinkat(home, path, AT_REMOVEDIR);
    }
    (void)close(home);
}

/* The kernel agrees: a socket there would speak from that address. */
static bool has_address(const struct wire_host *h, const char *address)
{
    bool six = strchr(address, ':') != NULL;
    struct sockaddr_storage to, own = {0}, want;
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    socklen_t size, n = sizeof(own);
    int fd = h->sockets[WIRE_UDP][six];
    bool same;

    lab_sockaddr(six ? "fd98::1" : "198.18.0.1", 9, &to, &size);
    lab_sockaddr(address, 0, &want, &size);
    same = connect(fd, (struct sockaddr *)&to, size) == 0 &&
           getsockname(fd, (struct sockaddr *)&own, &n) == 0 &&
           (six ? !memcmp(&((struct sockaddr_in6 *)&own)->sin6_addr,
                          &((struct sockaddr_in6 *)&want)->sin6_addr, 16)
                : ((struct sockaddr_in *)&own)->sin_addr.s_addr ==
                      ((struct sockaddr_in *)&want)->sin_addr.s_addr);
    (void)connect(fd, &nobody, sizeof(nobody));
    return same;
}

static void wait_for_address(struct wire_host *h, const char *address)
{
    for (int i = 0; *address && !has_address(h, address); i++) {
        must(i < 100 ? 0 : -1, address, NULL);
        lab_sleep_ms(50);
        add_address(h, address);
        run_script(&h->script, h);
    }
}

void wire_address(struct wire *w)
{
    /* First all that lose an address, for another may get it. */
    for (size_t i = 0; i < WIRE_PODS; i++) {
        take(w, &w->hosts[i], w->hosts[i].had[0], w->hosts[i].v4);
        take(w, &w->hosts[i], w->hosts[i].had[1], w->hosts[i].v6);
    }
    for (size_t i = 0; i < WIRE_PODS; i++) {
        give(w, &w->hosts[i], w->hosts[i].had[0], w->hosts[i].v4);
        give(w, &w->hosts[i], w->hosts[i].had[1], w->hosts[i].v6);
    }
    run_scripts(w);
    for (size_t i = 0; i < WIRE_PODS; i++) {
        wait_for_address(&w->hosts[i], w->hosts[i].v4);
        wait_for_address(&w->hosts[i], w->hosts[i].v6);
    }
    for (size_t i = 0; i < WIRE_PODS; i++)
        arm(w, &w->hosts[i]);
}

void wire_mend(struct wire *w, const struct wire_probe *p)
{
    struct wire_host *const ends[2] = {p->from, p->to};

    for (int i = 0; i < 2; i++) {
        struct wire_host *h = ends[i];
        const char *address = i ? p->dst : p->src;

        if (h == &w->hosts[WIRE_WORLD]) {
            world_routes(w, h);
            continue;
        }
        add_address(h, address);
        line(&w->script, "route replace %s/%d dev %s\n", address, p->family == 6 ? 128 : 32,
             h->lab.device);
        neighbour(&w->script, address, h->lab.device, h->lab.mac);
    }
    run_scripts(w);
    lab_sleep_ms(100);
}

/* New devices are bound by filters at first; sweeps give them their links. */
static struct device *linked_device(struct wire *w, const struct wire_host *h)
{
    struct pod *pod = enforced_pod_find(w->e, h->uid);
    struct error err = ERROR_INIT;
    struct device *device;

    device = pod ? list_first(&pod->devices, struct device, siblings) : NULL;
    if (!device)
        exit(EXIT_FAILURE);
    for (int i = 0; device->handover && i < 10 * WIRE_PODS; i++)
        must(enforce_sweep(w->e, &err), "sweep", &err);
    return device;
}

void wire_cgroups_only(struct wire *w)
{
    for (size_t i = 0; i < WIRE_PODS; i++)
        (void)linked_device(w, &w->hosts[i]);
    for (size_t i = 0; i < WIRE_PODS; i++) {
        struct device *device = linked_device(w, &w->hosts[i]);

        for (int kind = 0; kind < HOOK_MAX; kind++)
            must(bpf_link_detach(device->hooks[kind].link_fd), "detach", NULL);
    }
}
