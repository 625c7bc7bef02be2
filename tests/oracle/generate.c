/*
 * Everything is drawn from tiny sets, so that labels, addresses, ports and CIDRs collide all the
 * time: overlaps, an except that another peer lets back in, a finished pod's address used again.
 */
#include "tests/oracle/generate.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NAMESPACES = 3, PODS = 7, POLICIES = 6, NODES = 2 };

#define PICK(g, array) (array)[below(g, sizeof(array) / sizeof((array)[0]))]

static const char *const keys[] = {"a", "b", "c"};
static const char *const values[] = {"x", "y", ""};
static const char *const protocols[] = {"TCP", "TCP", "UDP", "SCTP"};
static const char *const port_names[] = {"http", "dns"};
static const int ports[] = {53, 80, 81, 443, 8080};

static uint32_t below(struct generator *g, uint32_t n)
{
    uint64_t z = (g->state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

static bool chance(struct generator *g, uint32_t percent)
{
    return below(g, 100) < percent;
}

/* -- labels and selectors --------------------------------------------------------------- */

static json_t *labels(struct generator *g)
{
    json_t *o = json_object();

    for (size_t i = 0; i < 3; i++)
        if (chance(g, 60))
            json_object_set_new(o, keys[i], json_string(PICK(g, values)));
    return o;
}

static json_t *expression(struct generator *g)
{
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist"};
    const char *op = PICK(g, ops);
    json_t *e = json_pack("{s:s,s:s}", "key", PICK(g, keys), "operator", op);

    if (op[0] == 'I' || op[0] == 'N') {
        json_t *list = json_array();

        for (uint32_t i = 0, n = 1 + below(g, 2); i < n; i++)
            json_array_append_new(list, json_string(PICK(g, values)));
        json_object_set_new(e, "values", list);
    }
    if (chance(g, 1)) /* not valid with any operator in use */
        json_object_set_new(e, "operator", json_string("Near"));
    return e;
}

static json_t *selector(struct generator *g)
{
    json_t *o = json_object();

    if (chance(g, 40))
        json_object_set_new(o, "matchLabels", json_pack("{s:s}", PICK(g, keys), PICK(g, values)));
    if (chance(g, 25)) {
        json_t *list = json_array();

        for (uint32_t i = 0, n = below(g, 3); i < n; i++)
            json_array_append_new(list, expression(g));
        json_object_set_new(o, "matchExpressions", list);
    }
    return o;
}

static json_t *namespace_selector(struct generator *g)
{
    char name[16];

    if (!chance(g, 25))
        return selector(g);
    snprintf(name, sizeof(name), "ns%u", below(g, NAMESPACES));
    return json_pack("{s:{s:s}}", "matchLabels", "kubernetes.io/metadata.name", name);
}

/* -- addresses -------------------------------------------------------------------------- */

static void address(struct generator *g, bool v6, char text[64])
{
    if (v6)
        snprintf(text, 64, chance(g, 10) ? "64:ff9b::%x" : "fd00::%x", below(g, 16));
    else
        snprintf(text, 64, "10.0.%u.%u", chance(g, 15), below(g, 16));
}

/* A CIDR within the small universe; with `length` at least (of 32 or 128). */
static void cidr(struct generator *g, bool v6, int length, char text[64])
{
    static const int v4_lengths[] = {0, 1, 8, 23, 24, 28, 29, 30, 31, 32};
    static const int v6_lengths[] = {0, 1, 8, 64, 80, 96, 124, 125, 126, 127, 128};
    int n;

    do
        n = v6 ? PICK(g, v6_lengths) : PICK(g, v4_lengths);
    while (n < length);
    if (v6) {
        unsigned last = below(g, 16) & (n < 124 ? 0 : 0xfu << (128 - n));

        if (n <= 1)
            snprintf(text, 64, chance(g, 50) && n ? "8000::/%d" : "::/%d", n);
        else
            snprintf(text, 64, n == 8 ? "fd00::/%d" : "fd00::%x/%d", n == 8 ? n : (int)last, n);
        return;
    }
    {
        unsigned all = 0x0a000000u | (chance(g, 15) << 8) | below(g, 16);

        all &= n ? 0xffffffffu << (32 - n) : 0;
        snprintf(text, 64, "%u.%u.%u.%u/%d", all >> 24, all >> 16 & 255, all >> 8 & 255, all & 255,
                 n);
    }
}

static json_t *ip_block(struct generator *g)
{
    bool v6 = chance(g, 40);
    json_t *o = json_object(), *list;
    char text[64], *slash;
    int length;

    cidr(g, v6, 0, text);
    json_object_set_new(o, "cidr", json_string(chance(g, 1) ? "10.0.0.1/8" : text));
    if (!(slash = strchr(text, '/')) || chance(g, 40))
        return o;
    sscanf(slash + 1, "%d", &length);
    if (length >= (v6 ? 127 : 31))
        return o;
    list = json_array();
    for (uint32_t i = 0, n = 1 + below(g, 3); i < n; i++) {
        cidr(g, v6, length + 1, text);
        json_array_append_new(list, json_string(text)); /* may lie outside: then it isn't valid */
    }
    json_object_set_new(o, "except", list);
    return o;
}

/* -- NetworkPolicy ---------------------------------------------------------------------- */

static json_t *peer(struct generator *g)
{
    json_t *o = json_object();

    if (chance(g, 40)) {
        json_object_set_new(o, "ipBlock", ip_block(g));
        return o;
    }
    if (chance(g, 65))
        json_object_set_new(o, "podSelector", selector(g));
    if (chance(g, 50) || (json_object_size(o) == 0 && !chance(g, 2)))
        json_object_set_new(o, "namespaceSelector", namespace_selector(g));
    return o;
}

static json_t *port(struct generator *g)
{
    json_t *o = json_object();
    int n = PICK(g, ports);

    if (chance(g, 70))
        json_object_set_new(o, "protocol", json_string(PICK(g, protocols)));
    if (chance(g, 20))
        return o;
    if (chance(g, 45)) {
        json_object_set_new(o, "port", json_string(PICK(g, port_names)));
        return o;
    }
    json_object_set_new(o, "port", json_integer(chance(g, 1) ? 70000 : n));
    if (chance(g, 30))
        json_object_set_new(o, "endPort", json_integer(n + (int)below(g, 400) - chance(g, 1)));
    return o;
}

static json_t *list_of(struct generator *g, json_t *(*make)(struct generator *g), uint32_t max)
{
    json_t *list = json_array();

    for (uint32_t i = 0, n = below(g, max + 1); i < n; i++)
        json_array_append_new(list, make(g));
    return list;
}

/* More blocks than are matched one way, of few lengths: far away, but around some in use. */
static void many_blocks(struct generator *g, json_t *list)
{
    enum { MANY = 70 };
    bool v6 = chance(g, 40);
    char text[64];

    for (unsigned i = 0; i < MANY; i++) {
        json_t *o = json_object();

        if (v6)
            snprintf(text, sizeof(text), "fd09::%x/126", i * 4);
        else
            snprintf(text, sizeof(text), "10.9.%u.%u/30", i / 64, i % 64 * 4);
        json_object_set_new(o, "cidr", json_string(text));
        json_array_append_new(list, o);
    }
    for (unsigned i = 0; i < 3; i++) {
        unsigned at = below(g, 2) * 8;
        json_t *o;

        if (v6)
            o = json_pack("{s:s, s:[s]}", "cidr", at ? "fd00::8/125" : "fd00::/124", "except",
                          at ? "fd00::8/126" : "fd00::4/126");
        else
            o = json_pack("{s:s, s:[s]}", "cidr", at ? "10.0.0.8/29" : "10.0.0.0/28", "except",
                          at ? "10.0.0.8/30" : "10.0.0.4/30");
        json_array_append_new(list, o);
    }
    for (size_t i = 0, n = json_array_size(list); i < n; i++) {
        json_t *block = json_array_get(list, i);

        if (json_object_get(block, "cidr"))
            json_array_set_new(list, i, json_pack("{s:O}", "ipBlock", block));
    }
}

static json_t *rules(struct generator *g, const char *peers)
{
    json_t *list = json_array();

    for (uint32_t i = 0, n = below(g, 4); i < n; i++) {
        json_t *rule = json_object();

        if (chance(g, 80))
            json_object_set_new(rule, peers, list_of(g, peer, 3));
        if (chance(g, 1) && json_object_get(rule, peers))
            many_blocks(g, json_object_get(rule, peers));
        if (chance(g, 60))
            json_object_set_new(rule, "ports", list_of(g, port, 3));
        json_array_append_new(list, rule);
    }
    return list;
}

static json_t *types(struct generator *g)
{
    json_t *list = json_array();

    if (chance(g, 60))
        json_array_append_new(list, json_string("Ingress"));
    if (chance(g, 60))
        json_array_append_new(list, json_string("Egress"));
    return list;
}

static json_t *network_policy(struct generator *g, uint32_t index)
{
    json_t *spec = json_pack("{s:o}", "podSelector", selector(g));
    char name[16], ns[16];

    snprintf(name, sizeof(name), "np%u", index);
    snprintf(ns, sizeof(ns), "ns%u", index % NAMESPACES); /* one place for one name */
    if (chance(g, 60))
        json_object_set_new(spec, "policyTypes", types(g));
    if (chance(g, 70))
        json_object_set_new(spec, "ingress", rules(g, "from"));
    if (chance(g, 70))
        json_object_set_new(spec, "egress", rules(g, "to"));
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "apiVersion", "networking.k8s.io/v1", "kind",
                     "NetworkPolicy", "metadata", "name", name, "namespace", ns, "spec", spec);
}

/* -- ClusterNetworkPolicy --------------------------------------------------------------- */

static json_t *scope(struct generator *g)
{
    if (chance(g, 50))
        return json_pack("{s:o}", "namespaces", namespace_selector(g));
    return json_pack("{s:{s:o,s:o}}", "pods", "namespaceSelector", namespace_selector(g),
                     "podSelector", selector(g));
}

static json_t *cluster_peer(struct generator *g, bool egress)
{
    json_t *list;
    char text[64];

    if (chance(g, 2))
        return json_pack("{s:{}}", "weather"); /* from a newer API */
    if (!egress || chance(g, 60))
        return scope(g);
    if (chance(g, 35))
        return json_pack("{s:o}", "nodes", selector(g));
    list = json_array();
    for (uint32_t i = 0, n = 1 + below(g, 2); i < n; i++) {
        cidr(g, chance(g, 40), 0, text);
        json_array_append_new(list, json_string(text));
    }
    return json_pack("{s:o}", "networks", list);
}

static json_t *protocol(struct generator *g, bool named)
{
    static const char *const fields[] = {"tcp", "udp", "sctp"};
    int n = PICK(g, ports);

    if (named && chance(g, 30))
        return json_pack("{s:s}", "destinationNamedPort", PICK(g, port_names));
    if (chance(g, 60))
        return json_pack("{s:{s:{s:i}}}", PICK(g, fields), "destinationPort", "number", n);
    return json_pack("{s:{s:{s:{s:i,s:i}}}}", PICK(g, fields), "destinationPort", "range", "start",
                     n, "end", n + 1 + (int)below(g, 400));
}

static json_t *cluster_rules(struct generator *g, bool egress)
{
    static const char *const actions[] = {"Accept", "Deny", "Pass"};
    json_t *list = json_array(), *peers, *protocol_list;

    for (uint32_t i = 0, n = below(g, 4); i < n; i++) {
        json_t *rule = json_pack("{s:s}", "action", PICK(g, actions));
        bool pods_only = true;

        peers = json_array();
        for (uint32_t k = 0, m = 1 + below(g, 3); k < m; k++) {
            json_t *p = cluster_peer(g, egress);

            pods_only &= json_object_get(p, "networks") == NULL && !json_object_get(p, "nodes");
            json_array_append_new(peers, p);
        }
        json_object_set_new(rule, egress ? "to" : "from", peers);
        if (chance(g, 60)) {
            protocol_list = json_array();
            for (uint32_t k = 0, m = 1 + below(g, 2); k < m; k++)
                json_array_append_new(protocol_list, protocol(g, pods_only));
            json_object_set_new(rule, "protocols", protocol_list);
        }
        json_array_append_new(list, rule);
    }
    return list;
}

/* Valid but for peers of a newer API: those faults have rules of their own. */
static void repair(json_t *o)
{
    const char *key;
    json_t *v;
    size_t i;

    if (json_is_array(o)) {
        json_array_foreach(o, i, v) repair(v);
        return;
    }
    if (json_string_value(json_object_get(o, "operator")) &&
        strcmp(json_string_value(json_object_get(o, "operator")), "Near") == 0)
        json_object_set_new(o, "operator",
                            json_string(json_object_get(o, "values") ? "In" : "Exists"));
    json_object_foreach(o, key, v) repair(v);
}

static json_t *cluster_policy(struct generator *g, uint32_t index)
{
    json_t *spec = json_pack("{s:s,s:i,s:o}", "tier", chance(g, 60) ? "Admin" : "Baseline",
                             "priority", (int)(index * 100 + below(g, 100)), "subject", scope(g));
    char name[16];

    snprintf(name, sizeof(name), "cnp%u", index);
    if (chance(g, 75))
        json_object_set_new(spec, "ingress", cluster_rules(g, false));
    if (chance(g, 75))
        json_object_set_new(spec, "egress", cluster_rules(g, true));
    repair(spec);
    return json_pack("{s:s,s:s,s:{s:s},s:o}", "apiVersion", "policy.networking.k8s.io/v1alpha2",
                     "kind", "ClusterNetworkPolicy", "metadata", "name", name, "spec", spec);
}

/* -- the cluster ------------------------------------------------------------------------ */

static json_t *pod_ports(struct generator *g)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < 2; i++)
        if (chance(g, 60)) {
            json_t *p = json_pack("{s:s,s:i}", "name", port_names[i], "port", PICK(g, ports));

            if (chance(g, 50))
                json_object_set_new(p, "protocol", json_string(PICK(g, protocols)));
            json_array_append_new(list, p);
        }
    return list;
}

static bool address_taken(const json_t *pods, const char *text)
{
    const json_t *p, *ip;
    size_t i, k;

    json_array_foreach(pods, i, p)
    {
        const char *phase = json_string_value(json_object_get(p, "phase"));

        if (json_is_true(json_object_get(p, "hostNetwork")) || strcmp(phase, "Succeeded") == 0 ||
            strcmp(phase, "Failed") == 0)
            continue;
        json_array_foreach(json_object_get(p, "ips"), k, ip)
        {
            if (strcmp(json_string_value(ip), text) == 0)
                return true;
        }
    }
    return false;
}

static json_t *pod_ips(struct generator *g, const json_t *others, bool host, uint32_t node)
{
    json_t *list = json_array();
    char text[64];

    for (int v6 = 0; v6 < 2; v6++) {
        if (chance(g, v6 ? 50 : 10))
            continue;
        if (host)
            snprintf(text, sizeof(text), v6 ? "fd00::c:%u" : "10.0.0.%u", node + 14);
        else
            do
                address(g, v6, text);
            while (address_taken(others, text));
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *pod(struct generator *g, uint32_t index, const json_t *others)
{
    static const char *const phases[] = {"Running", "Running",   "Running",
                                         "Pending", "Succeeded", "Failed"};
    bool host = chance(g, 15);
    uint32_t node = below(g, NODES);
    char name[16], ns[16], node_name[16];
    json_t *p;

    snprintf(name, sizeof(name), "p%u", index);
    snprintf(ns, sizeof(ns), "ns%u", index % NAMESPACES);
    snprintf(node_name, sizeof(node_name), "n%u", node);
    p = json_pack("{s:s,s:s,s:o,s:o,s:b,s:s,s:b,s:o}", "ns", ns, "name", name, "labels", labels(g),
                  "ips", pod_ips(g, others, host, node), "hostNetwork", host, "phase",
                  chance(g, 60) ? "Running" : PICK(g, phases), "terminating", chance(g, 10),
                  "ports", pod_ports(g));
    if (chance(g, 90))
        json_object_set_new(p, "node", json_string(node_name));
    return p;
}

/* The same pod, other in one respect. */
static json_t *with_one_change(struct generator *g, json_t *p)
{
    json_t *copy = json_copy(p);

    switch (below(g, 4)) {
    case 0:
        json_object_set_new(copy, "ports", pod_ports(g));
        break;
    case 1:
        json_object_set_new(copy, "phase", json_string(chance(g, 50) ? "Failed" : "Succeeded"));
        break;
    case 2:
        json_object_set_new(copy, "node", json_string(chance(g, 50) ? "n0" : "n1"));
        break;
    default:
        json_object_set_new(copy, "labels", labels(g));
    }
    return copy;
}

static void change_pods(struct generator *g, uint32_t percent)
{
    json_t *old = json_object_get(g->doc, "pods"), *pods = json_array(), *p;
    json_t *kept[PODS] = {NULL};
    size_t i;

    json_array_foreach(old, i, p)
    {
        unsigned index;

        sscanf(json_string_value(json_object_get(p, "name")), "p%u", &index);
        kept[index] = json_incref(p);
        if (chance(g, percent)) {
            json_decref(kept[index]);
            kept[index] = NULL;
        } else if (chance(g, percent)) {
            json_decref(kept[index]);
            kept[index] = with_one_change(g, p);
        }
    }
    for (i = 0; i < PODS; i++)
        if (kept[i])
            json_array_append_new(pods, kept[i]);
    for (uint32_t k = 0; k < PODS; k++)
        if (!kept[k] && chance(g, percent > 10 ? 75 : 20))
            json_array_append_new(pods, pod(g, k, pods));
    json_object_set_new(g->doc, "pods", pods);
}

static void change_policies(struct generator *g, uint32_t percent)
{
    json_t *old = json_object_get(g->doc, "policies"), *list = json_array(), *p;
    bool there[POLICIES] = {false};
    size_t i;

    json_array_foreach(old, i, p)
    {
        const char *name =
            json_string_value(json_object_get(json_object_get(p, "metadata"), "name"));

        if (!chance(g, percent)) {
            there[name[strlen(name) - 1] - '0'] = true;
            json_array_append(list, p);
        }
    }
    for (uint32_t k = 0; k < POLICIES; k++)
        if (!there[k] && chance(g, 50))
            json_array_append_new(list,
                                  chance(g, 70) ? network_policy(g, k) : cluster_policy(g, k));
    json_object_set_new(g->doc, "policies", list);
}

static void change_namespaces(struct generator *g, uint32_t percent)
{
    json_t *old = json_object_get(g->doc, "namespaces"), *o = json_object();
    char name[16];

    for (uint32_t i = 0; i < NAMESPACES; i++) {
        json_t *kept;

        snprintf(name, sizeof(name), "ns%u", i);
        kept = json_object_get(old, name);
        if (kept && !chance(g, percent))
            json_object_set(o, name, kept);
        else if (chance(g, 90))
            json_object_set_new(o, name, labels(g));
    }
    json_object_set_new(g->doc, "namespaces", o);
}

static void change_nodes(struct generator *g)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < NODES; i++) {
        char name[16], v4[64], v6[64];

        snprintf(name, sizeof(name), "n%u", i);
        snprintf(v4, sizeof(v4), "10.0.0.%u", i + 14);
        snprintf(v6, sizeof(v6), "fd00::c:%u", i);
        if (chance(g, 80))
            json_array_append_new(list, json_pack("{s:s,s:o,s:[s,s]}", "name", name, "labels",
                                                  labels(g), "ips", v4, v6));
    }
    json_object_set_new(g->doc, "nodes", list);
}

void generator_init(struct generator *g, uint64_t seed)
{
    g->state = seed * 0xd1342543de82ef95ULL + 1;
    g->doc = json_object();
    change_namespaces(g, 100);
    change_nodes(g);
    change_pods(g, 100);
    change_policies(g, 100);
}

void generator_fini(struct generator *g)
{
    json_decref(g->doc);
}

void generator_step(struct generator *g)
{
    json_t *copy = json_copy(g->doc);

    json_decref(g->doc);
    g->doc = copy;
    if (chance(g, 30))
        change_namespaces(g, 50);
    if (chance(g, 25))
        change_nodes(g);
    if (chance(g, 60))
        change_pods(g, chance(g, 60) ? 8 : 30);
    if (chance(g, 30))
        change_policies(g, chance(g, 60) ? 10 : 30);
}

/* One end of a probe; the pod, if it is one. */
static const json_t *end(struct generator *g, bool v6, char text[64])
{
    const json_t *pods = json_object_get(g->doc, "pods"), *p;

    if (json_array_size(pods) == 0 || chance(g, 15)) {
        address(g, v6, text);
        return NULL;
    }
    p = json_array_get(pods, below(g, (uint32_t)json_array_size(pods)));
    snprintf(text, 64, "%s/%s", json_string_value(json_object_get(p, "ns")),
             json_string_value(json_object_get(p, "name")));
    return p;
}

json_t *generator_probe(struct generator *g)
{
    bool v6 = chance(g, 35);
    const char *protocol_name = PICK(g, protocols);
    int number = PICK(g, ports);
    const json_t *to, *list;
    char src[64], dst[64];

    (void)end(g, v6, src);
    to = end(g, v6, dst);
    list = json_object_get(to, "ports");
    if (json_array_size(list) && chance(g, 50)) { /* a port that has a name */
        const json_t *p = json_array_get(list, below(g, (uint32_t)json_array_size(list)));
        const char *its = json_string_value(json_object_get(p, "protocol"));

        number = (int)json_integer_value(json_object_get(p, "port"));
        protocol_name = its ? its : "TCP";
    }
    return json_pack("[s,s,s,i,s]", src, dst, protocol_name, number, v6 ? "6" : "4");
}
