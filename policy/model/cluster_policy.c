/*
 * policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy. A rule that isn't understood (an unknown
 * or empty peer, domainNames, a newer protocol) fails closed as the API asks: as an Accept it
 * matches nothing, as a Deny or Pass it denies everything. Where not even the action, tier or
 * priority can be read, the policy denies everything to its subject; an unreadable subject means
 * every pod.
 */
#include "policy/model/policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { LIST_MAX = 25, PRIORITY_MAX = 1000 };

static int decode_list(struct decoder *d, const json_t *o, const char *field, bool required,
                       const json_t **ret)
{
    int r = decode_array(d, o, field, ret);

    if (r < 0)
        return r;
    if (!*ret)
        return required ? decode_fail(d, field, "missing") : 0;
    if (json_array_size(*ret) == 0)
        return decode_fail(d, field, "must not be empty");
    if (json_array_size(*ret) > LIST_MAX)
        return decode_fail(d, field, "more than %d entries", LIST_MAX);
    return 0;
}

static int selector_field(struct decoder *d, const json_t *o, const char *field, bool required,
                          struct selector *sel)
{
    const json_t *v;
    size_t mark;
    int r = decode_object(d, o, field, &v);

    if (r < 0)
        return r;
    if (!v)
        return required ? decode_fail(d, field, "missing") : 0;
    mark = decode_enter(d, field);
    r = selector_decode(d, v, sel);
    if (r == 0)
        decode_leave(d, mark);
    return r;
}

/* {namespaces: SELECTOR} or {pods: {namespaceSelector, podSelector}}: subject and peers alike. */
static int decode_pods(struct decoder *d, const json_t *o, struct selector *ns,
                       struct selector *pod)
{
    static const char *const known[] = {"namespaceSelector", "podSelector", NULL};
    const json_t *pods;
    size_t mark;
    int r;

    if (decode_has(o, "namespaces"))
        return selector_field(d, o, "namespaces", true, ns);
    if ((r = decode_object(d, o, "pods", &pods)) < 0)
        return r;
    mark = decode_enter(d, "pods");
    if ((r = decode_known(d, pods, known)) < 0 ||
        (r = selector_field(d, pods, "namespaceSelector", false, ns)) < 0 ||
        (r = selector_field(d, pods, "podSelector", true, pod)) < 0)
        return r;
    decode_leave(d, mark);
    return 0;
}

static int decode_networks(struct decoder *d, const json_t *o, struct policy_peer *p)
{
    const json_t *list, *v;
    size_t i;
    int r = decode_list(d, o, "networks", true, &list);

    if (r < 0)
        return r;
    p->type = PEER_BLOCK;
    (void)decode_enter(d, "networks");
    json_array_foreach(list, i, v)
    {
        size_t at = decode_enter_index(d, i);

        r = json_is_string(v) ? peer_add_cidr(d, p, NULL, json_string_value(v), false)
                              : decode_fail(d, NULL, "not a string");
        if (r < 0)
            return r;
        decode_leave(d, at);
    }
    return 0;
}

static int decode_peer(struct decoder *d, const json_t *o, enum policy_direction dir,
                       struct policy_peer *p)
{
    const char *const both[] = {"namespaces", "pods", NULL};
    const char *const egress[] = {"namespaces", "pods", "networks", "nodes", "domainNames", NULL};
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_known(d, o, dir == POLICY_EGRESS ? egress : both)) < 0)
        return r;
    if (json_object_size(o) != 1)
        return decode_fail(d, NULL, "a peer has exactly one field");
    if (decode_has(o, "domainNames"))
        return decode_fail(d, "domainNames", "not supported");
    if (decode_has(o, "networks"))
        return decode_networks(d, o, p);
    if (decode_has(o, "nodes")) {
        p->type = PEER_NODES;
        return selector_field(d, o, "nodes", true, &p->sel);
    }
    if (!decode_has(o, "namespaces") && !decode_has(o, "pods"))
        return decode_fail(d, NULL, "a peer has exactly one field");
    p->type = PEER_PODS;
    return decode_pods(d, o, &p->ns_sel, &p->sel);
}

/* -- protocols -------------------------------------------------------------------------- */

static int decode_range(struct decoder *d, const json_t *o, struct policy_port *p)
{
    static const char *const known[] = {"start", "end", NULL};
    long from = 0, to = 0;
    bool first, last;
    int r;

    if ((r = decode_known(d, o, known)) < 0 ||
        (r = decode_integer(d, o, "start", 1, 65535, &from, &first)) < 0 ||
        (r = decode_integer(d, o, "end", 1, 65535, &to, &last)) < 0)
        return r;
    if (!first || !last)
        return decode_fail(d, first ? "end" : "start", "missing");
    if (from > to)
        return decode_fail(d, "end", "%ld: smaller than start, %ld", to, from);
    p->from = (uint16_t)from;
    p->to = (uint16_t)to;
    return 0;
}

static int decode_destination(struct decoder *d, const json_t *o, struct policy_port *p)
{
    static const char *const known[] = {"destinationPort", NULL};
    static const char *const port_known[] = {"number", "range", NULL};
    const json_t *port, *range;
    long number = 0;
    bool there;
    int r;

    p->to = 65535;
    if ((r = decode_known(d, o, known)) < 0 ||
        (r = decode_object(d, o, "destinationPort", &port)) < 0)
        return r;
    if (!port)
        return decode_fail(d, "destinationPort", "missing");
    (void)decode_enter(d, "destinationPort");
    if ((r = decode_known(d, port, port_known)) < 0 ||
        (r = decode_integer(d, port, "number", 1, 65535, &number, &there)) < 0 ||
        (r = decode_object(d, port, "range", &range)) < 0)
        return r;
    if (there == (range != NULL))
        return decode_fail(d, NULL, "needs either number or range");
    p->from = p->to = (uint16_t)number;
    if (!range)
        return 0;
    (void)decode_enter(d, "range");
    return decode_range(d, range, p);
}

static int decode_one_protocol(struct decoder *d, const json_t *o, struct policy_port *p)
{
    static const char *const known[] = {"tcp", "udp", "sctp", "destinationNamedPort", NULL};
    static const uint8_t numbers[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
    const json_t *inner;
    const char *name;
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_known(d, o, known)) < 0)
        return r;
    if (json_object_size(o) != 1)
        return decode_fail(d, NULL, "a protocol has exactly one field");
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (!decode_has(o, known[i]))
            continue;
        p->protocol = numbers[i];
        if ((r = decode_object(d, o, known[i], &inner)) < 0)
            return r;
        (void)decode_enter(d, known[i]);
        return decode_destination(d, inner, p);
    }
    if ((r = decode_string(d, o, "destinationNamedPort", &name)) < 0)
        return r;
    if (!name || !port_name_ok(name))
        return decode_fail_value(d, "destinationNamedPort", name ? name : "",
                                 "not a valid port name");
    p->name = string_get(d->strings, name);
    return p->name ? 0 : decode_memory(d);
}

/* -- rules ------------------------------------------------------------------------------ */

static int decode_action(struct decoder *d, const json_t *o, struct model_rule *rule)
{
    static const struct {
        const char *name;
        enum policy_verdict verdict;
    } actions[] = {{"Accept", POLICY_ALLOW}, {"Deny", POLICY_DENY}, {"Pass", POLICY_PASS}};
    const char *text;
    int r;

    rule->action = POLICY_DENY;
    if ((r = decode_string(d, o, "action", &text)) < 0)
        return r;
    for (size_t i = 0; text && i < ARRAY_SIZE(actions); i++)
        if (strcmp(text, actions[i].name) == 0) {
            rule->action = actions[i].verdict;
            return 0;
        }
    return decode_fail_value(d, "action", text ? text : "", "not Accept, Deny or Pass");
}

/* Named ports exist on pods only. */
static int check_named_ports(struct decoder *d, const struct model_rule *rule)
{
    for (size_t i = 0; i < rule->n_peers; i++)
        for (size_t k = 0; k < rule->n_ports; k++)
            if (rule->peers[i].type != PEER_PODS && rule->ports[k].name)
                return decode_fail(d, "protocols", "named ports need peers that are pods");
    return 0;
}

static int decode_rule(struct decoder *d, const json_t *o, enum policy_direction dir,
                       struct model_rule *rule)
{
    const char *peer_field = dir == POLICY_EGRESS ? "to" : "from";
    const char *const known[] = {"name", "action", peer_field, "protocols", NULL};
    const json_t *peers, *protocols, *v;
    size_t i, mark = d->path_size;
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_action(d, o, rule)) < 0 || (r = decode_known(d, o, known)) < 0 ||
        (r = decode_list(d, o, peer_field, true, &peers)) < 0 ||
        (r = decode_list(d, o, "protocols", false, &protocols)) < 0)
        return r;
    rule->any_port = protocols == NULL;
    (void)decode_enter(d, peer_field);
    json_array_foreach(peers, i, v)
    {
        size_t at = decode_enter_index(d, i);
        struct policy_peer *p = rule_add_peer(rule);

        if ((r = p ? decode_peer(d, v, dir, p) : decode_memory(d)) < 0)
            return r;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    (void)decode_enter(d, "protocols");
    json_array_foreach(protocols, i, v)
    {
        size_t at = decode_enter_index(d, i);
        struct policy_port *p = rule_add_port(rule);

        if ((r = p ? decode_one_protocol(d, v, p) : decode_memory(d)) < 0)
            return r;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    return check_named_ports(d, rule);
}

static int decode_rules(struct decoder *d, const json_t *spec, enum policy_direction dir,
                        struct policy *p)
{
    const char *field = dir == POLICY_EGRESS ? "egress" : "ingress";
    const json_t *rules, *o;
    size_t i;
    int r;

    if ((r = decode_array(d, spec, field, &rules)) < 0 || !json_array_size(rules))
        return r;
    if (json_array_size(rules) > LIST_MAX)
        return decode_fail(d, field, "more than %d rules", LIST_MAX);
    if (!(p->rules[dir] = calloc(json_array_size(rules), sizeof(*p->rules[dir]))))
        return decode_memory(d);
    p->affects[dir] = true;
    (void)decode_enter(d, field);
    json_array_foreach(rules, i, o)
    {
        size_t at = decode_enter_index(d, i);
        struct model_rule *rule = &p->rules[dir][p->n_rules[dir]++];

        if ((r = decode_rule(d, o, dir, rule)) == -ENOMEM)
            return r;
        if (r < 0) {
            rule->closed = true;
            policy_blame(p, d);
        }
        decode_leave(d, at);
    }
    return 0;
}

/* -- the whole -------------------------------------------------------------------------- */

static int decode_subject(struct decoder *d, const json_t *spec, struct policy *p)
{
    static const char *const known[] = {"namespaces", "pods", NULL};
    const json_t *subject;
    int r;

    if ((r = decode_object(d, spec, "subject", &subject)) < 0)
        return r;
    if (!subject)
        return decode_fail(d, "subject", "missing");
    (void)decode_enter(d, "subject");
    if ((r = decode_known(d, subject, known)) < 0)
        return r;
    if (decode_has(subject, "namespaces") == decode_has(subject, "pods"))
        return decode_fail(d, NULL, "needs either namespaces or pods");
    r = decode_pods(d, subject, &p->ns_sel, &p->pod_sel);
    if (r < 0) {
        selector_fini(d->strings, &p->ns_sel);
        selector_fini(d->strings, &p->pod_sel);
    }
    return r;
}

static int decode_place(struct decoder *d, const json_t *spec, struct policy *p)
{
    const char *tier;
    bool there;
    int r;

    p->tier = TIER_ADMIN;
    if ((r = decode_string(d, spec, "tier", &tier)) < 0)
        return r;
    if (!tier || (strcmp(tier, "Admin") != 0 && strcmp(tier, "Baseline") != 0))
        return decode_fail_value(d, "tier", tier ? tier : "", "not Admin or Baseline");
    if ((r = decode_integer(d, spec, "priority", 0, PRIORITY_MAX, &p->priority, &there)) < 0)
        return r;
    if (!there)
        return decode_fail(d, "priority", "missing");
    if (*tier == 'B')
        p->tier = TIER_BASELINE;
    return 0;
}

static void close_both(struct policy *p)
{
    p->affects[0] = p->affects[1] = p->closed[0] = p->closed[1] = true;
}

static bool part(struct decoder *d, struct policy *p, size_t mark, int result)
{
    if (result < 0)
        policy_blame(p, d);
    decode_leave(d, mark);
    return result == 0;
}

static void decode_spec(struct decoder *d, const json_t *spec, struct policy *p)
{
    static const char *const known[] = {"tier", "priority", "subject", "ingress", "egress", NULL};
    size_t mark;

    (void)decode_enter(d, "spec");
    mark = d->path_size;
    if (!part(d, p, mark, decode_subject(d, spec, p)) ||
        !part(d, p, mark, decode_place(d, spec, p)) ||
        !part(d, p, mark, decode_known(d, spec, known)))
        close_both(p);
    for (int dir = 0; dir < POLICY_DIRECTION_MAX; dir++)
        if (!part(d, p, mark, decode_rules(d, spec, dir, p)))
            p->affects[dir] = p->closed[dir] = true;
}

int cluster_policy_decode(struct decoder *d, const json_t *object, struct policy **ret)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    const json_t *spec;
    struct metadata m;
    struct policy *p;
    int r = decode_metadata(d, object, "ClusterNetworkPolicy", false, &m);

    if (r < 0)
        return r;
    if (!(p = policy_new(d, &m, ENGINE_CLUSTER_NETWORK_POLICY)))
        return decode_memory(d);
    r = decode_object(d, object, "spec", &spec);
    if (r == 0 && !spec)
        r = decode_fail(d, "spec", "missing");
    if (part(d, p, 0, r))
        decode_spec(d, spec, p);
    else
        close_both(p);
    if (!part(d, p, 0, decode_known(d, object, known)))
        close_both(p);
    *ret = p;
    return 0;
}
