#pragma once
/* What the parts of the services' store share: how an object is kept. Nobody else includes this. */
#include "agent/services/services.h"

/* Names of ports, counted: slices of a thousand services say "http". */
struct port_name {
    struct hash_node node;
    uint32_t refs;
    char text[];
};

struct service {
    struct hash_node node;
    struct list slices; /* of struct slice.link */
    struct service_front *fronts;
    size_t n_fronts;
    bool known;  /* its object was seen; else it is here for its slices' sake */
    char *name;  /* within text */
    char text[]; /* namespace, NUL, name, NUL */
};

/* What a Service object says, before it is the service's. */
struct fronts {
    struct service_front *at;
    size_t n;
};

enum { SERVICE_PORTS_MAX = 4096 }; /* of one object */

struct slice_port {
    struct port_name *name;
    uint16_t port;
    uint8_t protocol;
};

struct slice_address {
    uint8_t addr[16];
    bool ready;
};

struct slice {
    struct hash_node node;
    struct list link;
    struct service *service;
    struct slice_port *ports;
    struct slice_address *addresses;
    size_t n_ports, n_addresses;
    char *name;
    char text[];
};

/* A port's name with one more reference, given back by name_put(). NULL if memory is short. */
struct port_name *port_name_get(struct services *s, const char *text);
void port_name_put(struct services *s, struct port_name *p);

/* Fields that both kinds of object have. 0, or -EINVAL with what is wrong in err. `ret` strings
 * belong to the object. */
int service_read_protocol(const json_t *port, uint8_t *ret, struct error *err);
int service_read_port(const json_t *port, const char *key, uint16_t *ret, struct error *err);
int service_read_meta(const json_t *object, const char **ns, const char **name, struct error *err);

/* The service of that name, made if it is not there (not `known`, without fronts). NULL if memory
 * is short. */
struct service *service_get(struct services *s, const char *ns, const char *name);
/* Frees it if neither its object nor a slice of it is there. */
void service_drop_unused(struct services *s, struct service *v);
/* Out of its service, and freed, with the service if that was its last use. */
void slice_drop(struct services *s, struct slice *v);

uint64_t service_hash_key(const char *ns, const char *name);
uint64_t service_hash_front(const uint8_t addr[16], uint8_t protocol, uint16_t port);
/* A front or a backend is another: counts the version and tells who asked to know. */
void services_changed(struct services *s);

/* The fronts of a Service object. 0, or negative with the reason; f is to be given to fronts_drop()
 * either way, unless its fronts went to a service. */
int fronts_read(struct services *s, const json_t *object, struct fronts *f, struct error *err);
bool fronts_same(const struct service *v, const struct fronts *f);
void fronts_drop(struct services *s, struct fronts *f);
