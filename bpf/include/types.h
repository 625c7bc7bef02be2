#pragma once
/*
 * What the BPF programs and the agent share: map keys and values, events, reasons. Everything is
 * fixed width with explicit padding. Whoever changes the size or meaning of anything here raises
 * BERM_LAYOUT: it is part of the pin path, so old programs never meet new values.
 *
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d; ports are in host order.
 */
#include <linux/types.h>

#define BERM_LAYOUT 4 /* version of the maps' layout, in the pin path */

enum {
    BERM_PODS_MAX = 1024, /* slots: pods on one node (kubelet's limit is 110 to 250) */
    BERM_IFACES_MAX = 4096,
    BERM_ADDRS_MAX = 8, /* addresses of one pod's device, link-local ones included */
    BERM_UID_MAX = 64,
    BERM_EXCEPTIONS_MAX = 64, /* bits of a mask */
    BERM_GUARD_MAX = 4096,
    BERM_NODES_MAX = 16384,
    BERM_FRONTENDS_MAX = 1 << 18,
    BERM_SOURCES_MAX = 16384,
    BERM_NETNS_MAX = 4096,
    BERM_FLOW_SETS = 1024, /* per pod; power of two */
    BERM_FLOW_WAYS = 4,
    BERM_CIDRS_MAX = 1 << 18,
    BERM_HOSTS_MAX = 1 << 19,
    BERM_PORTS_MAX = 1 << 18,
    BERM_EVENT_BYTES = 1 << 18, /* each ring buffer */
    BERM_EVENT_RATE = 20,       /* events a second, pod and CPU; the rest is counted */
    BERM_EVENT_BURST = 40,
};

/* Seen from the pod: what it sends, what it gets. Same values as enum policy_direction. */
enum berm_direction { BERM_EGRESS, BERM_INGRESS, BERM_DIRECTION_MAX };
enum berm_engine { BERM_ENGINE_GUARD, BERM_ENGINE_POLICY, BERM_ENGINE_MAX };

/* Whom an engine binds; lives in one word that is overwritten in place. */
enum berm_mode { BERM_MODE_NONE, BERM_MODE_SANDBOXED, BERM_MODE_ALL };

/* Why a frame was dropped: X(constant, name in metrics and events) */
#define BERM_REASONS(X)                                                                            \
    X(NONE, "none")                                                                                \
    X(UNKNOWN_DEVICE, "unknown-device")     /* our program on a device that no pod owns */         \
    X(UNKNOWN_POD, "unknown-pod")           /* armed, its policies not yet known */                \
    X(INTERNAL, "internal")                 /* a map entry that must be there is not */            \
    X(MALFORMED, "malformed")               /* too short, wrong lengths, bad version */            \
    X(ETHERTYPE, "ethertype")               /* neither IPv4, IPv6 nor ARP */                       \
    X(VLAN, "vlan")                         /* a tag */                                            \
    X(IP_OPTIONS, "ip-options")             /* IPv4 options: source routes hide the destination */ \
    X(EXTENSION_HEADER, "extension-header") /* IPv6: unknown, too many, misplaced */               \
    X(ROUTING_HEADER, "routing-header")     /* IPv6: hides the destination */                      \
    X(TINY_FRAGMENT, "tiny-fragment")       /* first fragment without the whole L4 header */       \
    X(SPOOFED_MAC, "spoofed-mac")                                                                  \
    X(SPOOFED_ADDRESS, "spoofed-address")                                                          \
    X(SPOOFED_ARP, "spoofed-arp")                                                                  \
    X(SPOOFED_ND, "spoofed-nd")                                                                    \
    X(ROUTER_ADVERT, "router-advertisement") /* and redirects */                                   \
    X(DHCP_SERVER, "dhcp-server")                                                                  \
    X(LOOPBACK, "loopback-address")         /* 127/8 or ::1 on the wire */                         \
    X(TUNNEL, "tunnel")                     /* encapsulation towards a node */                     \
    X(GUARDED, "guarded")                   /* address of a metadata service */                    \
    X(GUARDED_EMBEDDED, "guarded-embedded") /* the same inside an IPv6 transition address */       \
    X(RAW_SOCKET, "raw-socket")                                                                    \
    X(POLICY, "policy")                 /* a rule said so */                                       \
    X(POLICY_DEFAULT, "policy-default") /* isolated, no rule allowed it */                         \
    X(POLICY_CLOSED, "policy-closed")   /* rules that don't fit or can't be expressed */

enum berm_reason {
#define X(name, text) BERM_REASON_##name,
    BERM_REASONS(X)
#undef X
        BERM_REASON_MAX
};

struct berm_addr {
    union {
        __u8 b[16];
        __u16 h[8];
        __u32 w[4];
        __u64 d[2];
    };
};

/* ifindex of the host's end -> whose it is. Replaced as a whole, so readers see one state. */
struct berm_iface {
    __u32 slot;
    __u8 sandboxed;
    __u8 audit; /* policy engine: count, don't drop */
    __u8 mac[6];
    __u32 n_addrs;
    __u64 exceptions; /* guard: bit i = exception i holds for this pod */
    struct berm_addr addrs[BERM_ADDRS_MAX];
};

/* One pod's cgroup: kept with the attachment itself; all zero until the agent has filled it in. */
struct berm_cgroup {
    __u64 exceptions;
    __u32 slot;
    __u8 known; /* 0: whatever is in there is denied all but loopback */
    __u8 sandboxed;
    __u8 net_raw; /* may open raw sockets */
    __u8 pad;
};

/* `known`: the two that are. */
enum { BERM_CGROUP_UNKNOWN, BERM_CGROUP_POD, BERM_CGROUP_SILENT /* denied without an event */ };

/* Whose a network namespace is, by its cookie: for the guard on the pods' parent cgroup. Cookie 0:
 * what holds for all that are not known. */
struct berm_netns {
    __u64 exceptions;
    __u32 slot;
    __u8 host; /* the node's own: nobody is guarded here who is not by a cgroup of his own */
    __u8 sandboxed;
    __u8 silent; /* the pod's own cgroup tells what is denied */
    __u8 pad;
};

/* The same for the policy engine: the pod as its devices have it. */
struct berm_cgroup_rules {
    __u32 known; /* 0: not judged here, only at the devices */
    __u32 pad;
    struct berm_iface pod;
};

struct berm_config {
    __u32 mode; /* enum berm_mode */
    __u32 generation;
};

/* Longest prefix match over addresses: guarded endpoints. */
struct berm_lpm_key {
    __u32 prefix; /* BERM_ROW_BITS + bits of the address */
    __u32 zero;   /* part of the match; keeps the address aligned without hidden padding */
    struct berm_addr addr;
};
enum { BERM_ROW_BITS = 32 };

struct berm_guard_row {
    __u64 exceptions; /* bit i = exception i speaks of this row */
    __u32 row;        /* index into the agent's table, for events */
    __u8 protocol;    /* 0 = every one; else only this one and these ports are guarded */
    __u8 pad[3];
    __u16 from, to;
    __u32 pad2;
};

struct berm_exception {
    __u8 protocol;
    __u8 pad[3];
    __u16 from, to; /* the guarded side's port */
};

/* One word per pod, stored atomically: state in the low byte, epoch in the upper half. */
enum berm_pod_state {
    BERM_POD_UNKNOWN, /* deny all */
    BERM_POD_RULES,   /* judge by the rules of this epoch */
    BERM_POD_CLOSED,  /* deny all: its rules could not be put in force */
};
struct berm_control {
    __u64 word;
};
#define BERM_CONTROL(state, epoch) (((__u64)(epoch) << 32) | (__u64)(state))
#define BERM_CONTROL_STATE(word)   ((__u32)((word)&0xff))
#define BERM_CONTROL_EPOCH(word)   ((__u32)((word) >> 32))

/* Peer address -> class: addresses that no rule of this pod and direction tells apart. Exact ones
 * are here, and blocks where a direction has many, of few lengths: a look-up for each length. */
struct berm_host_key {
    __u32 scope; /* slot << 1 | direction; above BERM_SCOPE_BITS a block's length + 1, 0: exact */
    __u32 epoch;
    struct berm_addr addr; /* host bits cleared */
};
enum {
    BERM_SCOPE_BITS = 16,
    /* In place of a length, under :: or ::ffff:0.0.0.0: the value is the lengths (each + 1, longest
     * in the low byte, 0 ends) of all blocks that may hold addresses of that family. */
    BERM_LENGTHS = 0xff,
    BERM_LENGTHS_MAX = 4,
};
struct berm_cidr_key {
    __u32 prefix; /* BERM_CIDR_BITS + bits of the address */
    __u32 scope;
    __u32 epoch;
    __u32 zero;
    struct berm_addr addr;
};
enum { BERM_CIDR_BITS = 96 };
struct berm_class {
    __u32 id; /* 0 = in no peer set */
};

/*
 * Class, protocol, port -> verdict. Longest prefix: the port's bits are last, so that a range is
 * few prefixes; `portless` is for packets that show no port (fragments, other protocols).
 */
struct berm_port_key {
    __u32 prefix;
    __u32 scope;
    __u32 epoch;
    __u32 class_id;
    __u8 protocol;
    __u8 portless;
    __u8 port[2]; /* network order: prefixes need the high bits first */
};
enum {
    BERM_PORT_PREFIX_CLASS = 96, /* scope, epoch, class: every protocol */
    BERM_PORT_PREFIX_KIND = 112, /* and protocol, portless */
    BERM_PORT_PREFIX_FULL = 128,
};
enum { BERM_ORIGIN_DEFAULT = 0 }; /* POLICY_ORIGIN_DEFAULT */
struct berm_verdict {
    __u8 allow;
    __u8 reason;  /* enum berm_reason, if denied */
    __u16 origin; /* enum policy_origin */
    __u32 name;   /* index into the rule names of this epoch */
};

/*
 * An address, protocol and port that the node translates (a Service's). Programs before the
 * translation leave egress to it to the one behind it. Address all zero: any of this node's own (a
 * node port). Protocol and port 0: the address has such entries.
 */
struct berm_frontend {
    struct berm_addr addr;
    __u16 port;
    __u8 protocol;
    __u8 pad[5];
};

/*
 * What such an address may become, if that is few: a pod that may reach none of them is told at
 * once. Nothing is let through by this.
 */
enum { BERM_BACKENDS_MAX = 8 };
struct berm_backend {
    struct berm_addr addr;
    __u16 port;
    __u8 pad[6];
};
struct berm_backends {
    __u32 n, pad;
    struct berm_backend list[BERM_BACKENDS_MAX];
};

/* A pod by its address: for programs that see no device of it. One for each engine. */
struct berm_source {
    __u32 slot;
    __u8 sandboxed, audit;
    __u8 pad[2];
};
struct berm_guard_source {
    __u64 exceptions;
    __u32 slot;
    __u8 sandboxed;
    __u8 pad[3];
};

/*
 * A connection, from the pod's point of view. `seq` is odd while a CPU writes the entry: readers
 * and other writers leave it alone. `peer` and `peer_port` are what the rules were asked about:
 * those of the key, unless the node translates between the pod and its peer.
 */
struct berm_flow_key {
    struct berm_addr remote;
    struct berm_addr local;
    __u16 remote_port, local_port; /* ICMP echo: 0 and the identifier */
    __u8 protocol;
    __u8 pad[3];
};
struct berm_flow {
    __u32 seq;
    __u32 epoch;
    struct berm_flow_key key;
    __u8 direction; /* of the first packet */
    __u8 replied;
    __u16 peer_port;
    __u32 seen; /* seconds of CLOCK_MONOTONIC */
    struct berm_addr peer;
};
struct berm_flow_set {
    struct berm_flow way[BERM_FLOW_WAYS];
};

struct berm_stats {
    __u64 packets[BERM_DIRECTION_MAX]; /* let through by this engine */
    __u64 bytes[BERM_DIRECTION_MAX];
    __u64 denied[BERM_DIRECTION_MAX][BERM_REASON_MAX];
    __u64 audited[BERM_DIRECTION_MAX]; /* would have been denied */
    __u64 events_limited;              /* denials without an event: too many */
    __u64 events_full;                 /* the same: ring buffer full */
    __u64 bucket_time;                 /* token bucket, nanoseconds */
    __u64 bucket_tokens;
};

/* Added to the engine of an event: nothing was denied. What would have been, or (reason none) what
 * passed because no policy speaks of it. */
enum { BERM_EVENT_AUDIT = 0x80 };

struct berm_event {
    __u64 time; /* CLOCK_MONOTONIC, nanoseconds */
    __u32 slot;
    __u32 ifindex;
    __u32 epoch; /* policy: which rules `name` belongs to */
    __u32 name;  /* policy: index of the rule's name; guard: row; ~0 = none */
    __u8 engine, direction, reason, protocol;
    __u16 local_port, remote_port;
    struct berm_addr local, remote;
};

/* Agent only: who has which slot. Pinned, so that a restarted agent finds its pods again. */
struct berm_record {
    char uid[BERM_UID_MAX]; /* "" = free */
    __u32 sandboxed;
    __s32 nsid; /* host's id of the pod's network namespace, -1 unknown, -2 gone */
    __u64 exceptions;
    __u32 audit;
    __u32 n_addrs;
    struct berm_addr addrs[BERM_ADDRS_MAX];
    __u8 mac[6];
    __u8 net_raw;
    __u8 host_network; /* no device of its own: bound by its cgroup alone */
    __u64 cgroup_id;   /* 0: no cgroup is armed */
    __u64 cookie;      /* of its network namespace; 0 unknown */
};

_Static_assert(sizeof(struct berm_addr) == 16, "addr");
_Static_assert(sizeof(struct berm_iface) == 24 + 16 * BERM_ADDRS_MAX, "iface");
_Static_assert(sizeof(struct berm_config) == 8, "config");
_Static_assert(sizeof(struct berm_cgroup) == 16, "cgroup");
_Static_assert(sizeof(struct berm_cgroup_rules) == 32 + 16 * BERM_ADDRS_MAX, "cgroup rules");
_Static_assert(sizeof(struct berm_guard_row) == 24, "guard row");
_Static_assert(sizeof(struct berm_exception) == 8, "exception");
_Static_assert(sizeof(struct berm_lpm_key) == 24, "row key");
_Static_assert(sizeof(struct berm_cidr_key) == 32, "cidr key");
_Static_assert(sizeof(struct berm_host_key) == 24, "host key");
_Static_assert(sizeof(struct berm_record) == 240, "record");
_Static_assert(sizeof(struct berm_guard_source) == 16, "guard source");
_Static_assert(sizeof(struct berm_netns) == 16, "netns");
_Static_assert(sizeof(struct berm_port_key) == 20, "port key");
_Static_assert(sizeof(struct berm_verdict) == 8, "verdict");
_Static_assert(sizeof(struct berm_flow_key) == 40, "flow key");
_Static_assert(sizeof(struct berm_flow) == 72, "flow");
_Static_assert(sizeof(struct berm_frontend) == 24, "frontend");
_Static_assert(sizeof(struct berm_backends) == 8 + 24 * BERM_BACKENDS_MAX, "backends");
_Static_assert(sizeof(struct berm_source) == 8, "source");
_Static_assert(sizeof(struct berm_event) == 64, "event");
