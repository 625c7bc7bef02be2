/* Both ends of one connection, judged by what is compiled; and which peer of the rule it was. */
#include "common/buf.h"
#include "policy/address.h"
#include "policy/engine/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int engine_compile(struct engine *e, const char *ns, const char *name,
                   struct policy_rules **ret_rules, struct error *err)
{
    struct pod *p = pod_find(e, ns, name);
    struct compiled *c;

    if (!p || !p->local || !pod_counts(p))
        return error_set(err, -ENOENT, "%s/%s: no local pod with a network of its own", ns, name);
    if (local_compile(e, p->local, &c) < 0)
        return error_set(err, -ENOMEM, "compile pod %s/%s: out of memory", ns, name);
    *ret_rules = TAKE_PTR(c->rules);
    compiled_free(c);
    return 0;
}

/* -- which address ---------------------------------------------------------------------- */

struct side {
    const struct pod *pod; /* NULL: just an address */
    uint8_t addr[16];
};

static bool address_of(const struct pod *p, int family, uint8_t addr[16])
{
    for (uint8_t i = 0; i < p->n_addresses; i++)
        if (address_is_v4(p->addresses[i].addr) == (family == 4)) {
            memcpy(addr, p->addresses[i].addr, 16);
            return true;
        }
    return false;
}

static int find_end(struct engine *e, const struct engine_end *end, struct side *s,
                    struct error *err)
{
    if (!end->ns) {
        memcpy(s->addr, end->addr, 16);
        s->pod = pod_by_address(e, end->addr);
        return 0;
    }
    s->pod = pod_find(e, end->ns, end->name);
    return s->pod ? 0 : error_set(err, -ENOENT, "no pod %s/%s", end->ns, end->name);
}

static bool resolve(const struct engine_end *end, struct side *s, int family)
{
    if (!end->ns)
        return address_is_v4(s->addr) == (family == 4);
    return address_of(s->pod, family, s->addr);
}

/* The address of a finished pod may be another one's by now. */
static void resettle(const struct engine *e, struct side *s)
{
    if (s->pod && pod_finished(s->pod))
        s->pod = pod_by_address(e, s->addr);
}

/* -- which peer ------------------------------------------------------------------------- */

static bool block_holds(const struct policy_peer *p, const uint8_t addr[16])
{
    bool v4 = address_is_v4(addr), in = false;

    for (size_t i = 0; i < p->n_cidrs; i++) {
        const struct policy_cidr *c = &p->cidrs[i];

        if (v4 == cidr_is_v4(c) && policy_cidr_contains(c, addr)) {
            if (c->except)
                return false;
            in = true;
        }
    }
    return in;
}

static bool nodes_hold(const struct engine *e, const struct policy_peer *p, const uint8_t addr[16])
{
    struct hash_node *h = NULL;

    while ((h = hashmap_next(&e->nodes, h))) {
        const struct kube_node *n = hash_entry(h, struct kube_node, node);

        for (size_t i = 0; selector_matches(&p->sel, n->labels) && i < n->n_addresses; i++)
            if (memcmp(n->addresses[i], addr, 16) == 0)
                return true;
    }
    return false;
}

/* Any pod with that address: two may have it for a moment. */
static bool pods_hold(const struct engine *e, const struct policy_peer *p, const uint8_t addr[16])
{
    struct hash_node *n = hashmap_first(&e->addresses, hash_seeded(addr, 16));

    for (; n; n = hashmap_next_same(n)) {
        const struct pod_address *a = hash_entry(n, struct pod_address, node);

        if (memcmp(a->addr, addr, 16) == 0 && peer_set_matches(e, p->set, a->pod))
            return true;
    }
    return false;
}

static long peer_index(const struct engine *e, const struct rule_source *s, const uint8_t addr[16])
{
    const struct model_rule *r = &s->policy->rules[s->dir][s->rule];

    for (size_t i = 0; i < r->n_peers; i++) {
        const struct policy_peer *p = &r->peers[i];
        bool holds = p->type == PEER_BLOCK   ? block_holds(p, addr)
                     : p->type == PEER_NODES ? nodes_hold(e, p, addr)
                                             : pods_hold(e, p, addr);

        if (holds)
            return (long)i;
    }
    return -1;
}

static void write_name(const struct engine *e, const struct compiled *c,
                       const struct policy_decision *d, enum policy_direction dir,
                       const uint8_t peer[16], struct engine_side *ret)
{
    const struct policy_rules *r = c->rules;
    uint32_t name = d->rule >= 0 ? r->dir[dir].rules[d->rule].name : r->dir[dir].fallback_name;
    long index = -1;

    if (name >= r->n_names) {
        (void)snprintf(ret->rule, sizeof(ret->rule), "%s",
                       d->origin == POLICY_ORIGIN_UNKNOWN_POD ? "unknown-namespace" : "-");
        return;
    }
    if (c->sources[name].rule >= 0 &&
        !c->sources[name].policy->rules[dir][c->sources[name].rule].closed)
        index = peer_index(e, &c->sources[name], peer);
    if (index >= 0)
        (void)snprintf(ret->rule, sizeof(ret->rule), "%.600s.%s[%ld]", r->names[name],
                       dir == POLICY_EGRESS ? "to" : "from", index);
    else
        (void)snprintf(ret->rule, sizeof(ret->rule), "%s", r->names[name]);
}

/* -- the verdict ------------------------------------------------------------------------ */

static int judge(struct engine *e, const struct side *self, const struct side *peer,
                 enum policy_direction dir, int protocol, int port, struct engine_side *ret)
{
    const struct pod *p = self->pod;
    struct policy_decision d;
    struct compiled *c;

    *ret = (struct engine_side){POLICY_ALLOW, POLICY_ORIGIN_DEFAULT, "-"};
    if (!p || !p->local || !pod_counts(p))
        return 0;
    if (peer->pod == p || memcmp(self->addr, peer->addr, 16) == 0) {
        memcpy(ret->rule, "self", 5);
        return 0;
    }
    if (dir == POLICY_INGRESS && node_has_address(e, p->node_name, peer->addr)) {
        memcpy(ret->rule, "node", 5);
        return 0;
    }
    if (!p->local->compiled && local_compile(e, p->local, &p->local->compiled) < 0)
        return -ENOMEM;
    c = p->local->compiled;
    d = policy_eval(c->rules, dir, peer->addr, protocol, port);
    ret->verdict = d.verdict;
    ret->origin = d.origin;
    write_name(e, c, &d, dir, peer->addr, ret);
    if (e->node) /* on a node with an agent memory matters more than the next question */
        compiled_free(TAKE_PTR(p->local->compiled));
    return 0;
}

int engine_explain(struct engine *e, const struct engine_end *src, const struct engine_end *dst,
                   int protocol, int port, int family, struct engine_verdict *ret,
                   struct error *err)
{
    struct side from, to;
    int r;

    if ((r = find_end(e, src, &from, err)) < 0 || (r = find_end(e, dst, &to, err)) < 0)
        return r;
    if (family == 0)
        family = resolve(src, &from, 4) && resolve(dst, &to, 4) ? 4 : 6;
    if (!resolve(src, &from, family) || !resolve(dst, &to, family))
        return error_set(err, -EAFNOSUPPORT, "source and destination have no IPv%d address each",
                         family);
    resettle(e, &from);
    resettle(e, &to);
    memcpy(ret->src, from.addr, 16);
    memcpy(ret->dst, to.addr, 16);
    if (judge(e, &from, &to, POLICY_EGRESS, protocol, port, &ret->side[POLICY_EGRESS]) < 0 ||
        judge(e, &to, &from, POLICY_INGRESS, protocol, port, &ret->side[POLICY_INGRESS]) < 0)
        return error_set(err, -ENOMEM, "explain: out of memory");
    ret->allow = ret->side[POLICY_EGRESS].verdict == POLICY_ALLOW &&
                 ret->side[POLICY_INGRESS].verdict == POLICY_ALLOW;
    return 0;
}
