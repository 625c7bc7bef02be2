#include "agent/json.h"
#include "agent/services/internal.h"
#include "policy/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 64 };

static const uint8_t zeros[16];

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
    int r = service_read_protocol(port, &protocol, err);

    if (r < 0 || (r = service_read_port(port, "port", &number, err)) < 0 ||
        (r = service_read_port(port, "nodePort", &node_port, err)) < 0)
        return r;
    for (size_t i = 0; i <= l->n; i++) {
        if (i == l->n && !node_port)
            break;
        name = port_name_get(s, get_string(port, "name", ""));
        if (!name)
            return error_errno(err, -ENOMEM, "service");
        if (i == l->n)
            add_front(f, zeros, SERVICE_NODE_PORT, protocol, node_port, name);
        else
            add_front(f, l->at[i].addr, l->at[i].type, protocol, number, name);
    }
    return 0;
}

int fronts_read(struct services *s, const json_t *object, struct fronts *f, struct error *err)
{
    const json_t *ports = json_object_get(json_object_get(object, "spec"), "ports");
    CLEANUP(free_ptr) struct address_list *l = calloc(1, sizeof(*l));
    json_t *v;
    size_t i;
    int r = l ? read_addresses(object, l, err) : error_errno(err, -ENOMEM, "service");

    if (r < 0)
        return r;
    if (json_array_size(ports) > SERVICE_PORTS_MAX)
        return error_set(err, -E2BIG, "more than %d ports", SERVICE_PORTS_MAX);
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

bool fronts_same(const struct service *v, const struct fronts *f)
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

void fronts_drop(struct services *s, struct fronts *f)
{
    for (size_t i = 0; i < f->n; i++)
        port_name_put(s, f->at[i].name);
    free_ptr(&f->at);
    f->n = 0;
}
