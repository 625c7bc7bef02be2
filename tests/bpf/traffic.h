#pragma once
/*
 * TCP from one pod to another by the node: bytes and new connections a second, by loops of our own
 * and by iperf3 where it is installed. Each end lives in a cgroup, so that all planes see it.
 */
#include "tests/bpf/lab.h"

struct traffic_end {
    const struct lab_host *host;
    int group; /* descriptor of its cgroup; -1: none */
};
struct traffic {
    double gbits, iperf_gbits, connections;
};

/* Each figure over that many seconds; iperf_gbits is 0 without iperf3. Exits if nothing comes. */
void traffic_measure(const struct traffic_end *client, const struct traffic_end *server,
                     double seconds, struct traffic *ret);
