#include "agent/services.h"

#include "agent/schema.h"
#include "agent/standalone/podspec.h"
#include "policy/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 64, PORTS_MAX = 4096, ENDPOINTS_MAX = 4096 };
#define OWNER_LABEL "kubernetes.io/service-name"

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

static const uint8_t zeros[16];

static uint64_t hash_key(const char *ns, const char *name)
{
    return hash_string(ns) * 31 + hash_string(name);
}

static void changed(struct services *s)
{
    s->version++;
    if (s->changed)
        s->changed(s->ctx);
}

/* -- names of ports ------------------------------------------------------------------------- */

/* NULL if memory is short. */
static struct port_name *name_get(struct services *s, const char *text)
{
    uint64_t hash = hash_string(text);
    struct port_name *p;
    size_t size = strlen(text) + 1;

    for (struct hash_node *n = hashmap_first(&s->port_names, hash); n; n = hashmap_next_same(n)) {
        p = hash_entry(n, struct port_name, node);
        if (strcmp(p->text, text) == 0) {
            p->refs++;
            return p;
        }
    }
    p = calloc(1, sizeof(*p) + size);
    if (!p || hashmap_add(&s->port_names, &p->node, hash) < 0) {
        free(p);
        return NULL;
    }
    memcpy(p->text, text, size);
    p->refs = 1;
    return p;
}

static void name_put(struct services *s, struct port_name *p)
{
    if (--p->refs)
        return;
    (void)hashmap_remove(&s->port_names, &p->node);
    free(p);
}

/* -- fields ----------------------------------------------------------------------------------- */

static int read_protocol(const json_t *port, uint8_t *ret, struct error *err)
{
    const char *text = get_string(port, "protocol", "TCP");
    int number = protocol_parse(text);

    if (number < 0 || !protocol_has_ports(number))
        return error_set(err, -EINVAL, "protocol '%.20s' has no ports", text);
    *ret = (uint8_t)number;
    return 0;
}

static int read_port(const json_t *port, const char *key, uint16_t *ret, struct error *err)
{
    json_int_t number = json_integer_value(json_object_get(port, key));

    if (number < 0 || number > 65535)
        return error_set(err, -EINVAL, "%s %lld is out of range", key, (long long)number);
    *ret = (uint16_t)number;
    return 0;
}

static int read_meta(const json_t *object, const char **ns, const char **name, struct error *err)
{
    const json_t *m = json_object_get(object, "metadata");

    *ns = get_string(m, "namespace", "");
    *name = get_string(m, "name", "");
    if (!name_is_label(*ns) || !name_is_subdomain(*name))
        return error_set(err, -EINVAL, "an object has no proper name");
    return 0;
}

/* -- services ---------------------------------------------------------------------------------- */

static struct service *service_find(const struct services *s, const char *ns, const char *name)
{
    for (struct hash_node *n = hashmap_first(&s->services, hash_key(ns, name)); n;
         n = hashmap_next_same(n)) {
        struct service *v = hash_entry(n, struct service, node);

        if (strcmp(v->text, ns) == 0 && strcmp(v->name, name) == 0)
            return v;
    }
    return NULL;
}

static struct service *service_get(struct services *s, const char *ns, const char *name)
{
    struct service *v = service_find(s, ns, name);
    size_t a = strlen(ns) + 1, b = strlen(name) + 1;

    if (v)
        return v;
    v = calloc(1, sizeof(*v) + a + b);
    if (!v)
        return NULL;
    memcpy(v->text, ns, a);
    v->name = memcpy(v->text + a, name, b);
    list_init(&v->slices);
    if (hashmap_add(&s->services, &v->node, hash_key(ns, name)) == 0)
        return v;
    free(v);
    return NULL;
}

static void service_clear(struct services *s, struct service *v)
{
    for (size_t i = 0; i < v->n_fronts; i++) {
        (void)hashmap_remove(&s->fronts, &v->fronts[i].node);
        name_put(s, v->fronts[i].name);
    }
    free_ptr(&v->fronts);
    v->n_fronts = 0;
}

static void service_drop_unused(struct services *s, struct service *v)
{
    if (v->known || !list_empty(&v->slices))
        return;
    service_clear(s, v);
    (void)hashmap_remove(&s->services, &v->node);
    free(v);
}

static uint64_t hash_front(const uint8_t addr[16], uint8_t protocol, uint16_t port)
{
    uint8_t key[19];

    memcpy(key, addr, 16);
    key[16] = protocol;
    memcpy(key + 17, &port, 2);
    return hash_seeded(key, sizeof(key));
}

struct address {
    uint8_t addr[16];
    enum service_front_type type;
};

struct address_list {
    struct address at[ADDRESSES_MAX];
    size_t n;
};

static int add_address(struct address_list *l, const char *text, enum service_front_type type,
                       struct error *err)
{
    if (l->n == ADDRESSES_MAX)
        return error_set(err, -E2BIG, "more than %d addresses", ADDRESSES_MAX);
    if (!text || !address_parse(text, l->at[l->n].addr))
        return error_set(err, -EINVAL, "'%.60s' is no address", text ? text : "");
    l->at[l->n++].type = type;
    return 0;
}

/* What kube-proxy translates: headless services and names of other places are not among it. */
static int read_addresses(const json_t *object, struct address_list *l, struct error *err)
{
    const json_t *spec = json_object_get(object, "spec"), *balancer, *list;
    const char *type = get_string(spec, "type", "ClusterIP");
    json_t *v;
    size_t i;
    int r = 0;

    list = json_object_get(spec, "clusterIPs");
    if (strcmp(type, "ExternalName") == 0 || strcmp(get_string(spec, "clusterIP", ""), "None") == 0)
        return 0;
    if (!json_array_size(list) && *get_string(spec, "clusterIP", ""))
        r = add_address(l, get_string(spec, "clusterIP", ""), SERVICE_CLUSTER_IP, err);
    json_array_foreach((json_t *)(uintptr_t)list, i, v) if (r == 0) r =
        add_address(l, json_string_value(v), SERVICE_CLUSTER_IP, err);
    list = json_object_get(spec, "externalIPs");
    json_array_foreach((json_t *)(uintptr_t)list, i, v) if (r == 0) r =
        add_address(l, json_string_value(v), SERVICE_EXTERNAL_IP, err);
    balancer = json_object_get(json_object_get(object, "status"), "loadBalancer");
    list = json_object_get(balancer, "ingress");
    /* One with a host name only, or that wants its packets unchanged (Proxy), is not translated. */
    json_array_foreach((json_t *)(uintptr_t)list, i,
                       v) if (r == 0 && *get_string(v, "ip", "") &&
                              strcmp(get_string(v, "ipMode", "VIP"), "VIP") == 0) r =
        add_address(l, get_string(v, "ip", ""), SERVICE_LOAD_BALANCER, err);
    return r;
}

struct fronts {
    struct service_front *at;
    size_t n;
};

static void add_front(struct fronts *f, const uint8_t *addr, enum service_front_type type,
                      uint8_t protocol, uint16_t port, struct port_name *name)
{
    struct service_front *front = &f->at[f->n++];

    *front = (struct service_front){
        .port = port, .protocol = protocol, .type = (uint8_t)type, .name = name};
    memcpy(front->addr, addr, 16);
}

/* One port at all addresses; each front holds a reference on its name. */
static int read_service_port(struct services *s, const json_t *port, const struct address_list *l,
                             struct fronts *f, struct error *err)
{
    uint16_t number = 0, node_port = 0;
    struct port_name *name;
    uint8_t protocol = 0;
    int r = read_protocol(port, &protocol, err);

    if (r < 0 || (r = read_port(port, "port", &number, err)) < 0 ||
        (r = read_port(port, "nodePort", &node_port, err)) < 0)
        return r;
    for (size_t i = 0; i <= l->n; i++) {
        if (i == l->n && !node_port)
            break;
        name = name_get(s, get_string(port, "name", ""));
        if (!name)
            return error_errno(err, -ENOMEM, "service");
        if (i == l->n)
            add_front(f, zeros, SERVICE_NODE_PORT, protocol, node_port, name);
        else
            add_front(f, l->at[i].addr, l->at[i].type, protocol, number, name);
    }
    return 0;
}

static int read_fronts(struct services *s, const json_t *object, struct fronts *f,
                       struct error *err)
{
    const json_t *ports = json_object_get(json_object_get(object, "spec"), "ports");
    CLEANUP(free_ptr) struct address_list *l = calloc(1, sizeof(*l));
    json_t *v;
    size_t i;
    int r = l ? read_addresses(object, l, err) : error_errno(err, -ENOMEM, "service");

    if (r < 0)
        return r;
    if (json_array_size(ports) > PORTS_MAX)
        return error_set(err, -E2BIG, "more than %d ports", PORTS_MAX);
    if (!l->n || !json_array_size(ports))
        return 0;
    f->at = calloc(json_array_size(ports) * (l->n + 1), sizeof(*f->at));
    if (!f->at)
        return error_errno(err, -ENOMEM, "service");
    json_array_foreach((json_t *)(uintptr_t)ports, i, v)
    {
        r = read_service_port(s, v, l, f, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool same_fronts(const struct service *v, const struct fronts *f)
{
    if (v->n_fronts != f->n)
        return false;
    for (size_t i = 0; i < f->n; i++) {
        const struct service_front *a = &v->fronts[i], *b = &f->at[i];

        if (memcmp(a->addr, b->addr, 16) != 0 || a->port != b->port || a->type != b->type ||
            a->protocol != b->protocol || a->name != b->name)
            return false;
    }
    return true;
}

static void fronts_drop(struct services *s, struct fronts *f)
{
    for (size_t i = 0; i < f->n; i++)
        name_put(s, f->at[i].name);
    free_ptr(&f->at);
    f->n = 0;
}

int services_apply(struct services *s, const json_t *object, struct error *err)
{
    struct fronts f = {0};
    const char *ns, *name;
    struct service *v;
    int r = read_meta(object, &ns, &name, err);

    if (r < 0)
        return r;
    r = read_fronts(s, object, &f, err);
    v = r < 0 ? NULL : service_get(s, ns, name);
    if (!v) {
        fronts_drop(s, &f);
        return r < 0 ? error_wrap(err, "Service %.60s/%.100s", ns, name)
                     : error_errno(err, -ENOMEM, "service");
    }
    v->known = true;
    if (same_fronts(v, &f)) {
        fronts_drop(s, &f);
        return 0;
    }
    service_clear(s, v);
    v->fronts = f.at;
    v->n_fronts = f.n;
    for (size_t i = 0; i < f.n; i++) {
        struct service_front *front = &f.at[i];

        front->service = v;
        /* Growing may fail, adding does not: the map then has long chains. */
        (void)hashmap_add(&s->fronts, &front->node,
                          hash_front(front->addr, front->protocol, front->port));
    }
    changed(s);
    return 0;
}

void services_remove(struct services *s, const char *ns, const char *name)
{
    struct service *v = service_find(s, ns, name);

    if (!v || !v->known)
        return;
    v->known = false;
    service_clear(s, v);
    service_drop_unused(s, v);
    changed(s);
}

/* -- slices -------------------------------------------------------------------------------------
 */

static struct slice *slice_find(const struct services *s, const char *ns, const char *name)
{
    for (struct hash_node *n = hashmap_first(&s->slices, hash_key(ns, name)); n;
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
        name_put(s, v->ports[i].name);
    free(v->ports);
    free(v->addresses);
    free(v);
}

static void slice_drop(struct services *s, struct slice *v)
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

    if (json_array_size(ports) > PORTS_MAX)
        return error_set(err, -E2BIG, "more than %d ports", PORTS_MAX);
    v->ports = calloc(json_array_size(ports) + 1, sizeof(*v->ports));
    if (!v->ports)
        return error_errno(err, -ENOMEM, "slice");
    json_array_foreach((json_t *)(uintptr_t)ports, i, p)
    {
        struct slice_port *port = &v->ports[v->n_ports];

        if ((r = read_protocol(p, &port->protocol, err)) < 0 ||
            (r = read_port(p, "port", &port->port, err)) < 0)
            return r;
        port->name = name_get(s, get_string(p, "name", ""));
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
    int r = read_meta(object, &ns, &name, err);

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
    if (!v->service || hashmap_add(&s->slices, &v->node, hash_key(ns, name)) < 0) {
        slice_free(s, v);
        return error_errno(err, -ENOMEM, "slice");
    }
    list_append(&v->service->slices, &v->link);
    s->n_backends += v->n_ports * v->n_addresses;
    if (old)
        slice_drop(s, old);
    changed(s);
    return 0;
}

void services_remove_slice(struct services *s, const char *ns, const char *name)
{
    struct slice *v = slice_find(s, ns, name);

    if (!v)
        return;
    slice_drop(s, v);
    changed(s);
}

/* -- looking -------------------------------------------------------------------------------------
 */

const struct service_front *services_find(const struct services *s, const uint8_t addr[16],
                                          uint8_t protocol, uint16_t port)
{
    for (struct hash_node *n = hashmap_first(&s->fronts, hash_front(addr, protocol, port)); n;
         n = hashmap_next_same(n)) {
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
