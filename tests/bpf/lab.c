#include "tests/bpf/lab.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static unsigned n_tests, n_failed;

void tap_ok(bool ok, const char *fmt, ...)
{
    va_list ap;

    n_tests++;
    n_failed += !ok;
    printf("%sok %u - ", ok ? "" : "not ", n_tests);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

int tap_end(void)
{
    printf("1..%u\n", n_tests);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

void lab_run(const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    int status;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    status = system(line);
    if (status) {
        printf("not ok - set-up: %s: status %d\n", line, status);
        exit(EXIT_FAILURE);
    }
}

__attribute__((format(printf, 1, 2))) static void quiet(const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (system(line) != 0)
        return;
}

static const struct {
    const char *name, *v4, *v6, *gateway4, *gateway6;
} plan[LAB_HOSTS] = {
    [LAB_POD] = {"pod", "10.77.1.2", "fd77:1::2", "10.77.1.1", "fd77:1::1"},
    [LAB_POD2] = {"pod2", "10.77.3.2", "fd77:3::2", "10.77.3.1", "fd77:3::1"},
    [LAB_PEER] = {"peer", "10.77.2.2", "fd77:2::2", "10.77.2.1", "fd77:2::1"},
    [LAB_META] = {"meta", "169.254.169.254", "fd00:ec2::254", "169.254.169.253", "fd00:ec2::253"},
};

static void read_mac(const char *device, int netns_fd, uint8_t mac[6])
{
    struct ifreq request = {0};
    struct lab_host host = {.netns_fd = netns_fd};
    int fd = netns_fd >= 0 ? lab_socket(&host, AF_INET, SOCK_DGRAM, 0)
                           : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (ioctl(fd, SIOCGIFHWADDR, &request) == 0)
        memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    close(fd);
}

static void host_open(struct lab *lab, int i)
{
    struct lab_host *h = &lab->hosts[i];
    char path[64];

    h->name = plan[i].name;
    h->v4 = plan[i].v4;
    h->v6 = plan[i].v6;
    snprintf(h->netns, sizeof(h->netns), "berm-t-%s-%d", h->name, (int)getpid());
    snprintf(h->device, sizeof(h->device), "bt-%s", h->name);
    lab_run("ip netns add %s", h->netns);
    lab_run("ip link add %s type veth peer name eth0 netns %s", h->device, h->netns);
    lab_run("ip addr add %s/24 dev %s", plan[i].gateway4, h->device);
    lab_run("ip -6 addr add %s/64 dev %s nodad", plan[i].gateway6, h->device);
    lab_run("ip link set %s up", h->device);
    lab_run("ip -n %s link set lo up", h->netns);
    lab_run("ip -n %s link set eth0 up", h->netns);
    lab_run("ip -n %s addr add %s/24 dev eth0", h->netns, h->v4);
    lab_run("ip -n %s -6 addr add %s/64 dev eth0 nodad", h->netns, h->v6);
    lab_run("ip -n %s route add default via %s", h->netns, plan[i].gateway4);
    lab_run("ip -n %s -6 route add default via %s", h->netns, plan[i].gateway6);
    snprintf(path, sizeof(path), "/run/netns/%s", h->netns);
    h->netns_fd = open(path, O_RDONLY | O_CLOEXEC);
    h->ifindex = (int)if_nametoindex(h->device);
    read_mac(h->device, -1, h->gateway_mac);
    read_mac("eth0", h->netns_fd, h->mac);
}

void lab_neighbours(const struct lab *lab, int i, const char *device)
{
    const struct lab_host *h = &lab->hosts[i];
    const uint8_t *m = h->mac, *g = h->gateway_mac;

    for (int six = 0; six < 2; six++) {
        lab_run("ip neigh replace %s dev %s lladdr %02x:%02x:%02x:%02x:%02x:%02x nud permanent",
                six ? h->v6 : h->v4, device, m[0], m[1], m[2], m[3], m[4], m[5]);
        lab_run("ip -n %s neigh replace %s dev eth0 lladdr %02x:%02x:%02x:%02x:%02x:%02x nud "
                "permanent",
                h->netns, six ? plan[i].gateway6 : plan[i].gateway4, g[0], g[1], g[2], g[3], g[4],
                g[5]);
    }
}

void lab_default_route(const struct lab *lab)
{
    lab_run("ip route add default via %s && ip -6 route add default via %s",
            lab->hosts[LAB_PEER].v4, lab->hosts[LAB_PEER].v6);
}

void lab_settle(const struct lab *lab)
{
    const struct lab_host *h = &lab->hosts[LAB_PEER];
    int server = lab_socket(h, AF_INET, SOCK_DGRAM, 0), client;
    struct pollfd p = {.fd = server, .events = POLLIN};
    struct sockaddr_storage at;
    socklen_t size;
    char byte;

    lab_sockaddr(h->v4, 6999, &at, &size);
    (void)bind(server, (struct sockaddr *)&at, size);
    client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < 4; i++) {
        (void)sendto(client, "m", 1, 0, (struct sockaddr *)&at, size);
        if (poll(&p, 1, 5000) == 1)
            (void)recv(server, &byte, 1, MSG_DONTWAIT);
    }
    close(client);
    close(server);
}

void lab_open(struct lab *lab)
{
    cpu_set_t one;

    memset(lab, 0, sizeof(*lab));
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
        printf("ok 1 - all # SKIP needs root\n");
        exit(EXIT_SUCCESS);
    }
    lab_run("ip link set lo up");
    quiet("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    quiet("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
    for (int i = 0; i < LAB_HOSTS; i++)
        host_open(lab, i);
    for (int i = 0; i < LAB_HOSTS; i++)
        lab_neighbours(lab, i, lab->hosts[i].device);
    snprintf(lab->pin_dir, sizeof(lab->pin_dir), "/sys/fs/bpf/berm-t-%d", (int)getpid());
}

void lab_close(struct lab *lab)
{
    struct error err = ERROR_INIT;

    if (enforce_uninstall(lab->pin_dir, &err) < 0)
        printf("# uninstall: %s\n", err.msg);
    for (int i = 0; i < LAB_HOSTS; i++) {
        close_fd(&lab->hosts[i].netns_fd);
        quiet("ip netns del %s", lab->hosts[i].netns);
    }
}

int lab_socket(const struct lab_host *host, int domain, int type, int protocol)
{
    CLEANUP(close_fd) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int fd;

    if (setns(host->netns_fd, CLONE_NEWNET) < 0)
        return -1;
    fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    if (setns(home, CLONE_NEWNET) < 0)
        abort();
    return fd;
}

int lab_tap(const struct lab_host *host)
{
    int fd = lab_socket(host, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    int size = 4 << 20;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    return fd;
}

struct lab_counts lab_count(int tap, const char *source)
{
    struct lab_counts counts = {0};
    uint8_t frame[2048], wanted[16], address[16] = {[10] = 0xff, [11] = 0xff};

    lab_address(source, wanted);
    for (;;) {
        struct sockaddr_ll from;
        socklen_t size = sizeof(from);
        ssize_t n = recvfrom(tap, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size);

        if (n < 0)
            return counts;
        if (from.sll_pkttype == PACKET_OUTGOING || n < 34)
            continue;
        if (frame[12] == 8 && frame[13] == 0)
            memcpy(address + 12, frame + 26, 4);
        else if (frame[12] == 0x86 && n >= 54)
            memcpy(address, frame + 22, 16);
        else
            memset(address, 0, 16);
        if (!memcmp(address, wanted, 16))
            counts.ip++;
        else
            counts.other++;
        memset(address, 0, 16);
        address[10] = address[11] = 0xff;
    }
}

void lab_address(const char *text, uint8_t ret[16])
{
    memset(ret, 0, 16);
    if (inet_pton(AF_INET6, text, ret) == 1)
        return;
    ret[10] = ret[11] = 0xff;
    if (inet_pton(AF_INET, text, ret + 12) != 1)
        abort();
}

void lab_sockaddr(const char *address, int port, struct sockaddr_storage *ret, socklen_t *ret_size)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

    memset(ret, 0, sizeof(*ret));
    if (strchr(address, ':')) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        inet_pton(AF_INET6, address, &in6->sin6_addr);
        *ret_size = sizeof(*in6);
    } else {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        inet_pton(AF_INET, address, &in->sin_addr);
        *ret_size = sizeof(*in);
    }
}

void lab_sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}
