#pragma once
/*
 * Services and their endpoints, as far as enforcement needs them: which addresses and ports a node
 * translates, and into what. The source (API server, folder) feeds objects in; nothing of an object
 * is kept but what stands here:
 *
 * - of a Service: namespace and name; for every port and every address (clusterIPs, externalIPs,
 *   load balancer IPs, node ports) one `service_front`. Headless services and those of type
 *   ExternalName have none.
 * - of an EndpointSlice: whose Service it is (label kubernetes.io/service-name); for every port and
 *   every endpoint that may be sent to (ready, or serving while it ends) one `service_backend`.
 *   Slices of headless services are not asked for.
 *
 * A Service's port and the slices' ports are joined by their name. Node-local traffic policies and
 * topology hints are not looked at: a front's backends are all that it may be translated into.
 *
 * Memory: 72 bytes a front, 20 a backend, and the names. Objects are hostile: counts are bounded,
 * what is malformed is refused with an error that names it.
 */
#include "common/error.h"
#include "common/hashmap.h"
#include "common/list.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum service_front_type {
    SERVICE_CLUSTER_IP,
    SERVICE_EXTERNAL_IP,
    SERVICE_LOAD_BALANCER,
    SERVICE_NODE_PORT, /* at every address of the node: addr is all zero */
};

struct service;
struct port_name;

struct service_front {
    struct hash_node node; /* by address, port and protocol */
    struct service *service;
    uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
    uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
    uint8_t type;
    struct port_name *name; /* of the port: joins it with backends; private */
};

struct service_backend {
    uint8_t addr[16];
    uint16_t port;
    uint8_t protocol;
    bool ready; /* false: serves while it ends */
};

struct services {
    struct hashmap services, slices; /* private */
    struct hashmap fronts;
    struct hashmap port_names;
    size_t n_backends;
    uint64_t version; /* rises with every change of a front or of a backend */
    /* Called after each change, once an object, possibly thousands a second: note it, and act
     * later. NULL: nobody cares. Must not call back. */
    void (*changed)(void *ctx);
    void *ctx;
};

void services_init(struct services *s);
void services_fini(struct services *s);

/* One Service / EndpointSlice as the API server gives it, added or replaced. 0, or negative: it is
 * refused and what was known of it stays. */
int services_apply(struct services *s, const json_t *object, struct error *err);
int services_apply_slice(struct services *s, const json_t *object, struct error *err);
/* Fine if it is not there. */
void services_remove(struct services *s, const char *ns, const char *name);
void services_remove_slice(struct services *s, const char *ns, const char *name);

/* The front at that address (IPv4 mapped), port and protocol, or NULL. For node ports ask again
 * with an address of zeros if the address is the node's own. */
const struct service_front *services_find(const struct services *s, const uint8_t addr[16],
                                          uint8_t protocol, uint16_t port);
const char *service_namespace(const struct service *s);
const char *service_name(const struct service *s);

/* Every front there is, in no order; stops at and returns the first non-zero value of fn, which
 * must not change s. */
int services_each_front(const struct services *s,
                        int (*fn)(void *ctx, const struct service_front *front), void *ctx);
/* Every backend that this front may be translated into, of its own address family. An address may
 * come twice (while an endpoint moves from slice to slice). */
int services_each_backend(const struct services *s, const struct service_front *front,
                          int (*fn)(void *ctx, const struct service_backend *backend), void *ctx);
