#pragma once
/*
 * A node with seven pods and the rest of the world, each in a network namespace of its own, whose
 * addresses change from one cluster to the next. One packet at a time; what arrives is seen by
 * packet sockets at the far ends.
 */
#include "agent/enforce/internal.h"
#include "tests/bpf/lab.h"

#include <jansson.h>

enum {
    WIRE_PODS = 7,
    WIRE_WORLD = WIRE_PODS,
    WIRE_HOSTS,
    WIRE_PORTS = 5,
    WIRE_MARKER = 0x88b5 /* ether type */
};

struct wire_script { /* lines for ip(8), not yet run */
    char text[4096];
    size_t size;
};

struct wire_host {
    struct lab_host lab; /* namespace, devices, hardware addresses */
    char uid[16];
    char v4[64], v6[64]; /* "": none in this cluster */
    struct wire_script script;
    char had[2][64];           /* those that the device has */
    int tap, marks, group_fd;  /* marks: the world's, see settle */
    int sockets[3][2];         /* to send with, in the pod's cgroup: WIRE_TCP.., family */
    int listeners[WIRE_PORTS]; /* TCP */
    int datagrams[WIRE_PORTS]; /* UDP */
    int raw[2];                /* SCTP */
};
enum { WIRE_TCP, WIRE_UDP, WIRE_SCTP };

struct wire {
    struct wire_host hosts[WIRE_HOSTS];
    struct wire_script script; /* of the node */
    struct enforce *e;
    char name[32], pin_dir[64]; /* of the cgroups and pins */
    int marker_fd;              /* closing a packet socket takes a grace period: there is one */
    uint16_t port;              /* of the last packet: each has its own */
};

extern const int wire_ports[WIRE_PORTS];

/* Prints why and exits with a skip where the machine can't do it. */
void wire_open(struct wire *w);
void wire_close(struct wire *w);
/* Gives the hosts their v4 and v6, and arms the pods that have any. */
void wire_address(struct wire *w);
/* From now on the pods' cgroups alone judge. */
void wire_cgroups_only(struct wire *w);

struct wire_probe {
    struct wire_host *from, *to;
    const char *src, *dst; /* addresses */
    int protocol, port, family;
};
/* A frame from the sender's device: did it come out at the receiver's? */
bool wire_frame_arrives(struct wire *w, const struct wire_probe *p);
/* By the sender's socket in its cgroup, if it is a pod: did the receiver's socket, in its own
 * cgroup, get it (or, in the world, the wire)? */
bool wire_socket_arrives(struct wire *w, const struct wire_probe *p);
/* Sets the network between both ends up again: on a machine that is very busy some of it may not
 * have been. */
void wire_mend(struct wire *w, const struct wire_probe *p);
