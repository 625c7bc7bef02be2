/* Decoders of Pod, Namespace and Node: only what policy judges by, everything else is skipped. */
#include "policy/model/objects.h"

#include "policy/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { ADDRESSES_MAX = 16, NAMED_PORTS_MAX = 4096 };

const char *const pod_phases[PHASE_MAX] = {"", "Pending", "Running", "Succeeded", "Failed"};

const char *pod_uid(const struct pod *p)
{
    return p->text + strlen(p->text) + 1;
}

/* -- named ports ------------------------------------------------------------------------ */

uint16_t pod_named_port(const struct pod *p, const struct string *name, uint8_t protocol,
                        uint32_t *from, uint8_t *ret_protocol)
{
    for (; p->ports && *from < p->ports->n;) {
        const struct named_port *n = &p->ports->at[(*from)++];

        if (n->name == name && (!protocol || n->protocol == protocol)) {
            *ret_protocol = n->protocol;
            return n->port;
        }
    }
    return 0;
}

/* Field by field: the struct has padding. */
static uint64_t ports_hash(const struct named_port *at, size_t n)
{
    uint64_t h = n;

    for (size_t i = 0; i < n; i++)
        h = hash_u64(h ^ (uintptr_t)at[i].name) ^ ((uint64_t)at[i].port << 8 | at[i].protocol);
    return h;
}

static bool ports_same(const struct port_list *l, const struct named_port *at, size_t n)
{
    if (l->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (l->at[i].name != at[i].name || l->at[i].port != at[i].port ||
            l->at[i].protocol != at[i].protocol)
            return false;
    return true;
}

static struct port_list *port_list_get(struct port_table *t, const struct named_port *at, size_t n)
{
    uint64_t hash = ports_hash(at, n);
    struct port_list *l;

    for (struct hash_node *x = hashmap_first(&t->map, hash); x; x = hashmap_next_same(x)) {
        l = hash_entry(x, struct port_list, node);
        if (ports_same(l, at, n)) {
            l->refs++;
            return l;
        }
    }
    l = calloc(1, sizeof(*l) + n * sizeof(*at));
    if (!l || hashmap_add(&t->map, &l->node, hash) < 0) {
        free(l);
        return NULL;
    }
    l->refs = 1;
    l->n = (uint32_t)n;
    memcpy(l->at, at, n * sizeof(*at));
    for (size_t i = 0; i < n; i++)
        string_ref(at[i].name);
    return l;
}

void port_list_put(struct port_table *t, struct port_list *l)
{
    if (!l || --l->refs)
        return;
    hashmap_remove(&t->map, &l->node);
    for (uint32_t i = 0; i < l->n; i++)
        string_put(t->strings, l->at[i].name);
    free(l);
}

void port_table_fini(struct port_table *t)
{
    struct hash_node *n, *next;

    for (n = hashmap_next(&t->map, NULL); n; n = next) {
        next = hashmap_next(&t->map, n);
        free(hash_entry(n, struct port_list, node));
    }
    hashmap_fini(&t->map);
}

struct ports_found {
    struct named_port at[NAMED_PORTS_MAX];
    size_t n;
};

static int decode_container_port(struct decoder *d, const json_t *o, struct ports_found *f)
{
    struct named_port *p = &f->at[f->n];
    const char *name;
    long number = 0;
    bool there;
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_string(d, o, "name", &name)) < 0 ||
        (r = decode_integer(d, o, "containerPort", 1, 65535, &number, &there)) < 0 ||
        (r = decode_protocol(d, o, &p->protocol)) < 0)
        return r;
    if (!name || !*name || !there)
        return 0;
    if (f->n + 1 >= NAMED_PORTS_MAX)
        return decode_fail(d, NULL, "more than %d named ports", NAMED_PORTS_MAX);
    p->port = (uint16_t)number;
    if (!(p->name = string_get(d->strings, name)))
        return decode_memory(d);
    f->n++;
    return 0;
}

static int decode_container(struct decoder *d, const json_t *o, struct ports_found *f)
{
    const json_t *ports, *p;
    size_t i;
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_array(d, o, "ports", &ports)) < 0)
        return r;
    (void)decode_enter(d, "ports");
    json_array_foreach(ports, i, p)
    {
        size_t mark = decode_enter_index(d, i);

        if ((r = decode_container_port(d, p, f)) < 0)
            return r;
        decode_leave(d, mark);
    }
    return 0;
}

static int decode_containers(struct decoder *d, const json_t *spec, const char *field,
                             struct ports_found *f)
{
    size_t mark = decode_enter(d, field), i;
    const json_t *list = json_object_get(spec, field), *c;
    int r;

    if (list && !json_is_null(list) && !json_is_array(list))
        return decode_fail(d, NULL, "not a list");
    json_array_foreach(list, i, c)
    {
        size_t at = decode_enter_index(d, i);
        const json_t *restart = json_object_get(c, "restartPolicy");

        /* Of init containers only those that keep running (sidecars) can be a destination. */
        if (strcmp(field, "initContainers") == 0 &&
            (!json_is_string(restart) || strcmp(json_string_value(restart), "Always") != 0)) {
            decode_leave(d, at);
            continue;
        }
        if ((r = decode_container(d, c, f)) < 0)
            return r;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    return 0;
}

static int decode_ports(struct decoder *d, struct port_table *t, const json_t *spec, struct pod *p)
{
    struct ports_found *f = malloc(sizeof(*f));
    size_t mark;
    int r;

    if (!f)
        return decode_memory(d);
    f->n = 0;
    mark = decode_enter(d, "spec");
    if ((r = decode_containers(d, spec, "containers", f)) == 0)
        r = decode_containers(d, spec, "initContainers", f);
    if (r == 0 && f->n && !(p->ports = port_list_get(t, f->at, f->n)))
        r = decode_memory(d);
    for (size_t i = 0; i < f->n; i++)
        string_put(d->strings, f->at[i].name);
    free(f);
    if (r == 0)
        decode_leave(d, mark);
    return r;
}

/* -- pods ------------------------------------------------------------------------------- */

static int add_address(struct decoder *d, const char *text, uint8_t (*all)[16], size_t *n)
{
    if (!text || !*text)
        return 0;
    if (*n == ADDRESSES_MAX)
        return decode_fail(d, NULL, "more than %d addresses", ADDRESSES_MAX);
    if (!address_parse(text, all[*n]))
        return decode_fail_value(d, NULL, text, "not an IP address");
    for (size_t i = 0; i < *n; i++)
        if (memcmp(all[i], all[*n], 16) == 0)
            return 0;
    (*n)++;
    return 0;
}

static int decode_addresses(struct decoder *d, const json_t *status, struct pod *p)
{
    uint8_t all[ADDRESSES_MAX][16];
    const json_t *list, *o;
    const char *single, *ip;
    size_t n = 0, i;
    int r;

    if ((r = decode_string(d, status, "podIP", &single)) < 0 ||
        (r = decode_array(d, status, "podIPs", &list)) < 0)
        return r;
    (void)decode_enter(d, "podIPs");
    json_array_foreach(list, i, o)
    {
        size_t mark = decode_enter_index(d, i);

        if (!json_is_object(o))
            return decode_fail(d, NULL, "not an object");
        if ((r = decode_string(d, o, "ip", &ip)) < 0 || (r = add_address(d, ip, all, &n)) < 0)
            return r;
        decode_leave(d, mark);
    }
    if ((r = add_address(d, single, all, &n)) < 0)
        return r;
    if (n && !(p->addresses = calloc(n, sizeof(*p->addresses))))
        return decode_memory(d);
    for (i = 0; i < n; i++) {
        p->addresses[i].pod = p;
        memcpy(p->addresses[i].addr, all[i], 16);
    }
    p->n_addresses = (uint8_t)n;
    return 0;
}

static int decode_status(struct decoder *d, const json_t *object, struct pod *p)
{
    const json_t *status;
    const char *phase;
    size_t mark;
    int r;

    if ((r = decode_object(d, object, "status", &status)) < 0 || !status)
        return r;
    mark = decode_enter(d, "status");
    if ((r = decode_string(d, status, "phase", &phase)) < 0)
        return r;
    for (uint8_t i = 0; phase && i < PHASE_MAX; i++)
        if (strcmp(phase, pod_phases[i]) == 0)
            p->phase = i;
    if ((r = decode_addresses(d, status, p)) < 0)
        return r;
    decode_leave(d, mark);
    return 0;
}

static int decode_pod_spec(struct decoder *d, struct port_table *ports, const json_t *object,
                           struct pod *p)
{
    const char *node = NULL, *account = NULL;
    bool host_network = false;
    const json_t *spec;
    size_t mark;
    int r;

    if ((r = decode_object(d, object, "spec", &spec)) < 0)
        return r;
    mark = decode_enter(d, "spec");
    if ((r = decode_string(d, spec, "nodeName", &node)) < 0 ||
        (r = decode_string(d, spec, "serviceAccountName", &account)) < 0 ||
        (r = decode_bool(d, spec, "hostNetwork", &host_network)) < 0)
        return r;
    decode_leave(d, mark);
    p->host_network = host_network;
    p->node_name = string_get(d->strings, node ? node : "");
    p->service_account = string_get(d->strings, account ? account : "");
    if (!p->node_name || !p->service_account)
        return decode_memory(d);
    return decode_ports(d, ports, spec, p);
}

void pod_free(struct decoder *d, struct port_table *ports, struct pod *p)
{
    if (!p)
        return;
    labels_put(d->labels, p->labels);
    port_list_put(ports, p->ports);
    string_put(d->strings, p->node_name);
    string_put(d->strings, p->service_account);
    free(p->addresses);
    free(p);
}

int pod_decode(struct decoder *d, struct port_table *ports, const json_t *object, struct pod **ret,
               const char **ret_ns)
{
    struct metadata m;
    struct pod *p;
    size_t name, uid, mark;
    int r = decode_metadata(d, object, "Pod", true, &m);

    if (r < 0)
        return r;
    name = strlen(m.name) + 1;
    uid = strlen(m.uid) + 1;
    if (!(p = calloc(1, sizeof(*p) + name + uid)))
        return decode_memory(d);
    list_init(&p->ns_link);
    list_init(&p->labels_link);
    memcpy(p->text, m.name, name);
    memcpy(p->text + name, m.uid, uid);
    p->terminating = m.deleting;
    mark = decode_enter(d, "metadata.labels");
    if ((r = decode_labels(d, m.labels, NULL, NULL, &p->labels)) == 0) {
        decode_leave(d, mark);
        if ((r = decode_pod_spec(d, ports, object, p)) == 0)
            r = decode_status(d, object, p);
    }
    if (r < 0) {
        pod_free(d, ports, p);
        return r;
    }
    *ret = p;
    *ret_ns = m.ns;
    return 0;
}

/* -- namespaces and nodes --------------------------------------------------------------- */

int namespace_decode(struct decoder *d, const json_t *object, const char **ret_name,
                     struct labels **ret_labels, bool *ret_ending, bool *ret_audit)
{
    const json_t *status;
    const char *phase = NULL, *audit;
    struct metadata m;
    int r = decode_metadata(d, object, "Namespace", false, &m);

    if (r < 0 || (r = decode_object(d, object, "status", &status)) < 0 ||
        (r = decode_string(d, status, "phase", &phase)) < 0)
        return r;
    (void)decode_enter(d, "metadata.labels");
    if ((r = decode_labels(d, m.labels, NAMESPACE_NAME_LABEL, m.name, ret_labels)) < 0)
        return r;
    *ret_name = m.name;
    audit = json_string_value(json_object_get(m.annotations, ENGINE_AUDIT_ANNOTATION));
    *ret_audit = audit && strcmp(audit, "true") == 0;
    *ret_ending = m.deleting || (phase && strcmp(phase, "Terminating") == 0);
    return 0;
}

void node_free(struct decoder *d, struct kube_node *n)
{
    if (!n)
        return;
    labels_put(d->labels, n->labels);
    string_put(d->strings, n->name);
    free(n->addresses);
    free(n);
}

/* Host names are among a node's addresses: what isn't an IP address is skipped. */
static int decode_node_addresses(struct decoder *d, const json_t *list, struct kube_node *n)
{
    const json_t *o;
    const char *text;
    size_t i;

    if (json_array_size(list) > 1000)
        return decode_fail(d, "addresses", "too many");
    if (!(n->addresses = calloc(json_array_size(list) + 1, sizeof(*n->addresses))))
        return decode_memory(d);
    json_array_foreach(list, i, o)
    {
        text = json_string_value(json_object_get(o, "address"));
        if (text && address_parse(text, n->addresses[n->n_addresses]))
            n->n_addresses++;
    }
    return 0;
}

int node_decode(struct decoder *d, const json_t *object, struct kube_node **ret)
{
    const json_t *status, *list;
    struct kube_node *n;
    struct metadata m;
    int r = decode_metadata(d, object, "Node", false, &m);

    if (r < 0 || (r = decode_object(d, object, "status", &status)) < 0)
        return r;
    (void)decode_enter(d, "status");
    if ((r = decode_array(d, status, "addresses", &list)) < 0)
        return r;
    if (!(n = calloc(1, sizeof(*n))))
        return decode_memory(d);
    if (!(n->name = string_get(d->strings, m.name)))
        r = decode_memory(d);
    else if ((r = decode_node_addresses(d, list, n)) == 0) {
        decode_leave(d, 0);
        (void)decode_enter(d, "metadata.labels");
        r = decode_labels(d, m.labels, NULL, NULL, &n->labels);
    }
    if (r < 0) {
        node_free(d, n);
        return r;
    }
    *ret = n;
    return 0;
}
