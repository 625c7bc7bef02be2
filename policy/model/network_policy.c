/*
 * networking.k8s.io/v1 NetworkPolicy. Defaults and validation as the API server applies them; what
 * it would have refused arrives here only from a folder of manifests or from a newer API, and then
 * closes the pods that the policy is for: those its selector names, or its whole namespace if the
 * selector itself isn't readable; in the directions it names, or in both.
 */
#include "policy/address.h"
#include "policy/model/policy.h"

#include <errno.h>
#include <string.h>

enum { RULES_MAX = 20000 };

/* -- peers ------------------------------------------------------------------------------ */

static int check_excepts(struct decoder *d, const struct policy_peer *p, size_t index)
{
    const struct policy_cidr *block = &p->cidrs[0], *e = &p->cidrs[p->n_cidrs - 1];

    if (e->prefix > block->prefix && cidr_is_v4(e) == cidr_is_v4(block) && cidr_covers(block, e))
        return 0;
    (void)decode_enter_index(d, index);
    return decode_fail(d, NULL, "not a part of the block");
}

static int decode_block(struct decoder *d, const json_t *o, struct policy_peer *p)
{
    static const char *const known[] = {"cidr", "except", NULL};
    const json_t *excepts, *v;
    const char *cidr;
    size_t i;
    int r;

    p->type = PEER_BLOCK;
    if ((r = decode_known(d, o, known)) < 0 || (r = decode_string(d, o, "cidr", &cidr)) < 0 ||
        (r = decode_array(d, o, "except", &excepts)) < 0)
        return r;
    if (!cidr)
        return decode_fail(d, "cidr", "missing");
    if ((r = peer_add_cidr(d, p, "cidr", cidr, false)) < 0 || !json_array_size(excepts))
        return r;
    (void)decode_enter(d, "except");
    json_array_foreach(excepts, i, v)
    {
        size_t at = decode_enter_index(d, i);

        if (!json_is_string(v))
            return decode_fail(d, NULL, "not a string");
        if ((r = peer_add_cidr(d, p, NULL, json_string_value(v), true)) < 0)
            return r;
        decode_leave(d, at);
        if ((r = check_excepts(d, p, i)) < 0)
            return r;
    }
    return 0;
}

static int decode_selector_field(struct decoder *d, const json_t *o, const char *field,
                                 struct selector *sel)
{
    size_t mark = decode_enter(d, field);
    int r = selector_decode(d, o, sel);

    if (r == 0)
        decode_leave(d, mark);
    return r;
}

static int decode_peer(struct decoder *d, const json_t *o, struct policy_peer *p)
{
    static const char *const known[] = {"podSelector", "namespaceSelector", "ipBlock", NULL};
    const json_t *pods, *namespaces, *block;
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_known(d, o, known)) < 0 ||
        (r = decode_object(d, o, "podSelector", &pods)) < 0 ||
        (r = decode_object(d, o, "namespaceSelector", &namespaces)) < 0 ||
        (r = decode_object(d, o, "ipBlock", &block)) < 0)
        return r;
    if (block) {
        if (pods || namespaces)
            return decode_fail(d, "ipBlock", "not allowed beside podSelector or namespaceSelector");
        (void)decode_enter(d, "ipBlock");
        return decode_block(d, block, p);
    }
    if (!pods && !namespaces)
        return decode_fail(d, NULL, "a peer needs podSelector, namespaceSelector or ipBlock");
    p->type = PEER_PODS;
    p->own_namespace = !namespaces;
    if (namespaces &&
        (r = decode_selector_field(d, namespaces, "namespaceSelector", &p->ns_sel)) < 0)
        return r;
    return pods ? decode_selector_field(d, pods, "podSelector", &p->sel) : 0;
}

/* -- ports ------------------------------------------------------------------------------ */

static int decode_named_port(struct decoder *d, const json_t *o, const char *name,
                             struct policy_port *p)
{
    if (!port_name_ok(name))
        return decode_fail_value(d, "port", name, "not a valid port name");
    if (decode_has(o, "endPort"))
        return decode_fail(d, "endPort", "not allowed with a named port");
    p->name = string_get(d->strings, name);
    return p->name ? 0 : decode_memory(d);
}

static int decode_port(struct decoder *d, const json_t *o, struct policy_port *p)
{
    static const char *const known[] = {"protocol", "port", "endPort", NULL};
    long from = 0, to = 65535;
    bool there, range;
    int r;

    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_known(d, o, known)) < 0 || (r = decode_protocol(d, o, &p->protocol)) < 0)
        return r;
    if (json_is_string(json_object_get(o, "port")))
        return decode_named_port(d, o, json_string_value(json_object_get(o, "port")), p);
    if ((r = decode_integer(d, o, "port", 1, 65535, &from, &there)) < 0)
        return r;
    if (!there && decode_has(o, "endPort"))
        return decode_fail(d, "endPort", "needs a port");
    to = there ? from : to;
    if ((r = decode_integer(d, o, "endPort", 1, 65535, &to, &range)) < 0)
        return r;
    if (range && to < from)
        return decode_fail(d, "endPort", "%ld: smaller than the port, %ld", to, from);
    p->from = (uint16_t)from;
    p->to = (uint16_t)to;
    return 0;
}

/* -- rules ------------------------------------------------------------------------------ */

static int decode_rule_lists(struct decoder *d, const json_t *peers, const json_t *ports,
                             const char *peer_field, struct model_rule *rule)
{
    size_t mark = decode_enter(d, peer_field), i;
    const json_t *o;
    int r;

    rule->any_peer = json_array_size(peers) == 0;
    rule->any_port = json_array_size(ports) == 0;
    json_array_foreach(peers, i, o)
    {
        size_t at = decode_enter_index(d, i);
        struct policy_peer *p = rule_add_peer(rule);

        if ((r = p ? decode_peer(d, o, p) : decode_memory(d)) < 0)
            return r;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    (void)decode_enter(d, "ports");
    json_array_foreach(ports, i, o)
    {
        size_t at = decode_enter_index(d, i);
        struct policy_port *p = rule_add_port(rule);

        if ((r = p ? decode_port(d, o, p) : decode_memory(d)) < 0)
            return r;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    return 0;
}

static int decode_rule(struct decoder *d, const json_t *o, const char *peer_field,
                       struct model_rule *rule)
{
    const char *const known[] = {peer_field, "ports", NULL};
    const json_t *peers, *ports;
    int r;

    rule->action = POLICY_ALLOW;
    if (!json_is_object(o))
        return decode_fail(d, NULL, "not an object");
    if ((r = decode_known(d, o, known)) < 0 || (r = decode_array(d, o, peer_field, &peers)) < 0 ||
        (r = decode_array(d, o, "ports", &ports)) < 0)
        return r;
    return decode_rule_lists(d, peers, ports, peer_field, rule);
}

static int decode_rules(struct decoder *d, const json_t *spec, enum policy_direction dir,
                        struct policy *p)
{
    const char *field = dir == POLICY_EGRESS ? "egress" : "ingress";
    const json_t *rules, *o;
    size_t i, mark;
    int r;

    if ((r = decode_array(d, spec, field, &rules)) < 0 || !json_array_size(rules))
        return r;
    mark = decode_enter(d, field);
    if (json_array_size(rules) > RULES_MAX)
        return decode_fail(d, NULL, "more than %d rules", RULES_MAX);
    if (!(p->rules[dir] = calloc(json_array_size(rules), sizeof(*p->rules[dir]))))
        return decode_memory(d);
    json_array_foreach(rules, i, o)
    {
        size_t at = decode_enter_index(d, i);

        p->n_rules[dir]++;
        r = decode_rule(d, o, dir == POLICY_EGRESS ? "to" : "from", &p->rules[dir][i]);
        if (r < 0)
            return r;
        decode_leave(d, at);
    }
    decode_leave(d, mark);
    return 0;
}

/* -- the whole -------------------------------------------------------------------------- */

/* Which directions it isolates. Unset: ingress, and egress if there are egress rules. */
static int decode_types(struct decoder *d, const json_t *spec, struct policy *p)
{
    const json_t *types, *v;
    size_t i;
    int r = decode_array(d, spec, "policyTypes", &types);

    if (r < 0)
        return r;
    if (json_array_size(types) == 0) {
        const json_t *egress = json_object_get(spec, "egress");

        p->affects[POLICY_INGRESS] = true;
        p->affects[POLICY_EGRESS] =
            egress && !json_is_null(egress) && !(json_is_array(egress) && !json_array_size(egress));
        return 0;
    }
    json_array_foreach(types, i, v)
    {
        const char *s = json_string_value(v);

        if (s && strcmp(s, "Ingress") == 0)
            p->affects[POLICY_INGRESS] = true;
        else if (s && strcmp(s, "Egress") == 0)
            p->affects[POLICY_EGRESS] = true;
        else
            return decode_fail_value(d, "policyTypes", s ? s : "", "not Ingress or Egress");
    }
    return 0;
}

/* Runs one part; on failure blames it and restores the path. False: this part isn't readable. */
static bool part(struct decoder *d, struct policy *p, size_t mark, int result)
{
    if (result < 0)
        policy_blame(p, d);
    decode_leave(d, mark);
    return result == 0;
}

static void close_all(struct policy *p)
{
    for (int i = 0; i < POLICY_DIRECTION_MAX; i++)
        p->closed[i] = p->affects[i];
}

static void decode_spec(struct decoder *d, const json_t *spec, struct policy *p)
{
    static const char *const known[] = {"podSelector", "policyTypes", "ingress", "egress", NULL};
    const json_t *selector;
    size_t mark;

    (void)decode_enter(d, "spec");
    mark = d->path_size;
    if (!part(d, p, mark, decode_types(d, spec, p)))
        p->affects[0] = p->affects[1] = p->closed[0] = p->closed[1] = true;
    if (!part(d, p, mark, decode_known(d, spec, known)))
        close_all(p);
    if (!part(d, p, mark, decode_object(d, spec, "podSelector", &selector)))
        close_all(p);
    else if (selector &&
             !part(d, p, mark, decode_selector_field(d, selector, "podSelector", &p->pod_sel)))
        close_all(p);
    for (int dir = 0; dir < POLICY_DIRECTION_MAX; dir++) {
        if (!part(d, p, mark, p->affects[dir] ? decode_rules(d, spec, dir, p) : 0))
            p->closed[dir] = true;
    }
}

int network_policy_decode(struct decoder *d, const json_t *object, struct policy **ret)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    const json_t *spec;
    struct metadata m;
    struct policy *p;
    int r = decode_metadata(d, object, "NetworkPolicy", true, &m);

    if (r < 0)
        return r;
    if (!(p = policy_new(d, &m, ENGINE_NETWORK_POLICY)))
        return decode_memory(d);
    p->tier = TIER_NETWORK_POLICY;
    r = decode_object(d, object, "spec", &spec);
    if (!part(d, p, 0, r)) {
        p->affects[0] = p->affects[1] = p->closed[0] = p->closed[1] = true;
    } else if (spec) {
        decode_spec(d, spec, p);
    } else {
        p->affects[POLICY_INGRESS] = true; /* as the API server defaults an empty spec */
    }
    if (!part(d, p, 0, decode_known(d, object, known)))
        close_all(p);
    *ret = p;
    return 0;
}
