#pragma once
/*
 * The arming socket (proto.h): answers the runtime once guard and policy are in force on what leads
 * out of a sandbox's network namespace. Root only; packets and clients are bounded.
 */
#include "agent/loop.h"
#include "common/error.h"
#include "common/list.h"

struct agent;
struct pod;

struct arm_server {
    struct agent *agent;
    int fd;
    struct loop_fd source;
    struct list clients;
    size_t n_clients;
    struct {
        uint64_t armed, refused, malformed;
    } count;
};

int arm_server_init(struct arm_server *s, struct agent *a, struct error *err);
void arm_server_fini(struct arm_server *s);
/* Does the pod's own spec add NET_RAW for some container? */
bool arm_wants_net_raw(const struct pod *p);
