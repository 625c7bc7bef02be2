#include "agent/standalone/network.h"

#include "agent/config.h"
#include "agent/standalone/netns.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { GATEWAY = 1, FIRST = 2, NUMBERS_MAX = 65536 };

int ip_address_parse(const char *text, struct ip_address *ret, struct error *err)
{
    char copy[64];
    char *slash, *end;
    unsigned long prefix, max;

    *ret = (struct ip_address){.family = strchr(text, ':') ? AF_INET6 : AF_INET};
    max = ret->family == AF_INET ? 32 : 128;
    if (strlen(text) >= sizeof(copy))
        return error_set(err, -EINVAL, "'%.60s...' is no address", text);
    (void)snprintf(copy, sizeof(copy), "%s", text);
    slash = strchr(copy, '/');
    prefix = max;
    if (slash) {
        *slash = 0;
        prefix = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end || prefix > max)
            return error_set(err, -EINVAL, "'%s': bad prefix length", text);
    }
    if (inet_pton(ret->family, copy, ret->addr) != 1)
        return error_set(err, -EINVAL, "'%s' is no address", text);
    ret->prefix = (uint8_t)prefix;
    return 0;
}

void ip_address_mapped(const struct ip_address *a, uint8_t ret[16])
{
    if (a->family == AF_INET6) {
        memcpy(ret, a->addr, 16);
        return;
    }
    memset(ret, 0, 10);
    ret[10] = ret[11] = 0xff;
    memcpy(ret + 12, a->addr, 4);
}

static void clear_host_bits(struct ip_address *a)
{
    unsigned size = a->family == AF_INET ? 4 : 16;

    for (unsigned bit = a->prefix; bit < size * 8; bit++)
        a->addr[bit / 8] &= (uint8_t) ~(0x80 >> (bit % 8));
}

static void add_number(struct ip_address *a, uint32_t number)
{
    unsigned i = a->family == AF_INET ? 4 : 16;

    while (number && i--) {
        number += a->addr[i];
        a->addr[i] = (uint8_t)number;
        number >>= 8;
    }
}

void network_address(const struct pod_network *n, uint32_t number, struct pod_address *ret)
{
    static const uint8_t mac_prefix[2] = {0x0a, 0x58}, host_prefix[2] = {0x0e, 0x58};

    memset(ret, 0, sizeof(*ret));
    ret->v4 = n->net4;
    ret->v6 = n->net6;
    add_number(&ret->v4, number);
    add_number(&ret->v6, number);
    memcpy(ret->mac, mac_prefix, 2);
    memcpy(ret->mac + 2, ret->v4.addr, 4);
    memcpy(ret->host_mac, host_prefix, 2);
    memcpy(ret->host_mac + 2, ret->v4.addr, 4);
    (void)inet_ntop(AF_INET, ret->v4.addr, ret->text4, sizeof(ret->text4));
    (void)inet_ntop(AF_INET6, ret->v6.addr, ret->text6, sizeof(ret->text6));
}

static int parse_networks(struct pod_network *n, const struct config *c, struct error *err)
{
    if (ip_address_parse(c->pod_cidr, &n->net4, err) < 0)
        return error_wrap(err, "--pod-cidr");
    if (ip_address_parse(c->pod_cidr6, &n->net6, err) < 0)
        return error_wrap(err, "--pod-cidr6");
    if (n->net4.family != AF_INET || n->net4.prefix < 8 || n->net4.prefix > 29)
        return error_set(err, -EINVAL, "--pod-cidr: '%s' is no IPv4 network of /8 to /29",
                         c->pod_cidr);
    if (n->net6.family != AF_INET6 || n->net6.prefix > 112)
        return error_set(err, -EINVAL, "--pod-cidr6: '%s' is no IPv6 network of /112 or more",
                         c->pod_cidr6);
    clear_host_bits(&n->net4);
    clear_host_bits(&n->net6);
    n->limit = MIN((uint32_t)NUMBERS_MAX, (1U << (32 - n->net4.prefix)) - 1);
    n->used = calloc(n->limit, 1);
    return n->used ? 0 : error_errno(err, -ENOMEM, "pod addresses");
}

/* A setting of one device only. Missing files (an older kernel, IPv6 off) are fine. */
static void set_device(int family, const char *device, const char *key, const char *value)
{
    char path[128];
    struct error err = ERROR_INIT;

    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv%d/conf/%s/%s", family == AF_INET ? 4 : 6,
                   device, key);
    if (file_write(AT_FDCWD, path, value, &err) < 0)
        log_debug("%s", err.msg);
}

/* IPv4 forwards by the device a packet came in on; IPv6, before force_forwarding, only by one
 * switch for the whole namespace, which is why it is touched only when forwarding was asked for. */
static void set_forwarding(const struct pod_network *n, const struct config *c)
{
    set_device(AF_INET, n->bridge, "forwarding", c->forward ? "1" : "0");
    set_device(AF_INET, n->bridge, "send_redirects", "0");
    set_device(AF_INET6, n->bridge, "accept_ra", "0");
    if (c->forward)
        set_device(AF_INET6, "all", "forwarding", "1");
}

int network_init(struct pod_network *n, const struct config *c, struct error *err)
{
    struct pod_address gateway;
    int r;

    *n = (struct pod_network){.bridge = c->bridge, .mtu = (uint32_t)c->mtu, .next = FIRST};
    r = parse_networks(n, c, err);
    if (r == 0)
        r = netlink_open(&n->nl, -1, err);
    if (r < 0)
        return r;
    network_address(n, GATEWAY, &gateway);
    memcpy(n->bridge_mac, gateway.host_mac, 6);
    r = link_add_bridge(&n->nl, n->bridge, n->bridge_mac, n->mtu, err);
    if (r == 0)
        r = n->bridge_index = link_index(&n->nl, n->bridge, err);
    if (r >= 0)
        r = link_set_up(&n->nl, n->bridge_index, err);
    if (r == 0)
        r = address_add(&n->nl, n->bridge_index, &gateway.v4, err);
    if (r == 0)
        r = address_add(&n->nl, n->bridge_index, &gateway.v6, err);
    if (r == 0)
        set_forwarding(n, c);
    return r;
}

void network_fini(struct pod_network *n)
{
    netlink_close(&n->nl);
    free(n->used);
    n->used = NULL;
}

int network_allocate(struct pod_network *n, uint32_t *ret_number, struct error *err)
{
    for (uint32_t i = 0; i < n->limit; i++) {
        uint32_t number = n->next;

        n->next = n->next + 1 < n->limit ? n->next + 1 : FIRST;
        if (n->used[number])
            continue;
        n->used[number] = 1;
        *ret_number = number;
        return 0;
    }
    return error_set(err, -EADDRNOTAVAIL, "no free pod address left in the pod network");
}

int network_claim(struct pod_network *n, uint32_t number)
{
    if (number < FIRST || number >= n->limit)
        return -ERANGE;
    if (n->used[number])
        return -EADDRINUSE;
    n->used[number] = 1;
    n->next = number + 1 < n->limit ? number + 1 : FIRST;
    return 0;
}

void network_release(struct pod_network *n, uint32_t number)
{
    if (number >= FIRST && number < n->limit)
        n->used[number] = 0;
}

static int set_inside(int ns_fd, struct error *err)
{
    struct netns_scope scope;
    int r = netns_enter(&scope, ns_fd, err);

    if (r < 0)
        return r;
    set_device(AF_INET6, "eth0", "accept_ra", "0");
    set_device(AF_INET6, "eth0", "accept_dad", "0");
    set_device(AF_INET6, "eth0", "addr_gen_mode", "1");
    netns_leave(&scope);
    return 0;
}

static int configure_inside(struct pod_network *n, struct netlink *in, const struct pod_address *a,
                            struct error *err)
{
    struct pod_address gateway;
    int lo = link_index(in, "lo", err), eth = lo < 0 ? lo : link_index(in, "eth0", err), r;

    network_address(n, GATEWAY, &gateway);
    if (eth < 0)
        return eth;
    if ((r = link_set_up(in, lo, err)) < 0 || (r = link_set_up(in, eth, err)) < 0 ||
        (r = address_add(in, eth, &a->v4, err)) < 0 ||
        (r = address_add(in, eth, &a->v6, err)) < 0 ||
        (r = neighbour_add(in, eth, &gateway.v4, n->bridge_mac, err)) < 0 ||
        (r = neighbour_add(in, eth, &gateway.v6, n->bridge_mac, err)) < 0 ||
        (r = route_add(in, NULL, &gateway.v4, eth, err)) < 0)
        return r;
    return route_add(in, NULL, &gateway.v6, eth, err);
}

static int attach_in(struct pod_network *n, int ns_fd, const char *ifname,
                     const struct pod_address *a, struct error *err)
{
    struct veth_end host = {.name = ifname, .ns_fd = -1}, pod = {.name = "eth0", .ns_fd = ns_fd};
    struct netlink in;
    int r;

    memcpy(host.mac, a->host_mac, 6);
    memcpy(pod.mac, a->mac, 6);
    r = link_delete(&n->nl, ifname, err);
    if (r == 0)
        r = link_add_veth(&n->nl, &host, &pod, n->mtu, err);
    if (r == 0)
        r = set_inside(ns_fd, err);
    if (r == 0)
        r = netlink_open(&in, ns_fd, err);
    if (r < 0)
        return r;
    r = configure_inside(n, &in, a, err);
    netlink_close(&in);
    return r;
}

int network_attach(struct pod_network *n, const char *netns_path, const char *ifname,
                   const struct pod_address *a, int *ret_ifindex, struct error *err)
{
    CLEANUP(close_fd) int ns_fd = -1;
    int r = netns_create(netns_path, err);

    if (r == 0)
        r = netns_open(netns_path, &ns_fd, err);
    if (r == 0)
        r = attach_in(n, ns_fd, ifname, a, err);
    if (r == 0)
        r = *ret_ifindex = link_index(&n->nl, ifname, err);
    if (r < 0)
        network_detach(n, netns_path, ifname);
    else
        set_device(AF_INET6, ifname, "addr_gen_mode", "1");
    return r < 0 ? r : 0;
}

int network_connect(struct pod_network *n, int ifindex, struct error *err)
{
    int r = link_set_master(&n->nl, ifindex, n->bridge_index, err);

    return r < 0 ? r : link_set_up(&n->nl, ifindex, err);
}

int network_check(struct pod_network *n, const char *netns_path, const char *ifname,
                  struct error *err)
{
    CLEANUP(close_fd) int ns_fd = -1;
    int r = netns_open(netns_path, &ns_fd, err);

    return r < 0 ? r : link_index(&n->nl, ifname, err);
}

void network_detach(struct pod_network *n, const char *netns_path, const char *ifname)
{
    struct error err = ERROR_INIT;

    if (link_delete(&n->nl, ifname, &err) < 0)
        log_warn("%s", err.msg);
    netns_remove(netns_path);
}
