/*
 * Frames through the programs, one by one: each row is tried in both families where it can be, and
 * both engines must give the verdict and the reason of the row.
 */
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TCP = 6, UDP = 17, ICMP = 1, SCTP = 132, SYN = 2, ACK = 16 };
enum remote { ALLOWED, ANYPORT, OTHER, META, NODE, ISCSI, REMOTE_MAX };
static const char *const remote_text[2][REMOTE_MAX] = {
    {"10.77.2.2", "10.77.5.5", "10.99.0.1", "169.254.169.254", "10.77.1.1", "169.254.2.7"},
    {"fd77:2::2", "fd77:5::5", "fd99::1", "fd00:ec2::254", "fd77:1::1", NULL},
};
enum flags {
    LATER = 1 << 0, /* a fragment with an offset */
    FIRST = 1 << 1,
    TINY = 1 << 2,    /* first fragment, L4 header cut */
    OPTIONS = 1 << 3, /* IPv4 options, IPv6 destination options */
    SOURCE_ROUTE = 1 << 4,
    VLAN = 1 << 5,
    BAD_SOURCE = 1 << 6,
    BAD_MAC = 1 << 7,
    CUT = 1 << 8, /* L4 header cut, no fragment */
    BAD_LENGTH = 1 << 9,
    MANY = 1 << 10, /* too many extension headers */
    LATE_HBH = 1 << 11,
    OVERLAP = 1 << 12, /* offset 8: over the L4 header */
    BAD_VERSION = 1 << 13,
    MOBILITY = 1 << 14,
};

#define R(name) BERM_REASON_##name
struct row {
    const char *name;
    enum berm_direction direction;
    int families; /* 4, 6, 10 = both */
    enum remote remote;
    uint8_t protocol;
    uint16_t port;
    unsigned flags;
    enum berm_reason guard, policy;
};

static const struct row rows[] = {
    {"UDP to an allowed port", BERM_EGRESS, 10, ALLOWED, UDP, 80, 0, R(NONE), R(NONE)},
    {"TCP to an allowed port", BERM_EGRESS, 10, ALLOWED, TCP, 85, 0, R(NONE), R(NONE)},
    {"TCP below the range", BERM_EGRESS, 10, ALLOWED, TCP, 79, 0, R(NONE), R(POLICY_DEFAULT)},
    {"TCP above the range", BERM_EGRESS, 10, ALLOWED, TCP, 91, 0, R(NONE), R(POLICY_DEFAULT)},
    {"SCTP where TCP is allowed", BERM_EGRESS, 10, ALLOWED, SCTP, 80, 0, R(NONE),
     R(POLICY_DEFAULT)},
    {"another peer", BERM_EGRESS, 10, OTHER, UDP, 80, 0, R(NONE), R(POLICY_DEFAULT)},
    {"any port", BERM_EGRESS, 10, ANYPORT, SCTP, 4, 0, R(NONE), R(NONE)},
    {"unknown L4 by a rule without ports", BERM_EGRESS, 10, ANYPORT, 200, 0, 0, R(NONE), R(NONE)},
    {"unknown L4 by a rule with ports", BERM_EGRESS, 10, ALLOWED, 200, 0, 0, R(NONE),
     R(POLICY_DEFAULT)},
    {"ping where all ports are allowed", BERM_EGRESS, 10, ANYPORT, ICMP, 0, 0, R(NONE), R(NONE)},
    {"ping where some ports are", BERM_EGRESS, 10, ALLOWED, ICMP, 0, 0, R(NONE), R(POLICY_DEFAULT)},
    {"in, allowed", BERM_INGRESS, 10, ALLOWED, TCP, 8080, 0, R(NONE), R(NONE)},
    {"in, other port", BERM_INGRESS, 10, ALLOWED, TCP, 8081, 0, R(NONE), R(POLICY_DEFAULT)},
    {"in, other peer", BERM_INGRESS, 10, OTHER, TCP, 8080, 0, R(NONE), R(POLICY_DEFAULT)},
    {"metadata by TCP", BERM_EGRESS, 10, META, TCP, 80, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"metadata by UDP", BERM_EGRESS, 10, META, UDP, 80, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"metadata by ping", BERM_EGRESS, 10, META, ICMP, 0, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"metadata by unknown L4", BERM_EGRESS, 10, META, 200, 0, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"metadata by SCTP", BERM_EGRESS, 10, META, SCTP, 80, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"metadata, first fragment", BERM_EGRESS, 10, META, UDP, 80, FIRST, R(GUARDED),
     R(POLICY_DEFAULT)},
    {"metadata, later fragment", BERM_EGRESS, 10, META, UDP, 80, LATER, R(GUARDED),
     R(POLICY_DEFAULT)},
    {"metadata, DNS as a later fragment", BERM_EGRESS, 4, META, UDP, 53, LATER, R(GUARDED),
     R(POLICY_DEFAULT)},
    {"metadata's answer", BERM_INGRESS, 10, META, TCP, 80, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"metadata, DNS", BERM_EGRESS, 4, META, UDP, 53, 0, R(NONE), R(POLICY_DEFAULT)},
    {"metadata, DNS by TCP", BERM_EGRESS, 4, META, TCP, 53, 0, R(NONE), R(POLICY_DEFAULT)},
    {"metadata, NTP", BERM_EGRESS, 4, META, UDP, 123, 0, R(NONE), R(POLICY_DEFAULT)},
    {"metadata, NTP's port by TCP", BERM_EGRESS, 4, META, TCP, 123, 0, R(GUARDED),
     R(POLICY_DEFAULT)},
    {"iSCSI of OCI", BERM_EGRESS, 4, ISCSI, TCP, 3260, 0, R(GUARDED), R(POLICY_DEFAULT)},
    {"the same address, other port", BERM_EGRESS, 4, ISCSI, TCP, 3261, 0, R(NONE),
     R(POLICY_DEFAULT)},
    {"the same address, later fragment", BERM_EGRESS, 4, ISCSI, TCP, 3260, LATER, R(GUARDED),
     R(POLICY_DEFAULT)},
    {"first fragment, allowed", BERM_EGRESS, 10, ALLOWED, UDP, 80, FIRST, R(NONE), R(NONE)},
    {"its later fragment", BERM_EGRESS, 10, ALLOWED, UDP, 80, LATER, R(NONE), R(NONE)},
    {"later fragment of nothing", BERM_EGRESS, 10, OTHER, UDP, 80, LATER, R(NONE),
     R(POLICY_DEFAULT)},
    {"later fragment, any port", BERM_EGRESS, 10, ANYPORT, UDP, 80, LATER, R(NONE), R(NONE)},
    {"fragment over the L4 header", BERM_EGRESS, 10, ALLOWED, UDP, 80, OVERLAP, R(TINY_FRAGMENT),
     R(TINY_FRAGMENT)},
    {"tiny first fragment", BERM_EGRESS, 10, ALLOWED, TCP, 80, TINY, R(TINY_FRAGMENT),
     R(TINY_FRAGMENT)},
    {"cut L4 header", BERM_EGRESS, 10, ALLOWED, TCP, 80, CUT, R(MALFORMED), R(MALFORMED)},
    {"length beyond the frame", BERM_EGRESS, 10, ALLOWED, UDP, 80, BAD_LENGTH, R(MALFORMED),
     R(MALFORMED)},
    {"wrong IP version", BERM_EGRESS, 10, ALLOWED, UDP, 80, BAD_VERSION, R(MALFORMED),
     R(MALFORMED)},
    {"IP options", BERM_EGRESS, 4, ALLOWED, UDP, 80, OPTIONS, R(IP_OPTIONS), R(IP_OPTIONS)},
    {"destination options", BERM_EGRESS, 6, ALLOWED, UDP, 80, OPTIONS, R(NONE), R(NONE)},
    {"destination options to metadata", BERM_EGRESS, 6, META, UDP, 80, OPTIONS, R(GUARDED),
     R(POLICY_DEFAULT)},
    {"loose source route", BERM_EGRESS, 4, ALLOWED, UDP, 80, SOURCE_ROUTE, R(IP_OPTIONS),
     R(IP_OPTIONS)},
    {"routing header", BERM_EGRESS, 6, ALLOWED, UDP, 80, SOURCE_ROUTE, R(ROUTING_HEADER),
     R(ROUTING_HEADER)},
    {"routing header, inwards", BERM_INGRESS, 6, ALLOWED, UDP, 80, SOURCE_ROUTE, R(ROUTING_HEADER),
     R(ROUTING_HEADER)},
    {"seven extension headers", BERM_EGRESS, 6, ALLOWED, UDP, 80, MANY, R(EXTENSION_HEADER),
     R(EXTENSION_HEADER)},
    {"hop-by-hop header not first", BERM_EGRESS, 6, ALLOWED, UDP, 80, LATE_HBH, R(EXTENSION_HEADER),
     R(EXTENSION_HEADER)},
    {"mobility header", BERM_EGRESS, 6, ALLOWED, UDP, 80, MOBILITY, R(EXTENSION_HEADER),
     R(EXTENSION_HEADER)},
    {"VLAN tag", BERM_EGRESS, 10, ALLOWED, UDP, 80, VLAN, R(VLAN), R(VLAN)},
    {"VLAN tag, metadata", BERM_EGRESS, 10, META, UDP, 80, VLAN, R(VLAN), R(VLAN)},
    {"foreign source address", BERM_EGRESS, 10, ALLOWED, UDP, 80, BAD_SOURCE, R(SPOOFED_ADDRESS),
     R(SPOOFED_ADDRESS)},
    {"foreign MAC", BERM_EGRESS, 10, ALLOWED, UDP, 80, BAD_MAC, R(SPOOFED_MAC), R(SPOOFED_MAC)},
    {"IPIP to the node", BERM_EGRESS, 10, NODE, 4, 0, 0, R(TUNNEL), R(TUNNEL)},
    {"6in4 to the node", BERM_EGRESS, 10, NODE, 41, 0, 0, R(TUNNEL), R(TUNNEL)},
    {"GRE to the node", BERM_EGRESS, 10, NODE, 47, 0, 0, R(TUNNEL), R(TUNNEL)},
    {"ESP to the node", BERM_EGRESS, 10, NODE, 50, 0, 0, R(TUNNEL), R(TUNNEL)},
    {"VXLAN to the node", BERM_EGRESS, 10, NODE, UDP, 4789, 0, R(TUNNEL), R(TUNNEL)},
    {"VXLAN, old port, to the node", BERM_EGRESS, 10, NODE, UDP, 8472, 0, R(TUNNEL), R(TUNNEL)},
    {"Geneve to the node", BERM_EGRESS, 10, NODE, UDP, 6081, 0, R(TUNNEL), R(TUNNEL)},
    {"GRE to another, any port", BERM_EGRESS, 10, ANYPORT, 47, 0, 0, R(NONE), R(NONE)},
    {"UDP to the node", BERM_EGRESS, 10, NODE, UDP, 80, 0, R(NONE), R(POLICY_DEFAULT)},
};

static void build(const struct judge *j, const struct row *row, int family, struct frame *f)
{
    static const uint8_t lsrr[8] = {131, 7, 4, 169, 254, 169, 254, 0}, nops[4] = {1, 1, 1, 0};
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    bool out = row->direction == BERM_EGRESS;
    uint8_t local[16], remote[16], mac[6];
    uint16_t type = family == 4 ? 0x0800 : 0x86dd;
    uint32_t id = 0x1234 + (uint32_t)row->remote;
    size_t size = row->flags & (TINY | CUT) ? 7 : 64;

    lab_address(family == 4 ? h->v4 : h->v6, local);
    lab_address(remote_text[family == 6][row->remote], remote);
    if (row->flags & BAD_SOURCE)
        local[15] ^= 1;
    memcpy(mac, h->mac, 6);
    mac[5] = (uint8_t)(mac[5] ^ (row->flags & BAD_MAC ? 1 : 0));
    frame_ether(f, out ? h->gateway_mac : mac, out ? mac : h->gateway_mac,
                row->flags & VLAN ? 0x8100 : type);
    if (row->flags & VLAN) {
        uint8_t tag[4] = {0, 5, (uint8_t)(type >> 8), (uint8_t)type};

        frame_bytes(f, tag, 4);
    }
    frame_ip(f, family, out ? local : remote, out ? remote : local, 64);
    if (row->flags & OPTIONS && family == 4)
        frame_options(f, nops, 4);
    else if (row->flags & OPTIONS)
        frame_extension(f, 60, 16, 1);
    if (row->flags & SOURCE_ROUTE && family == 4)
        frame_options(f, lsrr, 8);
    else if (row->flags & SOURCE_ROUTE)
        frame_extension(f, 43, 24, 0);
    for (int i = 0; i < 7 && row->flags & MANY; i++)
        frame_extension(f, 60, 8, 1);
    if (row->flags & LATE_HBH) {
        frame_extension(f, 60, 8, 1);
        frame_extension(f, 0, 8, 1);
    }
    if (row->flags & MOBILITY)
        frame_extension(f, 135, 8, 1);
    if (row->flags & (FIRST | TINY))
        frame_fragment(f, 0, 1, id);
    if (row->flags & LATER)
        frame_fragment(f, 1200, 0, id);
    if (row->flags & OVERLAP)
        frame_fragment(f, 8, 0, id);
    if (row->protocol == ICMP) {
        frame_icmp(f, family == 4 ? 8 : 128, 77);
    } else {
        bool answer = !out && row->remote == META; /* ports as the serving side's */

        frame_l4(f, row->protocol, answer ? row->port : 40000, answer ? 40000 : row->port, SYN,
                 size);
    }
    if (!(row->flags & (TINY | CUT)))
        frame_bytes(f, "sixteen bytes...", 16);
    frame_end(f);
    if (row->flags & BAD_LENGTH)
        f->data[f->ip + (family == 4 ? 2 : 4)] = 0x40;
    if (row->flags & BAD_VERSION)
        f->data[f->ip] = (uint8_t)(f->data[f->ip] ^ 0x70);
}

static void expect(struct judge *j, const char *name, enum berm_direction direction,
                   const struct frame *f, enum berm_reason guard, enum berm_reason policy)
{
    enum berm_reason g = judge_reason(j, BERM_ENGINE_GUARD, direction, f);
    enum berm_reason p = judge_reason(j, BERM_ENGINE_POLICY, direction, f);

    tap_ok(g == guard && p == policy, "%s: guard %s, policy %s", name, enforce_reason_name(g),
           enforce_reason_name(p));
}

static void test_rows(struct judge *j)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (int family = 4; family <= 6; family += 2) {
            struct frame f;
            char name[128];

            if (rows[i].families != 10 && rows[i].families != family)
                continue;
            build(j, &rows[i], family, &f);
            snprintf(name, sizeof(name), "%s, IPv%d", rows[i].name, family);
            expect(j, name, rows[i].direction, &f, rows[i].guard, rows[i].policy);
        }
    }
}

static void test_embedded(struct judge *j)
{
    static const struct {
        const char *address;
        enum berm_reason guard;
    } forms[] = {
        {"64:ff9b::169.254.169.254", R(GUARDED_EMBEDDED)},
        {"64:ff9b:1::169.254.169.254", R(GUARDED_EMBEDDED)},
        {"64:ff9b:1:a9fe:a9:fe00::", R(GUARDED_EMBEDDED)},
        {"64:ff9b::168.63.129.16", R(GUARDED_EMBEDDED)},
        {"2002:a9fe:a9fe::1", R(GUARDED_EMBEDDED)},
        {"::169.254.169.254", R(GUARDED_EMBEDDED)},
        {"::ffff:0:169.254.169.254", R(GUARDED_EMBEDDED)},
        {"fe80::a9fe:a9fe", R(GUARDED_EMBEDDED)},
        {"2001:db8::5efe:169.254.169.254", R(GUARDED_EMBEDDED)},
        {"2001:db8::200:5efe:169.254.169.254", R(GUARDED_EMBEDDED)},
        {"2001:0:4136:e378:8000:63bf:5601:5601", R(GUARDED)},
        {"64:ff9b::8.8.8.8", R(NONE)},
        {"2002:808:808::1", R(NONE)},
        {"2001:db8::5efe:8.8.8.8", R(NONE)},
        {"fd00:ec2::253", R(NONE)},
    };
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    uint8_t local[16], remote[16];

    lab_address(h->v6, local);
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        for (int port = 53; port <= 80; port += 27) { /* exceptions do not hold inside IPv6 */
            struct frame f;

            lab_address(forms[i].address, remote);
            frame_ether(&f, h->gateway_mac, h->mac, 0x86dd);
            frame_ip(&f, 6, local, remote, 64);
            frame_l4(&f, UDP, 40000, (uint16_t)port, 0, 64);
            frame_end(&f);
            expect(j, forms[i].address, BERM_EGRESS, &f, forms[i].guard, R(POLICY_DEFAULT));
        }
    }
    lab_address("::ffff:169.254.169.254", remote);
    struct frame f;
    frame_ether(&f, h->gateway_mac, h->mac, 0x86dd);
    frame_ip(&f, 6, local, remote, 64);
    frame_l4(&f, UDP, 40000, 80, 0, 64);
    frame_end(&f);
    expect(j, "IPv4-mapped address in an IPv6 header", BERM_EGRESS, &f, R(MALFORMED), R(MALFORMED));
}

static void arp(struct frame *f, const struct lab_host *h, int op, const char *sender,
                const uint8_t sender_mac[6], const char *target)
{
    uint8_t body[28] = {0, 1, 8, 0, 6, 4, 0, (uint8_t)op}, a[16];

    memcpy(body + 8, sender_mac, 6);
    lab_address(sender, a);
    memcpy(body + 14, a + 12, 4);
    lab_address(target, a);
    memcpy(body + 24, a + 12, 4);
    frame_ether(f, h->gateway_mac, h->mac, 0x0806);
    frame_bytes(f, body, sizeof(body));
}

static void test_arp(struct judge *j)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    uint8_t other[6] = {2, 0, 0, 0, 0, 1};
    struct frame f;

    arp(&f, h, 1, h->v4, h->mac, "10.77.1.1");
    expect(j, "ARP request", BERM_EGRESS, &f, R(NONE), R(NONE));
    arp(&f, h, 1, "0.0.0.0", h->mac, h->v4);
    expect(j, "ARP probe", BERM_EGRESS, &f, R(NONE), R(NONE));
    arp(&f, h, 2, "10.77.1.1", h->mac, "10.77.2.2");
    expect(j, "ARP reply for the gateway", BERM_EGRESS, &f, R(SPOOFED_ARP), R(SPOOFED_ARP));
    arp(&f, h, 2, h->v4, other, "10.77.1.1");
    expect(j, "ARP reply with another MAC", BERM_EGRESS, &f, R(SPOOFED_ARP), R(SPOOFED_ARP));
    arp(&f, h, 1, h->v4, h->mac, "169.254.169.254");
    expect(j, "ARP request for metadata", BERM_EGRESS, &f, R(GUARDED), R(NONE));
    arp(&f, h, 1, "10.77.1.1", h->gateway_mac, h->v4);
    memcpy(f.data + 6, h->gateway_mac, 6);
    expect(j, "ARP request to the pod", BERM_INGRESS, &f, R(NONE), R(NONE));
    frame_ether(&f, h->gateway_mac, h->mac, 0x88cc);
    frame_bytes(&f, "lldp", 4);
    expect(j, "another ethertype", BERM_EGRESS, &f, R(ETHERTYPE), R(ETHERTYPE));
}

/* A neighbour discovery message with a target and one link-layer option. */
static void nd(struct frame *f, const struct lab_host *h, int type, const char *src,
               const char *dst, const char *target, const uint8_t mac[6], int hops)
{
    uint8_t a[16], b[16], option[8] = {(uint8_t)(type == 136 ? 2 : 1), 1};

    lab_address(src, a);
    lab_address(dst, b);
    frame_ether(f, h->gateway_mac, h->mac, 0x86dd);
    frame_ip(f, 6, a, b, hops);
    frame_icmp(f, (uint8_t)type, 0);
    if (target) {
        lab_address(target, a);
        frame_bytes(f, a, 16);
    }
    memcpy(option + 2, mac, 6);
    frame_bytes(f, option, 8);
    frame_end(f);
}

static void test_nd(struct judge *j)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    const char *all = "ff02::1", *gateway = "fd77:1::1";
    uint8_t other[6] = {2, 0, 0, 0, 0, 1};
    struct frame f;

    nd(&f, h, 135, h->v6, "ff02::1:ff00:1", gateway, h->mac, 255);
    expect(j, "solicitation", BERM_EGRESS, &f, R(NONE), R(NONE));
    nd(&f, h, 136, h->v6, gateway, h->v6, h->mac, 255);
    expect(j, "advertisement of its own", BERM_EGRESS, &f, R(NONE), R(NONE));
    nd(&f, h, 136, h->v6, all, gateway, h->mac, 255);
    expect(j, "advertisement for the gateway", BERM_EGRESS, &f, R(SPOOFED_ND), R(SPOOFED_ND));
    nd(&f, h, 136, h->v6, all, h->v6, other, 255);
    expect(j, "advertisement with another MAC", BERM_EGRESS, &f, R(SPOOFED_ND), R(SPOOFED_ND));
    nd(&f, h, 135, h->v6, gateway, gateway, h->mac, 64);
    expect(j, "solicitation that was routed", BERM_EGRESS, &f, R(SPOOFED_ND), R(SPOOFED_ND));
    nd(&f, h, 135, h->v6, "fd99::1", "fd99::1", h->mac, 255);
    expect(j, "unicast solicitation to anybody", BERM_EGRESS, &f, R(NONE), R(POLICY_DEFAULT));
    nd(&f, h, 135, h->v6, "ff02::1:ff00:254", "fd00:ec2::254", h->mac, 255);
    expect(j, "solicitation for metadata", BERM_EGRESS, &f, R(GUARDED), R(NONE));
    nd(&f, h, 134, h->v6, all, NULL, h->mac, 255);
    expect(j, "router advertisement", BERM_EGRESS, &f, R(ROUTER_ADVERT), R(ROUTER_ADVERT));
    nd(&f, h, 137, h->v6, all, gateway, h->mac, 255);
    expect(j, "redirect", BERM_EGRESS, &f, R(ROUTER_ADVERT), R(ROUTER_ADVERT));
    expect(j, "redirect to the pod", BERM_INGRESS, &f, R(ROUTER_ADVERT), R(ROUTER_ADVERT));
    nd(&f, h, 135, "::", "ff02::1:ff00:2", h->v6, h->mac, 255);
    expect(j, "duplicate address detection", BERM_EGRESS, &f, R(NONE), R(NONE));
    nd(&f, h, 134, "fe80::1", all, NULL, h->gateway_mac, 255);
    expect(j, "router advertisement to the pod", BERM_INGRESS, &f, R(NONE), R(NONE));
}

static void test_dhcp(struct judge *j)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    uint8_t local[16], remote[16];
    struct frame f;

    lab_address(h->v4, local);
    lab_address("10.77.5.5", remote);
    frame_ether(&f, h->gateway_mac, h->mac, 0x0800);
    frame_ip(&f, 4, local, remote, 64);
    frame_l4(&f, UDP, 67, 68, 0, 64);
    frame_end(&f);
    expect(j, "DHCP answer from a pod", BERM_EGRESS, &f, R(DHCP_SERVER), R(DHCP_SERVER));
    lab_address(h->v6, local);
    lab_address("fd77:5::5", remote);
    frame_ether(&f, h->gateway_mac, h->mac, 0x86dd);
    frame_ip(&f, 6, local, remote, 64);
    frame_l4(&f, UDP, 547, 546, 0, 64);
    frame_end(&f);
    expect(j, "DHCPv6 answer from a pod", BERM_EGRESS, &f, R(DHCP_SERVER), R(DHCP_SERVER));
    lab_address(h->v4, local);
    lab_address("127.0.0.1", remote);
    frame_ether(&f, h->gateway_mac, h->mac, 0x0800);
    frame_ip(&f, 4, local, remote, 64);
    frame_l4(&f, TCP, 4000, 80, SYN, 64);
    frame_end(&f);
    expect(j, "the node's loopback address", BERM_EGRESS, &f, R(LOOPBACK), R(LOOPBACK));
}

/* Connections: what an answer is and what only looks like one. */
static void test_connections(struct judge *j)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    uint8_t local[16], remote[16];
    struct frame out, in, quoted;

    lab_address(h->v4, local);
    lab_address("10.77.2.2", remote);
    frame_ether(&in, h->mac, h->gateway_mac, 0x0800);
    frame_ip(&in, 4, remote, local, 64);
    frame_l4(&in, TCP, 82, 41000, ACK | SYN, 64);
    frame_end(&in);
    expect(j, "an answer to nothing", BERM_INGRESS, &in, R(NONE), R(POLICY_DEFAULT));
    frame_ether(&out, h->gateway_mac, h->mac, 0x0800);
    frame_ip(&out, 4, local, remote, 64);
    frame_l4(&out, TCP, 41000, 82, SYN, 64);
    frame_end(&out);
    expect(j, "a connection begins", BERM_EGRESS, &out, R(NONE), R(NONE));
    expect(j, "its answer", BERM_INGRESS, &in, R(NONE), R(NONE));
    in.data[in.ip + 20 + 13] = SYN;
    expect(j, "a new connection on its tuple", BERM_INGRESS, &in, R(NONE), R(POLICY_DEFAULT));
    frame_ether(&quoted, h->mac, h->gateway_mac, 0x0800);
    lab_address("10.50.0.1", remote);
    frame_ip(&quoted, 4, remote, local, 64);
    frame_icmp(&quoted, 3, 0);
    frame_bytes(&quoted, out.data + out.ip, 28);
    frame_end(&quoted);
    expect(j, "ICMP error about it, from a router", BERM_INGRESS, &quoted, R(NONE), R(NONE));
    {
        struct frame leak; /* the same quotation, sent by the pod to somebody else */

        frame_ether(&leak, h->gateway_mac, h->mac, 0x0800);
        frame_ip(&leak, 4, local, remote, 64);
        frame_icmp(&leak, 3, 0);
        frame_bytes(&leak, in.data + in.ip, 28);
        frame_end(&leak);
        expect(j, "ICMP error to one whom it is not about", BERM_EGRESS, &leak, R(NONE),
               R(POLICY_DEFAULT));
    }
    quoted.data[quoted.ip + 28 + 20] ^= 0x55;
    expect(j, "ICMP error about another", BERM_INGRESS, &quoted, R(NONE), R(POLICY_DEFAULT));
    lab_address("10.77.5.5", remote);
    frame_ether(&in, h->mac, h->gateway_mac, 0x0800);
    frame_ip(&in, 4, remote, local, 64);
    frame_icmp(&in, 0, 99);
    frame_end(&in);
    expect(j, "echo answer to nothing", BERM_INGRESS, &in, R(NONE), R(POLICY_DEFAULT));
    frame_ether(&out, h->gateway_mac, h->mac, 0x0800);
    frame_ip(&out, 4, local, remote, 64);
    frame_icmp(&out, 8, 99);
    frame_end(&out);
    expect(j, "echo request", BERM_EGRESS, &out, R(NONE), R(NONE));
    expect(j, "its answer", BERM_INGRESS, &in, R(NONE), R(NONE));
    in.data[in.ip + 20] = 8;
    expect(j, "a request with its identifier", BERM_INGRESS, &in, R(NONE), R(POLICY_DEFAULT));
}

static void test_states(struct judge *j)
{
    struct frame f;

    build(j, &rows[0], 4, &f);
    (void)enforce_set_unknown(j->e, "pod-1", NULL);
    expect(j, "unknown pod", BERM_EGRESS, &f, R(NONE), R(UNKNOWN_POD));
    test_arp(j);
    j->device->ifindex = 1; /* a device that no pod owns */
    tap_ok(!judge_pass(j, BERM_ENGINE_GUARD, BERM_EGRESS, &f) &&
               !judge_pass(j, BERM_ENGINE_POLICY, BERM_INGRESS, &f),
           "a device that no pod owns");
}

int main(void)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct judge j;

    judge_open(&j);
    lab_default_route(&j.lab);
    for (int six = 0; six < 2; six++) {
        rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, remote_text[six][ALLOWED], UDP, 80, 90);
        rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, remote_text[six][ALLOWED], TCP, 80, 90);
        rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, remote_text[six][ANYPORT], -1, 0, 0);
        rules_add(rules, POLICY_INGRESS, POLICY_ALLOW, remote_text[six][ALLOWED], TCP, 8080, 8080);
    }
    (void)enforce_set_rules(j.e, "pod-1", &rules->rules, NULL);
    test_rows(&j);
    test_embedded(&j);
    test_arp(&j);
    test_nd(&j);
    test_dhcp(&j);
    test_connections(&j);
    test_states(&j);
    judge_close(&j);
    free(rules);
    return tap_end();
}
