/* Clause by clause. Where the API leaves something open, the comment says what berm promises. */
#include "tests/oracle/oracle.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- small helpers ---------------------------------------------------------------------- */

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static bool has(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return v && !json_is_null(v);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* -- addresses as bit strings ----------------------------------------------------------- */

struct bits {
    int family, n; /* n bits */
    unsigned char bit[128];
};

static bool bits_of(const char *text, struct bits *ret)
{
    unsigned char raw[16];

    ret->family = strchr(text, ':') ? 6 : 4;
    ret->n = ret->family == 6 ? 128 : 32;
    if (inet_pton(ret->family == 6 ? AF_INET6 : AF_INET, text, raw) != 1)
        return false;
    for (int i = 0; i < ret->n; i++)
        ret->bit[i] = (raw[i / 8] >> (7 - i % 8)) & 1;
    return true;
}

/* A CIDR: its first n bits count. */
static bool cidr_of(const char *text, struct bits *ret)
{
    char copy[128];
    char *slash, *end;
    int n;

    if (strlen(text) >= sizeof(copy))
        return false;
    strcpy(copy, text);
    if (!(slash = strchr(copy, '/')))
        return false;
    *slash = 0;
    if (!bits_of(copy, ret))
        return false;
    n = (int)strtol(slash + 1, &end, 10);
    if (*end || end == slash + 1 || n < 0 || n > ret->n)
        return false;
    for (int i = n; i < ret->n; i++)
        if (ret->bit[i])
            return false; /* berm refuses host bits */
    ret->n = n;
    return true;
}

static bool starts_with(const struct bits *a, const struct bits *prefix)
{
    if (a->family != prefix->family || a->n < prefix->n)
        return false;
    for (int i = 0; i < prefix->n; i++)
        if (a->bit[i] != prefix->bit[i])
            return false;
    return true;
}

static bool same_address(const char *a, const char *b)
{
    struct bits x, y;

    return bits_of(a, &x) && bits_of(b, &y) && x.n == y.n && starts_with(&x, &y);
}

static bool in_cidr(const char *addr, const char *cidr)
{
    struct bits a, c;

    return bits_of(addr, &a) && cidr_of(cidr, &c) && starts_with(&a, &c);
}

/* -- pods ------------------------------------------------------------------------------- */

static bool finished(const json_t *pod)
{
    return same(str(pod, "phase"), "Succeeded") || same(str(pod, "phase"), "Failed");
}

/* Pods on the host's network and finished ones are neither selected nor peers. */
static bool counts(const json_t *pod)
{
    return !json_is_true(json_object_get(pod, "hostNetwork")) && !finished(pod);
}

static bool has_address(const json_t *pod, const char *addr)
{
    const json_t *ip;
    size_t i;

    json_array_foreach(json_object_get(pod, "ips"), i, ip)
    {
        if (same_address(json_string_value(ip), addr))
            return true;
    }
    return false;
}

static const json_t *pod_named(const json_t *doc, const char *text)
{
    const json_t *pod;
    char name[600];
    size_t i;

    json_array_foreach(json_object_get(doc, "pods"), i, pod)
    {
        (void)snprintf(name, sizeof(name), "%s/%s", str(pod, "ns"), str(pod, "name"));
        if (same(name, text))
            return pod;
    }
    return NULL;
}

static const json_t *pod_at(const json_t *doc, const char *addr)
{
    const json_t *pod;
    size_t i;

    json_array_foreach(json_object_get(doc, "pods"), i, pod)
    {
        if (counts(pod) && has_address(pod, addr))
            return pod;
    }
    return NULL;
}

static const char *address_in_family(const json_t *pod, int family)
{
    const json_t *ip;
    size_t i;

    json_array_foreach(json_object_get(pod, "ips"), i, ip)
    {
        if ((strchr(json_string_value(ip), ':') ? 6 : 4) == family)
            return json_string_value(ip);
    }
    return NULL;
}

/* -- label selectors -------------------------------------------------------------------- */

static const char *label(const json_t *labels, const char *key)
{
    return json_string_value(json_object_get(labels, key));
}

static bool in_list(const json_t *list, const char *value)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        if (value && same(json_string_value(v), value))
            return true;
    }
    return false;
}

static bool expression(const json_t *e, const json_t *labels)
{
    const char *value = label(labels, str(e, "key")), *op = str(e, "operator");
    const json_t *values = json_object_get(e, "values");

    if (same(op, "In"))
        return value && in_list(values, value);
    if (same(op, "NotIn"))
        return !value || !in_list(values, value);
    if (same(op, "Exists"))
        return value != NULL;
    return value == NULL; /* DoesNotExist */
}

static bool selects(const json_t *selector, const json_t *labels)
{
    const json_t *v;
    const char *key;
    size_t i;

    json_object_foreach(json_object_get(selector, "matchLabels"), key, v)
    {
        if (!label(labels, key) || !same(label(labels, key), json_string_value(v)))
            return false;
    }
    json_array_foreach(json_object_get(selector, "matchExpressions"), i, v)
    {
        if (!expression(v, labels))
            return false;
    }
    return true;
}

/* Every namespace has a label with its name. */
static bool selects_namespace(const json_t *doc, const json_t *selector, const char *ns)
{
    json_t *labels = json_object();
    const json_t *given = json_object_get(json_object_get(doc, "namespaces"), ns);
    bool r;

    if (json_is_object(given))
        (void)json_object_update(labels, (json_t *)(uintptr_t)given);
    (void)json_object_set_new(labels, "kubernetes.io/metadata.name", json_string(ns));
    r = selects(selector, labels);
    json_decref(labels);
    return r;
}

/* -- is it valid? ----------------------------------------------------------------------- */

static bool selector_valid(const json_t *selector)
{
    const json_t *e;
    size_t i;

    json_array_foreach(json_object_get(selector, "matchExpressions"), i, e)
    {
        size_t n = json_array_size(json_object_get(e, "values"));
        const char *op = str(e, "operator");

        if (!((same(op, "In") || same(op, "NotIn")) && n) &&
            !((same(op, "Exists") || same(op, "DoesNotExist")) && !n))
            return false;
    }
    return true;
}

static bool block_valid(const json_t *block)
{
    struct bits outer, inner;
    const json_t *e;
    size_t i;

    if (!cidr_of(str(block, "cidr"), &outer))
        return false;
    json_array_foreach(json_object_get(block, "except"), i, e)
    {
        if (!cidr_of(json_string_value(e), &inner) || inner.n <= outer.n ||
            !starts_with(&inner, &outer))
            return false;
    }
    return true;
}

static bool peer_valid(const json_t *peer)
{
    bool pods = has(peer, "podSelector"), namespaces = has(peer, "namespaceSelector");

    if (has(peer, "ipBlock"))
        return !pods && !namespaces && block_valid(json_object_get(peer, "ipBlock"));
    return (pods || namespaces) && selector_valid(json_object_get(peer, "podSelector")) &&
           selector_valid(json_object_get(peer, "namespaceSelector"));
}

static bool port_valid(const json_t *p)
{
    const json_t *port = json_object_get(p, "port"), *end = json_object_get(p, "endPort");

    if (json_is_string(port))
        return !end;
    if (!port)
        return !end;
    if (json_integer_value(port) < 1 || json_integer_value(port) > 65535)
        return false;
    return !end || (json_integer_value(end) >= json_integer_value(port) &&
                    json_integer_value(end) <= 65535);
}

static bool rules_valid(const json_t *rules, const char *peers)
{
    const json_t *rule, *v;
    size_t i, k;

    json_array_foreach(rules, i, rule)
    {
        json_array_foreach(json_object_get(rule, peers), k, v)
        {
            if (!peer_valid(v))
                return false;
        }
        json_array_foreach(json_object_get(rule, "ports"), k, v)
        {
            if (!port_valid(v))
                return false;
        }
    }
    return true;
}

/* -- NetworkPolicy ---------------------------------------------------------------------- */

struct question {
    const json_t *doc, *self; /* self: the pod whose policies are asked */
    const char *peer;         /* address of the other end */
    const char *dst;          /* address of the destination, of either direction */
    const char *protocol;
    int port;
    bool egress;
};

static bool is_policy(const json_t *policy, const char *kind)
{
    return same(str(policy, "kind"), kind);
}

/* Default: Ingress always, Egress if there are egress rules. */
static bool affects(const json_t *spec, bool egress)
{
    const json_t *types = json_object_get(spec, "policyTypes");

    if (json_array_size(types))
        return in_list(types, egress ? "Egress" : "Ingress");
    return !egress || json_array_size(json_object_get(spec, "egress")) > 0;
}

static bool np_selects(const json_t *policy, const json_t *pod)
{
    const json_t *selector = json_object_get(json_object_get(policy, "spec"), "podSelector");

    if (!same(str(json_object_get(policy, "metadata"), "namespace"), str(pod, "ns")))
        return false;
    /* An unreadable selector means every pod of the namespace. */
    return !selector_valid(selector) || selects(selector, json_object_get(pod, "labels"));
}

static bool np_valid(const json_t *policy, bool egress)
{
    const json_t *spec = json_object_get(policy, "spec");

    return selector_valid(json_object_get(spec, "podSelector")) &&
           rules_valid(json_object_get(spec, egress ? "egress" : "ingress"),
                       egress ? "to" : "from");
}

static bool named_port(const json_t *pod, const char *name, const char *protocol, int port)
{
    const json_t *p;
    size_t i;

    json_array_foreach(json_object_get(pod, "ports"), i, p)
    {
        const char *its = has(p, "protocol") ? str(p, "protocol") : "TCP";

        if (same(str(p, "name"), name) && (!protocol || same(its, protocol)) &&
            json_integer_value(json_object_get(p, "port")) == port)
            return true;
    }
    return false;
}

/* A numeric port (or none) needs no pod; a named one is looked up on `destination`, if any. */
static bool port_matches(const struct question *q, const json_t *p, const json_t *destination)
{
    const char *protocol = has(p, "protocol") ? str(p, "protocol") : "TCP";
    const json_t *port = json_object_get(p, "port"), *end = json_object_get(p, "endPort");

    if (!same(protocol, q->protocol))
        return false;
    if (!port)
        return true;
    if (json_is_string(port))
        return destination && counts(destination) &&
               named_port(destination, json_string_value(port), protocol, q->port);
    if (end)
        return q->port >= json_integer_value(port) && q->port <= json_integer_value(end);
    return q->port == json_integer_value(port);
}

static bool np_ports(const struct question *q, const json_t *rule, const json_t *destination)
{
    const json_t *ports = json_object_get(rule, "ports"), *p;
    size_t i;

    if (json_array_size(ports) == 0)
        return true;
    json_array_foreach(ports, i, p)
    {
        if (port_matches(q, p, destination))
            return true;
    }
    return false;
}

static bool np_peer_is_pod(const struct question *q, const json_t *peer, const char *policy_ns,
                           const json_t *pod)
{
    if (has(peer, "namespaceSelector")) {
        if (!selects_namespace(q->doc, json_object_get(peer, "namespaceSelector"), str(pod, "ns")))
            return false;
    } else if (!same(str(pod, "ns"), policy_ns)) {
        return false;
    }
    return selects(json_object_get(peer, "podSelector"), json_object_get(pod, "labels"));
}

/* The pod whose ports a named port means: ourselves for ingress, the peer for egress. */
static const json_t *destination(const struct question *q, const json_t *peer_pod)
{
    return q->egress ? peer_pod : q->self;
}

static bool np_peer(const struct question *q, const json_t *rule, const json_t *peer,
                    const char *policy_ns)
{
    const json_t *block = json_object_get(peer, "ipBlock"), *pod, *e;
    size_t i;

    if (block) {
        if (!in_cidr(q->peer, str(block, "cidr")))
            return false;
        json_array_foreach(json_object_get(block, "except"), i, e)
        {
            if (in_cidr(q->peer, json_string_value(e)))
                return false;
        }
        return np_ports(q, rule, destination(q, pod_at(q->doc, q->dst)));
    }
    json_array_foreach(json_object_get(q->doc, "pods"), i, pod)
    {
        if (counts(pod) && has_address(pod, q->peer) && np_peer_is_pod(q, peer, policy_ns, pod) &&
            np_ports(q, rule, destination(q, pod)))
            return true;
    }
    return false;
}

static bool np_rule(const struct question *q, const json_t *rule, const char *policy_ns)
{
    const json_t *peers = json_object_get(rule, q->egress ? "to" : "from"), *peer;
    size_t i;

    if (json_array_size(peers) == 0)
        return np_ports(q, rule, destination(q, pod_at(q->doc, q->dst)));
    json_array_foreach(peers, i, peer)
    {
        if (np_peer(q, rule, peer, policy_ns))
            return true;
    }
    return false;
}

enum answer { NO_OPINION, ALLOW, DENY };

/* All NetworkPolicies together: final for a pod that one of them isolates. */
static enum answer network_policies(const struct question *q)
{
    enum answer answer = NO_OPINION;
    const json_t *policy, *rule;
    size_t i, k;

    json_array_foreach(json_object_get(q->doc, "policies"), i, policy)
    {
        const json_t *spec = json_object_get(policy, "spec");

        if (!is_policy(policy, "NetworkPolicy") || !np_selects(policy, q->self) ||
            !affects(spec, q->egress))
            continue;
        if (answer == NO_OPINION)
            answer = DENY;
        json_array_foreach(json_object_get(spec, q->egress ? "egress" : "ingress"), k, rule)
        {
            if (np_rule(q, rule, str(json_object_get(policy, "metadata"), "namespace")))
                answer = ALLOW;
        }
    }
    return answer;
}

/* A policy that can't be expressed denies its pods everything in that direction. */
static bool closed(const struct question *q)
{
    const json_t *policy;
    size_t i;

    json_array_foreach(json_object_get(q->doc, "policies"), i, policy)
    {
        if (is_policy(policy, "NetworkPolicy") && np_selects(policy, q->self) &&
            affects(json_object_get(policy, "spec"), q->egress) && !np_valid(policy, q->egress))
            return true;
    }
    return false;
}

/* -- ClusterNetworkPolicy --------------------------------------------------------------- */

static bool scoped(const struct question *q, const json_t *o, const json_t *pod)
{
    const json_t *pods = json_object_get(o, "pods");

    if (has(o, "namespaces"))
        return selects_namespace(q->doc, json_object_get(o, "namespaces"), str(pod, "ns"));
    return selects_namespace(q->doc, json_object_get(pods, "namespaceSelector"), str(pod, "ns")) &&
           selects(json_object_get(pods, "podSelector"), json_object_get(pod, "labels"));
}

static bool cnp_port(const struct question *q, const json_t *protocol, const json_t *pod)
{
    static const char *const fields[][2] = {{"tcp", "TCP"}, {"udp", "UDP"}, {"sctp", "SCTP"}};

    if (has(protocol, "destinationNamedPort"))
        return pod && named_port(pod, str(protocol, "destinationNamedPort"), q->protocol, q->port);
    for (int i = 0; i < 3; i++) {
        const json_t *port = json_object_get(json_object_get(protocol, fields[i][0]),
                                             "destinationPort"),
                     *range = json_object_get(port, "range");

        if (!port || !same(q->protocol, fields[i][1]))
            continue;
        if (range)
            return q->port >= json_integer_value(json_object_get(range, "start")) &&
                   q->port <= json_integer_value(json_object_get(range, "end"));
        return q->port == json_integer_value(json_object_get(port, "number"));
    }
    return false;
}

static bool cnp_ports(const struct question *q, const json_t *rule, const json_t *pod)
{
    const json_t *p;
    size_t i;

    if (!has(rule, "protocols"))
        return true;
    json_array_foreach(json_object_get(rule, "protocols"), i, p)
    {
        if (cnp_port(q, p, pod))
            return true;
    }
    return false;
}

static bool node_peer(const struct question *q, const json_t *selector)
{
    const json_t *node, *ip;
    size_t i, k;

    json_array_foreach(json_object_get(q->doc, "nodes"), i, node)
    {
        json_array_foreach(json_object_get(node, "ips"), k, ip)
        {
            if (selects(selector, json_object_get(node, "labels")) &&
                same_address(json_string_value(ip), q->peer))
                return true;
        }
    }
    return false;
}

static bool cnp_peer(const struct question *q, const json_t *rule, const json_t *peer)
{
    const json_t *v;
    size_t i;

    if (has(peer, "nodes"))
        return node_peer(q, json_object_get(peer, "nodes")) && cnp_ports(q, rule, NULL);
    if (has(peer, "networks")) {
        json_array_foreach(json_object_get(peer, "networks"), i, v)
        {
            if (in_cidr(q->peer, json_string_value(v)) && cnp_ports(q, rule, NULL))
                return true;
        }
        return false;
    }
    json_array_foreach(json_object_get(q->doc, "pods"), i, v)
    {
        if (counts(v) && has_address(v, q->peer) && scoped(q, peer, v) &&
            cnp_ports(q, rule, destination(q, v)))
            return true;
    }
    return false;
}

/* A peer with no field that is known here makes the rule fail closed. */
static bool cnp_understood(const json_t *rule, bool egress)
{
    const json_t *peer;
    size_t i;

    json_array_foreach(json_object_get(rule, egress ? "to" : "from"), i, peer)
    {
        if (!has(peer, "namespaces") && !has(peer, "pods") &&
            !(egress && (has(peer, "networks") || has(peer, "nodes"))))
            return false;
    }
    return true;
}

/* "Accept", "Deny", "Pass", or NULL if the rule doesn't match. */
static const char *cnp_rule(const struct question *q, const json_t *rule)
{
    const char *action = str(rule, "action");
    const json_t *peer;
    size_t i;

    if (!cnp_understood(rule, q->egress))
        return same(action, "Accept") ? NULL : "Deny";
    json_array_foreach(json_object_get(rule, q->egress ? "to" : "from"), i, peer)
    {
        if (cnp_peer(q, rule, peer))
            return action;
    }
    return NULL;
}

static const char *cnp_policy(const struct question *q, const json_t *spec)
{
    const json_t *rule;
    const char *action;
    size_t i;

    if (!scoped(q, json_object_get(spec, "subject"), q->self))
        return NULL;
    json_array_foreach(json_object_get(spec, q->egress ? "egress" : "ingress"), i, rule)
    {
        if ((action = cnp_rule(q, rule)))
            return action;
    }
    return NULL;
}

/* The policy of a tier with the lowest priority value above `above`; NULL if there is none. */
static const json_t *next_spec(const struct question *q, const char *tier, long above)
{
    const json_t *policy, *best = NULL;
    size_t i;

    json_array_foreach(json_object_get(q->doc, "policies"), i, policy)
    {
        const json_t *spec = json_object_get(policy, "spec");
        long priority = (long)json_integer_value(json_object_get(spec, "priority"));

        if (is_policy(policy, "ClusterNetworkPolicy") && same(str(spec, "tier"), tier) &&
            priority > above &&
            (!best || priority < json_integer_value(json_object_get(best, "priority"))))
            best = spec;
    }
    return best;
}

/* All policies of a tier, lowest priority value first; the values differ. */
static enum answer cnp_tier(const struct question *q, const char *tier)
{
    const json_t *spec = next_spec(q, tier, -1);

    while (spec) {
        const char *action = cnp_policy(q, spec);

        if (action && same(action, "Pass"))
            return NO_OPINION;
        if (action)
            return same(action, "Accept") ? ALLOW : DENY;
        spec = next_spec(q, tier, (long)json_integer_value(json_object_get(spec, "priority")));
    }
    return NO_OPINION;
}

/* -- a direction, and both -------------------------------------------------------------- */

static bool direction_allows(const struct question *q)
{
    enum answer a;

    if (closed(q))
        return false;
    if ((a = cnp_tier(q, "Admin")) != NO_OPINION)
        return a == ALLOW;
    if ((a = network_policies(q)) != NO_OPINION)
        return a == ALLOW;
    if ((a = cnp_tier(q, "Baseline")) != NO_OPINION)
        return a == ALLOW;
    return true;
}

/* A node may always reach its own pods: kubelet's probes. */
static bool from_own_node(const json_t *doc, const char *src, const json_t *pod)
{
    const json_t *o;
    size_t i;

    if (!*str(pod, "node"))
        return false;
    json_array_foreach(json_object_get(doc, "nodes"), i, o)
    {
        if (same(str(o, "name"), str(pod, "node")) && has_address(o, src))
            return true;
    }
    json_array_foreach(json_object_get(doc, "pods"), i, o)
    {
        if (json_is_true(json_object_get(o, "hostNetwork")) && !finished(o) &&
            same(str(o, "node"), str(pod, "node")) && has_address(o, src))
            return true;
    }
    return false;
}

static bool find(const json_t *doc, const char *text, int family, const char **addr,
                 const json_t **pod)
{
    struct bits b;

    if (bits_of(text, &b)) {
        *addr = text;
        *pod = pod_at(doc, text);
        return b.family == family;
    }
    *pod = pod_named(doc, text);
    *addr = *pod ? address_in_family(*pod, family) : NULL;
    if (*addr && finished(*pod))
        *pod = pod_at(doc, *addr); /* its address may be another's now */
    return *addr != NULL;
}

bool oracle_allows(const json_t *doc, const char *src, const char *dst, const char *protocol,
                   int port, int family)
{
    const json_t *from, *to;
    const char *from_addr, *to_addr;

    if (!find(doc, src, family, &from_addr, &from) || !find(doc, dst, family, &to_addr, &to))
        return false;
    if ((from && from == to) || same_address(from_addr, to_addr))
        return true; /* a pod may always reach itself */
    if (from && counts(from)) {
        struct question q = {doc, from, to_addr, to_addr, protocol, port, true};

        if (!direction_allows(&q))
            return false;
    }
    if (to && counts(to) && !from_own_node(doc, from_addr, to)) {
        struct question q = {doc, to, from_addr, to_addr, protocol, port, false};

        if (!direction_allows(&q))
            return false;
    }
    return true;
}
