#include "agent/services/services.h"

#include "agent/services/internal.h"
#include "policy/address.h"

#include <string.h>

uint64_t service_hash_key(const char *ns, const char *name)
{
    return hash_string(ns) * 31 + hash_string(name);
}

uint64_t service_hash_front(const uint8_t addr[16], uint8_t protocol, uint16_t port)
{
    uint8_t key[19];

    memcpy(key, addr, 16);
    key[16] = protocol;
    memcpy(key + 17, &port, 2);
    return hash_seeded(key, sizeof(key));
}

void services_changed(struct services *s)
{
    s->version++;
    if (s->changed)
        s->changed(s->ctx);
}

const struct service_front *services_find(const struct services *s, const uint8_t addr[16],
                                          uint8_t protocol, uint16_t port)
{
    for (struct hash_node *n = hashmap_first(&s->fronts, service_hash_front(addr, protocol, port));
         n; n = hashmap_next_same(n)) {
        const struct service_front *f = hash_entry(n, struct service_front, node);

        if (f->port == port && f->protocol == protocol && memcmp(f->addr, addr, 16) == 0)
            return f;
    }
    return NULL;
}

const char *service_namespace(const struct service *s)
{
    return s->text;
}

const char *service_name(const struct service *s)
{
    return s->name;
}

int services_each_front(const struct services *s,
                        int (*fn)(void *ctx, const struct service_front *front), void *ctx)
{
    struct hash_node *n = NULL;

    while ((n = hashmap_next(&s->fronts, n))) {
        int r = fn(ctx, hash_entry(n, struct service_front, node));

        if (r)
            return r;
    }
    return 0;
}

static int each_of_slice(const struct slice *v, const struct service_front *front,
                         int (*fn)(void *ctx, const struct service_backend *backend), void *ctx)
{
    bool any = front->type == SERVICE_NODE_PORT;

    for (size_t i = 0; i < v->n_ports; i++) {
        const struct slice_port *p = &v->ports[i];

        for (size_t k = 0;
             p->name == front->name && p->protocol == front->protocol && k < v->n_addresses; k++) {
            struct service_backend b = {
                .port = p->port, .protocol = p->protocol, .ready = v->addresses[k].ready};
            int r;

            memcpy(b.addr, v->addresses[k].addr, 16);
            if (!any && address_is_v4(b.addr) != address_is_v4(front->addr))
                continue;
            r = fn(ctx, &b);
            if (r)
                return r;
        }
    }
    return 0;
}

int services_each_backend(const struct services *s, const struct service_front *front,
                          int (*fn)(void *ctx, const struct service_backend *backend), void *ctx)
{
    const struct slice *v;

    (void)s;
    list_for_each_entry (v, &front->service->slices, link) {
        int r = each_of_slice(v, front, fn, ctx);

        if (r)
            return r;
    }
    return 0;
}

void services_init(struct services *s)
{
    *s = (struct services){0};
}

void services_fini(struct services *s)
{
    struct hash_node *n, *next;

    for (n = hashmap_next(&s->slices, NULL); n; n = next) {
        next = hashmap_next(&s->slices, n);
        slice_drop(s, hash_entry(n, struct slice, node));
    }
    for (n = hashmap_next(&s->services, NULL); n; n = next) {
        struct service *v = hash_entry(n, struct service, node);

        next = hashmap_next(&s->services, n);
        v->known = false;
        service_drop_unused(s, v);
    }
    hashmap_fini(&s->services);
    hashmap_fini(&s->slices);
    hashmap_fini(&s->fronts);
    hashmap_fini(&s->port_names);
}
