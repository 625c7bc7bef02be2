#pragma once
/*
 * Addresses of all nodes, from the policy engine (peers of cluster policies) to enforcement (no
 * tunnel from a pod may end there).
 */
#include "agent/loop.h"

#include <stddef.h>
#include <stdint.h>

struct agent;

struct kube_nodes {
    struct agent *agent;
    struct loop_timer timer;
    uint8_t (*list)[16]; /* as enforcement has it, sorted; NULL: never told */
    size_t n;
};

void kube_nodes_init(struct kube_nodes *n, struct agent *a);
void kube_nodes_fini(struct kube_nodes *n);
void kube_nodes_changed(struct kube_nodes *n); /* a node came, went or changed */
