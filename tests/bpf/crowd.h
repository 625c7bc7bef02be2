#pragma once
/*
 * Many pods without containers: a network namespace and a veth pair each, the host's ends as ports
 * of one bridge. For what depends on numbers: sweeps, churn, changes of policy.
 */
#include "agent/enforce/enforce.h"

#include <stddef.h>
#include <stdint.h>

enum { CROWD_MAX = 1000 };

struct crowd_pod {
    char uid[32], device[16];
    int netns_fd, ifindex;
    uint8_t mac[6], addr[2][16]; /* 10.80.x.y and fd80::x:y */
};

struct crowd {
    struct crowd_pod *pods;
    size_t n;
    int bridge;
};

/* The calling process must be in a namespace of its own already. Exits if the machine can't. */
void crowd_open(struct crowd *c, size_t n);
void crowd_close(struct crowd *c);
/* Makes pod i (its names and addresses are those of its number), and takes it away again. */
void crowd_add(struct crowd *c, size_t i);
void crowd_remove(struct crowd *c, size_t i);
int crowd_arm(struct crowd *c, struct enforce *e, size_t i, struct error *err);
