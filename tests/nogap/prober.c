/*
 * A pod that never stops trying, and the far end that counts what it may send.
 *
 *   prober send GUARDED4 GUARDED6 DENIED4 DENIED6 ALLOWED4 [DENIED4]...
 *       UDP to each and TCP to the IPv4 ones, for ever; what goes to ALLOWED4 is numbered
 *   prober frames DEVICE GUARDED4 GUARDED6 DENIED4 DENIED6
 *       the same by whole frames from a packet socket: no cgroup sees those
 *   prober sink FILE
 *       counts numbered datagrams, and those that are missing between two, in FILE: two u64
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 80, NUMBERED_PORT = 9000, ROUND_US = 1000, PEERS_MAX = 4096, FRAME = 64 };

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static socklen_t address(const char *text, int port, struct sockaddr_storage *ret)
{
    struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ret;
    struct sockaddr_in *a = (struct sockaddr_in *)ret;

    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &a->sin_addr) == 1) {
        a->sin_family = AF_INET;
        a->sin_port = htons((uint16_t)port);
        return sizeof(*a);
    }
    if (inet_pton(AF_INET6, text, &a6->sin6_addr) != 1)
        die(text);
    a6->sin6_family = AF_INET6;
    a6->sin6_port = htons((uint16_t)port);
    return sizeof(*a6);
}

/* A connection is begun, not waited for. */
static void knock(const struct sockaddr_storage *to, socklen_t size)
{
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return;
    (void)connect(fd, (const struct sockaddr *)to, size);
    (void)close(fd);
}

_Noreturn static void send_all(int n, char **targets)
{
    enum { ALLOWED = 4 };
    int fd4 = socket(AF_INET, SOCK_DGRAM, 0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0);
    uint64_t number = 0;

    for (;;) {
        for (int i = 0; i < n; i++) {
            struct sockaddr_storage to;
            socklen_t size = address(targets[i], i == ALLOWED ? NUMBERED_PORT : PORT, &to);
            bool v4 = to.ss_family == AF_INET;

            number += i == ALLOWED;
            (void)sendto(v4 ? fd4 : fd6, &number, sizeof(number), 0, (struct sockaddr *)&to, size);
            if (v4 && i != ALLOWED)
                knock(&to, size);
        }
        (void)usleep(ROUND_US);
    }
}

/* -- frames ------------------------------------------------------------------------------ */

struct device {
    int fd, index;
    uint8_t mac[6], gateway[6];
    struct in_addr v4;
    struct in6_addr v6;
};

static void read_file_address6(const char *name, struct in6_addr *ret)
{
    FILE *f = fopen("/proc/net/if_inet6", "re");
    char hex[33], device[32];
    unsigned scope;

    while (f && fscanf(f, "%32s %*x %*x %x %*x %31s", hex, &scope, device) == 3) {
        if (strcmp(device, name) != 0 || scope != 0)
            continue;
        for (int i = 0; i < 16; i++)
            (void)sscanf(hex + 2 * i, "%2hhx", &ret->s6_addr[i]);
    }
    if (f)
        (void)fclose(f);
}

static void read_gateway(uint8_t mac[6])
{
    FILE *f = fopen("/proc/net/arp", "re");
    char line[256];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*s %*s %*s %hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2],
                   &mac[3], &mac[4], &mac[5]) == 6)
            break;
    }
    if (f)
        (void)fclose(f);
}

static void open_device(const char *name, struct device *d)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    d->fd = socket(AF_PACKET, SOCK_RAW, 0);
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (d->fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
        die(name);
    memcpy(d->mac, request.ifr_hwaddr.sa_data, 6);
    if (ioctl(fd, SIOCGIFADDR, &request) < 0)
        die(name);
    d->v4 = ((struct sockaddr_in *)&request.ifr_addr)->sin_addr;
    d->index = (int)if_nametoindex(name);
    read_file_address6(name, &d->v6);
    read_gateway(d->gateway);
    (void)close(fd);
}

static uint16_t checksum(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

/* UDP to port 80, eight bytes of header and nothing else. */
static size_t make_frame(const struct device *d, const struct sockaddr_storage *to,
                         uint8_t frame[FRAME])
{
    static const uint8_t udp[8] = {0x30, 0x39, 0, PORT, 0, 8, 0, 0};
    bool v4 = to->ss_family == AF_INET;
    uint8_t *ip = frame + ETH_HLEN;
    uint16_t sum;

    memset(frame, 0, FRAME);
    memcpy(frame, d->gateway, 6);
    memcpy(frame + 6, d->mac, 6);
    frame[12] = v4 ? 0x08 : 0x86;
    frame[13] = v4 ? 0x00 : 0xdd;
    if (v4) {
        memcpy(ip, (uint8_t[]){0x45, 0, 0, 28, 0, 0, 0, 0, 64, IPPROTO_UDP}, 10);
        memcpy(ip + 12, &d->v4, 4);
        memcpy(ip + 16, &((const struct sockaddr_in *)to)->sin_addr, 4);
        sum = checksum(ip, 20);
        memcpy(ip + 10, &sum, 2);
        memcpy(ip + 20, udp, 8);
        return ETH_HLEN + 28;
    }
    memcpy(ip, (uint8_t[]){0x60, 0, 0, 0, 0, 8, IPPROTO_UDP, 64}, 8);
    memcpy(ip + 8, &d->v6, 16);
    memcpy(ip + 24, &((const struct sockaddr_in6 *)to)->sin6_addr, 16);
    memcpy(ip + 40, udp, 8);
    return ETH_HLEN + 48;
}

_Noreturn static void send_frames(const char *name, int n, char **targets)
{
    struct device d = {0};
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_halen = 6};

    open_device(name, &d);
    at.sll_ifindex = d.index;
    for (;;) {
        for (int i = 0; i < n; i++) {
            struct sockaddr_storage to;
            uint8_t frame[FRAME];
            size_t size;

            (void)address(targets[i], PORT, &to);
            size = make_frame(&d, &to, frame);
            (void)sendto(d.fd, frame, size, 0, (struct sockaddr *)&at, sizeof(at));
        }
        (void)usleep(ROUND_US);
    }
}

/* -- the far end ------------------------------------------------------------------------- */

struct peer {
    struct sockaddr_in from;
    uint64_t last;
};

static struct peer *find_peer(struct peer *list, const struct sockaddr_in *from)
{
    size_t at = (ntohl(from->sin_addr.s_addr) * 31U + from->sin_port) % PEERS_MAX;

    while (list[at].last && memcmp(&list[at].from, from, sizeof(*from)) != 0)
        at = (at + 1) % PEERS_MAX;
    list[at].from = *from;
    return &list[at];
}

_Noreturn static void sink(const char *path)
{
    static struct peer peers[PEERS_MAX];
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), size = 8 << 20;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_storage any;
    uint64_t *count;

    if (file < 0 || ftruncate(file, 16) < 0)
        die(path);
    count = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (count == MAP_FAILED)
        die(path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    (void)address("0.0.0.0", NUMBERED_PORT, &any);
    if (bind(fd, (struct sockaddr *)&any, sizeof(struct sockaddr_in)) < 0)
        die("bind");
    for (;;) {
        struct sockaddr_in from = {0};
        socklen_t length = sizeof(from);
        struct peer *peer;
        uint64_t number;

        if (recvfrom(fd, &number, sizeof(number), 0, (struct sockaddr *)&from, &length) !=
            sizeof(number))
            continue;
        peer = find_peer(peers, &from);
        if (peer->last && number > peer->last + 1)
            count[1] += number - peer->last - 1;
        peer->last = number;
        count[0]++;
    }
}

int main(int argc, char **argv)
{
    if (argc >= 7 && !strcmp(argv[1], "send"))
        send_all(argc - 2, argv + 2);
    if (argc >= 4 && !strcmp(argv[1], "frames"))
        send_frames(argv[2], argc - 3, argv + 3);
    if (argc == 3 && !strcmp(argv[1], "sink"))
        sink(argv[2]);
    (void)fprintf(stderr, "usage: prober send|frames|sink ...\n");
    return EXIT_FAILURE;
}
