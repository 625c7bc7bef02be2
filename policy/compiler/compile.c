/*
 * From the policies that select a pod to the list of rules that decides, as rules.h describes it:
 *
 *   something inexpressible      deny everything in that direction
 *   Admin tier                   by priority, then name; PASS goes on behind them
 *   NetworkPolicies              allowances in any order; if one isolates, the fallback denies
 *   Baseline tier                only where nothing isolates; then the fallback allows
 *
 * Named ports are numbers by now: of this pod for ingress, of each destination pod for egress (a
 * rule for each number that occurs). Port ranges stay ranges, address sets stay CIDRs.
 */
#include "common/buf.h"
#include "policy/address.h"
#include "policy/engine/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct compiler {
    struct engine *e;
    const struct pod_local *local;
    struct compiled *out;
    const struct policy **policies; /* those that select the pod, in order of precedence */
    size_t n;
};

struct port_set {
    struct policy_ports *at;
    size_t n;
};

/* -- output ----------------------------------------------------------------------------- */

/* Grows an array of n elements by one zeroed element: doubling, told by the count. */
static bool grow(void **list, size_t n, size_t size)
{
    if ((n & (n - 1)) == 0) {
        void *more = reallocarray(*list, n ? n * 2 : 1, size);

        if (!more)
            return false;
        *list = more;
    }
    memset((char *)*list + n * size, 0, size);
    return true;
}

/* Index of a new name, or POLICY_NO_NAME if memory is short. rule -1: the isolation. */
static uint32_t add_name(struct compiler *c, const struct policy *p, enum policy_direction dir,
                         long rule)
{
    const char *way = dir == POLICY_EGRESS ? "egress" : "ingress";
    const char *ns = p->kind == ENGINE_NETWORK_POLICY ? p->ns_name->text : "CNP";
    struct policy_rules *r = c->out->rules;
    char *text;
    int n;

    if (!grow((void **)&r->names, r->n_names, sizeof(*r->names)) ||
        !grow((void **)&c->out->sources, r->n_names, sizeof(*c->out->sources)))
        return POLICY_NO_NAME;
    if (rule < 0)
        n = asprintf(&text, "%s/%s %s", ns, p->name->text, way);
    else
        n = asprintf(&text, "%s/%s %s[%ld]", ns, p->name->text, way, rule);
    if (n < 0)
        return POLICY_NO_NAME;
    c->out->sources[r->n_names] = (struct rule_source){p, dir, rule};
    r->names[r->n_names] = text;
    return (uint32_t)r->n_names++;
}

static enum policy_origin origin_of(const struct policy *p)
{
    if (p->tier == TIER_ADMIN)
        return POLICY_ORIGIN_ADMIN;
    return p->tier == TIER_BASELINE ? POLICY_ORIGIN_BASELINE : POLICY_ORIGIN_NETWORKPOLICY;
}

static struct policy_rule *add_rule(struct compiler *c, enum policy_direction dir, uint32_t name,
                                    enum policy_verdict verdict, enum policy_origin origin)
{
    struct policy_rules *r = c->out->rules;
    struct policy_rule *rule;

    if (!grow((void **)&r->dir[dir].rules, r->dir[dir].n_rules, sizeof(*rule)))
        return NULL;
    rule = &r->dir[dir].rules[r->dir[dir].n_rules++];
    rule->name = name;
    rule->verdict = verdict;
    rule->origin = origin;
    return rule;
}

static int copy_ports(struct policy_rule *rule, const struct port_set *ports)
{
    rule->any_port = ports == NULL;
    if (!ports)
        return 0;
    if (!(rule->ports = calloc(ports->n + 1, sizeof(*rule->ports))))
        return -ENOMEM;
    memcpy(rule->ports, ports->at, ports->n * sizeof(*ports->at));
    rule->n_ports = ports->n;
    return 0;
}

/* -- peers ------------------------------------------------------------------------------ */

static int add_nodes(struct compiler *c, const struct selector *sel, struct cidr_set *set)
{
    struct hash_node *h = NULL;

    while ((h = hashmap_next(&c->e->nodes, h))) {
        const struct kube_node *n = hash_entry(h, struct kube_node, node);

        for (size_t i = 0; selector_matches(sel, n->labels) && i < n->n_addresses; i++)
            if (cidr_list_add_address(&set->plain, n->addresses[i]) < 0)
                return -ENOMEM;
    }
    return 0;
}

static int add_block(const struct policy_peer *p, struct cidr_set *set)
{
    size_t includes = 0;

    while (includes < p->n_cidrs && !p->cidrs[includes].except)
        includes++;
    for (size_t i = 0; i < includes; i++) /* excepts come with a single include only */
        if (cidr_set_add_block(set, &p->cidrs[i], p->cidrs + includes, p->n_cidrs - includes) < 0)
            return -ENOMEM;
    return 0;
}

static int add_peer(struct compiler *c, const struct policy_peer *p, struct cidr_set *set)
{
    const struct cidr_list *members;

    if (p->type == PEER_NODES)
        return add_nodes(c, &p->sel, set);
    if (p->type == PEER_BLOCK)
        return add_block(p, set);
    if (!(members = peer_set_addresses(c->e, p->set)))
        return -ENOMEM;
    for (size_t i = 0; i < members->n; i++)
        if (cidr_list_add(&set->plain, &members->at[i]) < 0)
            return -ENOMEM;
    return 0;
}

/* One rule for each group; takes the groups' lists over. */
static int emit_groups(struct compiler *c, enum policy_direction dir, uint32_t name,
                       const struct policy *p, enum policy_verdict verdict,
                       struct cidr_group *groups, size_t n, const struct port_set *ports)
{
    for (size_t i = 0; i < n; i++) {
        struct policy_rule *rule = add_rule(c, dir, name, verdict, origin_of(p));

        if (!rule)
            return -ENOMEM;
        rule->cidrs = TAKE_PTR(groups[i].cidrs);
        rule->n_cidrs = groups[i].n_cidrs;
        rule->n_includes = groups[i].n_includes;
        if (copy_ports(rule, ports) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int emit_any(struct compiler *c, enum policy_direction dir, uint32_t name,
                    const struct policy *p, enum policy_verdict verdict,
                    const struct port_set *ports)
{
    struct policy_rule *rule = add_rule(c, dir, name, verdict, origin_of(p));

    if (!rule)
        return -ENOMEM;
    rule->any_peer = true;
    return copy_ports(rule, ports);
}

static int emit_peers(struct compiler *c, enum policy_direction dir, uint32_t name,
                      const struct policy *p, const struct model_rule *rule,
                      const struct port_set *ports)
{
    struct cidr_set set = {0};
    struct cidr_group *groups = NULL;
    size_t n = 0;
    bool any = rule->any_peer;
    int r = 0;

    for (size_t i = 0; r == 0 && i < rule->n_peers; i++)
        r = add_peer(c, &rule->peers[i], &set);
    if (r == 0 && !any)
        r = cidr_set_groups(&set, &groups, &n, &any);
    if (r == 0)
        r = any ? emit_any(c, dir, name, p, rule->action, ports)
                : emit_groups(c, dir, name, p, rule->action, groups, n, ports);
    cidr_groups_free(groups, n);
    cidr_set_fini(&set);
    return r;
}

/* -- ports ------------------------------------------------------------------------------ */

static int port_add(struct port_set *s, uint8_t protocol, uint16_t from, uint16_t to)
{
    if (!grow((void **)&s->at, s->n, sizeof(*s->at)))
        return -ENOMEM;
    s->at[s->n++] = (struct policy_ports){protocol, from, to};
    return 0;
}

static int compare_ports(const void *a, const void *b)
{
    const struct policy_ports *x = a, *y = b;

    if (x->protocol != y->protocol)
        return (int)x->protocol - (int)y->protocol;
    return x->from != y->from ? (int)x->from - (int)y->from : (int)x->to - (int)y->to;
}

static void port_merge(struct port_set *s)
{
    size_t n = 0;

    if (s->n > 1)
        qsort(s->at, s->n, sizeof(*s->at), compare_ports);
    for (size_t i = 0; i < s->n; i++) {
        struct policy_ports *last = n ? &s->at[n - 1] : NULL;

        if (last && last->protocol == s->at[i].protocol && s->at[i].from <= (int)last->to + 1)
            last->to = MAX(last->to, s->at[i].to);
        else
            s->at[n++] = s->at[i];
    }
    s->n = n;
}

static int add_own_named(const struct pod *pod, const struct policy_port *p, struct port_set *s)
{
    uint32_t from = 0;
    uint8_t protocol;
    uint16_t port;

    while ((port = pod_named_port(pod, p->name, p->protocol, &from, &protocol)))
        if (port_add(s, protocol, port, port) < 0)
            return -ENOMEM;
    return 0;
}

/* Numbers, and for ingress what the names mean on this pod. */
static int fixed_ports(struct compiler *c, const struct model_rule *rule, enum policy_direction dir,
                       struct port_set *s)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < rule->n_ports; i++) {
        const struct policy_port *p = &rule->ports[i];

        if (!p->name)
            r = port_add(s, p->protocol, p->from, p->to);
        else if (dir == POLICY_INGRESS)
            r = add_own_named(c->local->pod, p, s);
    }
    port_merge(s);
    return r;
}

/* -- named ports of destinations -------------------------------------------------------- */

/* Some destinations on which a name means this port. */
struct target {
    const struct port_group *group;
    const struct policy_peer *block; /* only addresses within it; NULL: all */
};

struct targets {
    struct target *at;
    size_t n;
};

static int compare_targets(const void *a, const void *b)
{
    return compare_ports(&((const struct target *)a)->group->port,
                         &((const struct target *)b)->group->port);
}

static int add_targets(struct compiler *c, struct peer_set *set, const struct policy_port *port,
                       const struct policy_peer *block, struct targets *t)
{
    const struct port_groups *g = peer_set_ports(c->e, set, port->name, port->protocol);

    if (!g)
        return -ENOMEM;
    for (size_t i = 0; i < g->n; i++) {
        if (!grow((void **)&t->at, t->n, sizeof(*t->at)))
            return -ENOMEM;
        t->at[t->n++] = (struct target){&g->at[i], block};
    }
    return 0;
}

/* The addresses of one entry that the block's exceptions leave. */
static int add_without(struct cidr_set *set, const struct policy_cidr *entry,
                       const struct policy_cidr *excepts, size_t n)
{
    struct cidr_list inside = {0};
    bool nothing = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        nothing |= cidr_covers(&excepts[i], entry);
        if (cidr_covers(entry, &excepts[i]))
            r = cidr_list_add(&inside, &excepts[i]);
    }
    if (r == 0 && !nothing)
        r = cidr_set_add_block(set, entry, inside.at, inside.n);
    cidr_list_fini(&inside);
    return r;
}

/* The first entry of a block is the one that includes (NetworkPolicy's ipBlock). "::/0" means no
 * IPv4, so the families are kept apart. */
static int add_within(struct cidr_set *set, const struct cidr_list *all,
                      const struct policy_peer *b)
{
    struct cidr_list include = {b->cidrs, 1, 1}, within;
    bool v4 = cidr_is_v4(&b->cidrs[0]);
    int r = cidr_list_intersect(all, &include, &within);

    for (size_t i = 0; r == 0 && i < within.n; i++)
        if (address_is_v4(within.at[i].addr) == v4)
            r = add_without(set, &within.at[i], b->cidrs + 1, b->n_cidrs - 1);
    cidr_list_fini(&within);
    return r;
}

static int add_target(struct cidr_set *set, const struct target *t)
{
    const struct cidr_list *all = &t->group->addresses;
    int r = 0;

    if (t->block)
        return add_within(set, all, t->block);
    for (size_t i = 0; r == 0 && i < all->n; i++)
        r = cidr_list_add(&set->plain, &all->at[i]);
    return r;
}

/* One port number: its destinations, n of them from at on. */
static int emit_target(struct compiler *c, uint32_t name, const struct policy *p,
                       const struct model_rule *rule, const struct target *at, size_t n)
{
    struct policy_ports port = at->group->port;
    struct port_set ports = {&port, 1};
    struct cidr_group *groups = NULL;
    struct cidr_set set = {0};
    size_t n_groups = 0;
    bool any = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_target(&set, &at[i]);
    if (r == 0)
        r = cidr_set_groups(&set, &groups, &n_groups, &any);
    if (r == 0)
        r = any ? emit_any(c, POLICY_EGRESS, name, p, rule->action, &ports)
                : emit_groups(c, POLICY_EGRESS, name, p, rule->action, groups, n_groups, &ports);
    cidr_groups_free(groups, n_groups);
    cidr_set_fini(&set);
    return r;
}

static int emit_targets(struct compiler *c, uint32_t name, const struct policy *p,
                        const struct model_rule *rule, struct targets *t)
{
    int r = 0;

    if (t->n > 1)
        qsort(t->at, t->n, sizeof(*t->at), compare_targets);
    for (size_t i = 0, end; r == 0 && i < t->n; i = end) {
        for (end = i; end < t->n && compare_targets(&t->at[i], &t->at[end]) == 0; end++)
            ;
        r = emit_target(c, name, p, rule, &t->at[i], end - i);
    }
    return r;
}

static int emit_named(struct compiler *c, uint32_t name, const struct policy *p,
                      const struct model_rule *rule)
{
    struct targets t = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < rule->n_ports; i++) {
        const struct policy_port *port = &rule->ports[i];

        if (!port->name)
            continue;
        if (rule->any_peer)
            r = add_targets(c, port->set, port, NULL, &t);
        for (size_t k = 0; r == 0 && k < rule->n_peers; k++) {
            const struct policy_peer *peer = &rule->peers[k];
            bool block = peer->type == PEER_BLOCK;

            if (peer->type != PEER_NODES)
                r = add_targets(c, block ? port->set : peer->set, port, block ? peer : NULL, &t);
        }
    }
    if (r == 0)
        r = emit_targets(c, name, p, rule, &t);
    free(t.at);
    return r;
}

/* -- rules ------------------------------------------------------------------------------ */

static int compile_rule(struct compiler *c, const struct policy *p, enum policy_direction dir,
                        size_t index)
{
    const struct model_rule *rule = &p->rules[dir][index];
    struct port_set ports = {0};
    uint32_t name;
    int r;

    if (rule->closed && rule->action == POLICY_ALLOW)
        return 0;
    if ((name = add_name(c, p, dir, (long)index)) == POLICY_NO_NAME)
        return -ENOMEM;
    if (rule->closed)
        return emit_any(c, dir, name, p, POLICY_DENY, NULL);
    if (rule->any_port)
        return emit_peers(c, dir, name, p, rule, NULL);
    r = fixed_ports(c, rule, dir, &ports);
    if (r == 0 && ports.n)
        r = emit_peers(c, dir, name, p, rule, &ports);
    if (r == 0 && dir == POLICY_EGRESS)
        r = emit_named(c, name, p, rule);
    free(ports.at);
    return r;
}

static int compile_tier(struct compiler *c, enum policy_tier tier, enum policy_direction dir)
{
    size_t first = c->out->rules->dir[dir].n_rules;
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->n; i++)
        for (size_t k = 0;
             r == 0 && c->policies[i]->tier == tier && k < c->policies[i]->n_rules[dir]; k++)
            if (c->policies[i]->affects[dir])
                r = compile_rule(c, c->policies[i], dir, k);
    for (size_t i = first; i < c->out->rules->dir[dir].n_rules; i++)
        c->out->rules->dir[dir].rules[i].pass_to = (uint32_t)c->out->rules->dir[dir].n_rules;
    return r;
}

static int deny_all(struct compiler *c, enum policy_direction dir, const struct policy *p,
                    enum policy_origin origin)
{
    uint32_t name = p ? add_name(c, p, dir, -1) : POLICY_NO_NAME;
    struct policy_rule *rule = add_rule(c, dir, name, POLICY_DENY, origin);

    if (!rule || (p && name == POLICY_NO_NAME))
        return -ENOMEM;
    rule->any_peer = rule->any_port = true;
    c->out->rules->dir[dir].fallback = POLICY_DENY;
    c->out->rules->dir[dir].fallback_origin = origin;
    c->out->rules->dir[dir].fallback_name = name;
    return 0;
}

static const struct policy *first_that(const struct compiler *c, enum policy_direction dir,
                                       bool closed)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct policy *p = c->policies[i];

        if (closed ? p->closed[dir] : p->affects[dir] && p->tier == TIER_NETWORK_POLICY)
            return p;
    }
    return NULL;
}

static int compile_direction(struct compiler *c, enum policy_direction dir)
{
    const struct policy *closes = first_that(c, dir, true), *isolates = first_that(c, dir, false);
    struct policy_rules *out = c->out->rules;
    int r;

    out->dir[dir].fallback = POLICY_ALLOW;
    out->dir[dir].fallback_origin = POLICY_ORIGIN_DEFAULT;
    out->dir[dir].fallback_name = POLICY_NO_NAME;
    out->dir[dir].isolated = isolates != NULL;
    if (closes)
        return deny_all(c, dir, closes, POLICY_ORIGIN_INEXPRESSIBLE);
    if (c->local->undecided)
        return deny_all(c, dir, NULL, POLICY_ORIGIN_UNKNOWN_POD);
    if ((r = compile_tier(c, TIER_ADMIN, dir)) < 0)
        return r;
    if (!isolates)
        return compile_tier(c, TIER_BASELINE, dir);
    out->dir[dir].fallback = POLICY_DENY;
    out->dir[dir].fallback_origin = POLICY_ORIGIN_NETWORKPOLICY;
    out->dir[dir].fallback_name = add_name(c, isolates, dir, -1);
    if (out->dir[dir].fallback_name == POLICY_NO_NAME)
        return -ENOMEM;
    return compile_tier(c, TIER_NETWORK_POLICY, dir);
}

static int by_precedence(const void *a, const void *b)
{
    const struct policy *x = *(const struct policy *const *)a;
    const struct policy *y = *(const struct policy *const *)b;

    if (x->tier != y->tier)
        return (int)x->tier - (int)y->tier;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return strcmp(x->name->text, y->name->text);
}

static int gather(struct compiler *c)
{
    const struct selection *s;

    list_for_each_entry (s, &c->local->selections, pod_link) {
        if (!grow((void **)&c->policies, c->n, sizeof(*c->policies)))
            return -ENOMEM;
        c->policies[c->n++] = s->policy;
    }
    if (c->n > 1)
        qsort(c->policies, c->n, sizeof(*c->policies), by_precedence);
    return 0;
}

int local_compile(struct engine *e, struct pod_local *l, struct compiled **ret)
{
    struct compiler c = {.e = e, .local = l, .out = calloc(1, sizeof(*c.out))};
    int r = -ENOMEM;

    if (c.out && (c.out->rules = calloc(1, sizeof(*c.out->rules))))
        r = gather(&c);
    for (int dir = 0; r == 0 && dir < POLICY_DIRECTION_MAX; dir++)
        r = compile_direction(&c, dir);
    free(c.policies);
    if (r < 0) {
        compiled_free(c.out);
        return r;
    }
    *ret = c.out;
    return 0;
}
