#pragma once
/*
 * A node of one's own: the process moves into a fresh network namespace and connects pods, a peer,
 * and a metadata server to it by veth pairs, routed, both families. Everything ends with
 * lab_close; names begin with berm-t-.
 */
#include "agent/enforce/enforce.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { LAB_POD, LAB_POD2, LAB_PEER, LAB_META, LAB_HOSTS };

struct lab_host {
    const char *name; /* "pod" */
    char netns[32];   /* berm-t-pod-PID */
    char device[16];  /* the node's end */
    int netns_fd, ifindex;
    const char *v4, *v6;
    uint8_t mac[6], gateway_mac[6]; /* its own; the node's end */
};

struct lab {
    struct lab_host hosts[LAB_HOSTS];
    char pin_dir[64];
};

/* Prints why and exits with a skip where the machine can't do it. */
void lab_open(struct lab *lab);
void lab_close(struct lab *lab);
/* Runs a shell command line in the node's namespace; exits if it fails. */
void lab_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* socket(2) in the host's namespace. */
int lab_socket(const struct lab_host *host, int domain, int type, int protocol);
/* A socket that sees every frame that arrives at the host's device; count with lab_count. */
int lab_tap(const struct lab_host *host);
/* Frames received so far from that source address; reads them all. */
struct lab_counts {
    unsigned ip, other;
};
struct lab_counts lab_count(int tap, const char *source);
void lab_sockaddr(const char *address, int port, struct sockaddr_storage *ret, socklen_t *ret_size);
void lab_address(const char *text, uint8_t ret[16]);
void lab_sleep_ms(int ms);
/* Returns when everything sent before has arrived or was dropped: all packets go through one CPU's
 * queue, in order, and a marker comes out of it only after them. */
void lab_settle(const struct lab *lab);
/* By the peer, both families: every address leads somewhere. */
void lab_default_route(const struct lab *lab);
/* Fixed neighbour entries between a host and the node's device, so that nothing waits for ARP. */
void lab_neighbours(const struct lab *lab, int host, const char *device);

/* TAP */
void tap_ok(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int tap_end(void); /* exit status */
