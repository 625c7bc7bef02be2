#include "agent/json.h"
#include "agent/schema.h"
#include "agent/services/internal.h"
#include "policy/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ENDPOINTS_MAX = 4096 };
#define OWNER_LABEL "kubernetes.io/service-name"

static struct slice *slice_find(const struct services *s, const char *ns, const char *name)
{
    for (struct hash_node *n = hashmap_first(&s->slices, service_hash_key(ns, name)); n;
         n = hashmap_next_same(n)) {
        struct slice *v = hash_entry(n, struct slice, node);

        if (strcmp(v->text, ns) == 0 && strcmp(v->name, name) == 0)
            return v;
    }
    return NULL;
}

static void slice_free(struct services *s, struct slice *v)
{
    for (size_t i = 0; i < v->n_ports; i++)
        port_name_put(s, v->ports[i].name);
    free(v->ports);
    free(v->addresses);
    free(v);
}

void slice_drop(struct services *s, struct slice *v)
{
    struct service *owner = v->service;

    (void)hashmap_remove(&s->slices, &v->node);
    s->n_backends -= v->n_ports * v->n_addresses;
    list_remove(&v->link);
    slice_free(s, v);
    service_drop_unused(s, owner);
}

static int read_slice_ports(struct services *s, const json_t *object, struct slice *v,
                            struct error *err)
{
    const json_t *ports = json_object_get(object, "ports");
    json_t *p;
    size_t i;
    int r;

    if (json_array_size(ports) > SERVICE_PORTS_MAX)
        return error_set(err, -E2BIG, "more than %d ports", SERVICE_PORTS_MAX);
    v->ports = calloc(json_array_size(ports) + 1, sizeof(*v->ports));
    if (!v->ports)
        return error_errno(err, -ENOMEM, "slice");
    json_array_foreach((json_t *)(uintptr_t)ports, i, p)
    {
        struct slice_port *port = &v->ports[v->n_ports];

        if ((r = service_read_protocol(p, &port->protocol, err)) < 0 ||
            (r = service_read_port(p, "port", &port->port, err)) < 0)
            return r;
        port->name = port_name_get(s, get_string(p, "name", ""));
        if (!port->name)
            return error_errno(err, -ENOMEM, "slice");
        v->n_ports++;
    }
    return 0;
}

/* Absent conditions count as kube-proxy counts them: ready unless said otherwise. */
static bool may_be_sent_to(const json_t *endpoint, bool *ret_ready)
{
    const json_t *c = json_object_get(endpoint, "conditions");
    const json_t *ready = json_object_get(c, "ready"), *serving = json_object_get(c, "serving");

    *ret_ready = !json_is_false(ready);
    return *ret_ready || (json_is_true(serving) && json_is_true(json_object_get(c, "terminating")));
}

static int read_endpoint(const json_t *endpoint, struct slice *v, struct error *err)
{
    const json_t *list = json_object_get(endpoint, "addresses");
    const char *text = json_string_value(json_array_get(list, 0));
    struct slice_address *a = &v->addresses[v->n_addresses];

    if (!may_be_sent_to(endpoint, &a->ready) || !text)
        return 0;
    /* The API: all addresses are the same endpoint, and only the first is used. */
    if (!address_parse(text, a->addr))
        return error_set(err, -EINVAL, "'%.60s' is no address", text);
    v->n_addresses++;
    return 0;
}

static int read_endpoints(const json_t *object, struct slice *v, struct error *err)
{
    const json_t *list = json_object_get(object, "endpoints");
    json_t *e;
    size_t i;
    int r;

    /* addressType FQDN: nothing that a packet could be sent to. */
    if (strcmp(get_string(object, "addressType", ""), "FQDN") == 0)
        return 0;
    if (json_array_size(list) > ENDPOINTS_MAX)
        return error_set(err, -E2BIG, "more than %d endpoints", ENDPOINTS_MAX);
    v->addresses = calloc(json_array_size(list) + 1, sizeof(*v->addresses));
    if (!v->addresses)
        return error_errno(err, -ENOMEM, "slice");
    json_array_foreach((json_t *)(uintptr_t)list, i, e)
    {
        r = read_endpoint(e, v, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool same_slice(const struct slice *a, const struct slice *b)
{
    if (a->service != b->service || a->n_ports != b->n_ports || a->n_addresses != b->n_addresses)
        return false;
    for (size_t i = 0; i < a->n_ports; i++)
        if (a->ports[i].name != b->ports[i].name || a->ports[i].port != b->ports[i].port ||
            a->ports[i].protocol != b->ports[i].protocol)
            return false;
    for (size_t i = 0; i < a->n_addresses; i++)
        if (memcmp(a->addresses[i].addr, b->addresses[i].addr, 16) != 0 ||
            a->addresses[i].ready != b->addresses[i].ready)
            return false;
    return true;
}

static struct slice *slice_read(struct services *s, const json_t *object, const char *ns,
                                const char *name, struct error *err)
{
    size_t a = strlen(ns) + 1, b = strlen(name) + 1;
    struct slice *v = calloc(1, sizeof(*v) + a + b);

    if (!v) {
        (void)error_errno(err, -ENOMEM, "slice");
        return NULL;
    }
    list_init(&v->link);
    memcpy(v->text, ns, a);
    v->name = memcpy(v->text + a, name, b);
    if (read_slice_ports(s, object, v, err) == 0 && read_endpoints(object, v, err) == 0)
        return v;
    (void)error_wrap(err, "EndpointSlice %.60s/%.100s", ns, name);
    slice_free(s, v);
    return NULL;
}

int services_apply_slice(struct services *s, const json_t *object, struct error *err)
{
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    /* Not get_string: the key has dots. */
    const char *owner = json_string_value(json_object_get(labels, OWNER_LABEL)), *ns, *name;
    struct slice *v, *old;
    int r = service_read_meta(object, &ns, &name, err);

    if (r < 0)
        return r;
    if (!owner || !name_is_subdomain(owner)) {
        services_remove_slice(s, ns, name); /* nobody's: nothing is translated into it */
        return 0;
    }
    v = slice_read(s, object, ns, name, err);
    if (!v)
        return err && err->code ? err->code : -EINVAL;
    v->service = service_get(s, ns, owner);
    old = slice_find(s, ns, name);
    if (old && v->service && same_slice(old, v)) {
        slice_free(s, v);
        return 0;
    }
    if (!v->service || hashmap_add(&s->slices, &v->node, service_hash_key(ns, name)) < 0) {
        slice_free(s, v);
        return error_errno(err, -ENOMEM, "slice");
    }
    list_append(&v->service->slices, &v->link);
    s->n_backends += v->n_ports * v->n_addresses;
    if (old)
        slice_drop(s, old);
    services_changed(s);
    return 0;
}

void services_remove_slice(struct services *s, const char *ns, const char *name)
{
    struct slice *v = slice_find(s, ns, name);

    if (!v)
        return;
    slice_drop(s, v);
    services_changed(s);
}
