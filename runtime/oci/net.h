#pragma once
/* The sandbox's network namespace. */
#include "runtime/oci/spec.h"

enum net_kind {
    NET_HOST,  /* the caller's: needs the agent's guard */
    NET_GIVEN, /* by path: needs the agent's guard */
    NET_FRESH, /* made here, with nothing but loopback */
};

struct net {
    enum net_kind kind;
    int fd; /* NET_GIVEN: the namespace */
};

/* What the spec asks for; opens the namespace. One that is given by path but is the caller's own
 * counts as the host's. */
int net_open(struct net *net, const struct oci_spec *spec, struct error *err);
void net_close(struct net *net);
/* Moves the (single-threaded) caller into it; makes a fresh one usable: loopback up; unprivileged
 * low ports and ping (never in the host's). */
int net_enter(const struct net *net, struct error *err);
