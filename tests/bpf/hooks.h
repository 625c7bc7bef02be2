#pragma once
/*
 * Programs that only say yes, at every hook that enforcement of two pods takes on their devices,
 * their cgroups and in netfilter: what the hooks cost by themselves, whoever hangs on them.
 */
#include "tests/bpf/traffic.h"

enum { HOOKS_MAX = 64 };

struct hooks {
    int links[HOOKS_MAX];
    int n;
};

/* Exits if the kernel refuses one. */
void hooks_open(struct hooks *hooks, const struct traffic_end ends[2]);
void hooks_close(struct hooks *hooks);

/* An empty program of that type; its descriptor. */
int hooks_empty(int type, int attach_type, int answer);
