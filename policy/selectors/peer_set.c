/* Membership, the index, and who is to be told. */
#include "policy/selectors/peer_set.h"

#include "common/buf.h"
#include "policy/engine/internal.h"

#include <errno.h>
#include <string.h>

/* -- finding and making ----------------------------------------------------------------- */

static int make_key(struct buf *key, const struct namespace *ns, const struct selector *ns_sel,
                    const struct selector *sel, const struct string *port, bool denies)
{
    if (buf_printf(key, "%p %p %d ", (const void *)ns, (const void *)port, denies && !ns) < 0 ||
        selector_canonical(ns_sel, key) < 0 || buf_puts(key, "|") < 0)
        return -ENOMEM;
    return selector_canonical(sel, key);
}

static struct peer_set *find(const struct engine *e, const char *key)
{
    struct hash_node *n = hashmap_first(&e->sets, hash_string(key));

    for (; n; n = hashmap_next_same(n)) {
        struct peer_set *s = hash_entry(n, struct peer_set, node);

        if (strcmp(s->key, key) == 0)
            return s;
    }
    return NULL;
}

/* Sets of one namespace hang there; the others on a label that their members must have, if there
 * is one; else every changed pod must look at them. */
static bool watch(struct engine *e, struct peer_set *s)
{
    const struct requirement *pair = selector_pair(&s->sel);

    if (s->ns) {
        list_append(&s->ns->sets, &s->watch_link);
    } else if (pair) {
        s->watched = label_get(&e->labels, pair->key->text, pair->values[0]->text);
        if (!s->watched)
            return false;
        list_append(&s->watched->watchers, &s->watch_link);
    } else {
        list_append(&e->wide_sets, &s->watch_link);
    }
    return true;
}

static void ports_free(struct engine *e, struct peer_set *s)
{
    struct port_groups *g;

    while ((g = s->ports)) {
        s->ports = g->next;
        for (size_t i = 0; i < g->n; i++)
            cidr_list_fini(&g->at[i].addresses);
        string_put(&e->strings, g->name);
        free(g->at);
        free(g);
    }
}

static void set_free(struct engine *e, struct peer_set *s)
{
    ports_free(e, s);
    list_remove(&s->watch_link);
    label_put(&e->labels, s->watched);
    selector_fini(&e->strings, &s->ns_sel);
    selector_fini(&e->strings, &s->sel);
    string_put(&e->strings, s->port_name);
    cidr_list_fini(&s->addresses);
    free(s->users);
    free(s->key);
    free(s);
}

static struct peer_set *make(struct engine *e, char *key, struct namespace *ns,
                             struct selector *ns_sel, struct selector *sel, struct string *port,
                             bool denies)
{
    struct peer_set *s = calloc(1, sizeof(*s));

    if (!s) {
        free(key);
        return NULL;
    }
    list_init(&s->watch_link);
    s->key = key;
    s->ns = ns;
    s->denies = denies;
    s->ns_sel = *ns_sel;
    s->sel = *sel;
    *ns_sel = *sel = (struct selector){0};
    s->port_name = port ? string_ref(port) : NULL;
    if (!watch(e, s) || hashmap_add(&e->sets, &s->node, hash_string(key)) < 0) {
        set_free(e, s);
        return NULL;
    }
    return s;
}

static bool add_user(struct peer_set *s, struct policy *user)
{
    if (s->n_users == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 1;
        struct policy **users = reallocarray(s->users, capacity, sizeof(*users));

        if (!users)
            return false;
        s->users = users;
        s->capacity = capacity;
    }
    s->users[s->n_users++] = user;
    return true;
}

struct peer_set *peer_set_get(struct engine *e, struct namespace *ns, struct selector *ns_sel,
                              struct selector *sel, struct string *port_name, bool denies,
                              struct policy *user)
{
    CLEANUP(buf_fini) struct buf key = BUF_INIT;
    struct peer_set *s;

    if (make_key(&key, ns, ns_sel, sel, port_name, denies) < 0)
        return NULL;
    if ((s = find(e, key.data))) {
        selector_fini(&e->strings, ns_sel);
        selector_fini(&e->strings, sel);
    } else {
        s = make(e, TAKE_PTR(key.data), ns, ns_sel, sel, port_name, denies && !ns);
    }
    if (!s || !add_user(s, user)) {
        if (s && !s->refs) {
            hashmap_remove(&e->sets, &s->node);
            set_free(e, s);
        }
        return NULL;
    }
    s->refs++;
    return s;
}

void peer_set_put(struct engine *e, struct peer_set *s, struct policy *user)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_users; i++)
        if (s->users[i] == user) {
            s->users[i] = s->users[--s->n_users];
            break;
        }
    if (--s->refs)
        return;
    hashmap_remove(&e->sets, &s->node);
    set_free(e, s);
}

/* -- membership ------------------------------------------------------------------------- */

bool peer_set_matches_namespace(const struct engine *e, const struct peer_set *s,
                                const struct namespace *ns)
{
    return s->ns ? s->ns == ns : namespace_matches(e, &s->ns_sel, ns, s->denies);
}

static bool has_port(const struct peer_set *s, const struct pod *p)
{
    uint32_t from = 0;
    uint8_t protocol;

    return !s->port_name || pod_named_port(p, s->port_name, 0, &from, &protocol);
}

bool peer_set_matches(const struct engine *e, const struct peer_set *s, const struct pod *p)
{
    return pod_counts(p) && selector_matches(&s->sel, p->labels) &&
           peer_set_matches_namespace(e, s, p->ns) && has_port(s, p);
}

static int each_of_labels(const struct engine *e, const struct peer_set *s,
                          int (*fn)(const struct pod *p, void *arg), void *arg)
{
    const struct namespace *last = NULL;
    bool matches = false;

    for (uint32_t i = 0; i < s->watched->n_sets; i++) {
        const struct labels *labels = s->watched->sets[i];
        const struct pod *p;
        int r;

        if (!selector_matches(&s->sel, labels))
            continue;
        list_for_each_entry (p, &labels->pods, labels_link) {
            if (p->ns != last) {
                last = p->ns;
                matches = peer_set_matches_namespace(e, s, last);
            }
            if (matches && pod_counts(p) && has_port(s, p) && (r = fn(p, arg)))
                return r;
        }
    }
    return 0;
}

static int each_of_namespace(const struct peer_set *s, const struct namespace *ns,
                             int (*fn)(const struct pod *p, void *arg), void *arg)
{
    const struct labels *last = NULL;
    const struct pod *p;
    bool matches = false;
    int r;

    list_for_each_entry (p, &ns->pods, ns_link) {
        if (p->labels != last) {
            last = p->labels;
            matches = selector_matches(&s->sel, last);
        }
        if (matches && pod_counts(p) && has_port(s, p) && (r = fn(p, arg)))
            return r;
    }
    return 0;
}

int peer_set_each(const struct engine *e, const struct peer_set *s,
                  int (*fn)(const struct pod *p, void *arg), void *arg)
{
    struct hash_node *n = NULL;
    int r = 0;

    if (s->ns)
        return each_of_namespace(s, s->ns, fn, arg);
    if (s->watched)
        return each_of_labels(e, s, fn, arg);
    while (r == 0 && (n = hashmap_next(&e->namespaces, n))) {
        const struct namespace *ns = hash_entry(n, struct namespace, node);

        if (ns->n_pods && peer_set_matches_namespace(e, s, ns))
            r = each_of_namespace(s, ns, fn, arg);
    }
    return r;
}

static int collect(const struct pod *p, void *arg)
{
    for (uint8_t i = 0; i < p->n_addresses; i++)
        if (cidr_list_add_address(arg, p->addresses[i].addr) < 0)
            return -ENOMEM;
    return 0;
}

const struct cidr_list *peer_set_addresses(struct engine *e, struct peer_set *s)
{
    s->stale = false;
    if (s->cached)
        return &s->addresses;
    cidr_list_fini(&s->addresses);
    if (peer_set_each(e, s, collect, &s->addresses) < 0) {
        cidr_list_fini(&s->addresses);
        return NULL;
    }
    cidr_list_merge(&s->addresses);
    s->cached = true;
    return &s->addresses;
}

/* -- named ports ------------------------------------------------------------------------ */

static struct port_group *group_for(struct port_groups *g, const struct policy_ports *port)
{
    struct port_group *at;

    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].port.protocol == port->protocol && g->at[i].port.from == port->from)
            return &g->at[i];
    if (!(at = reallocarray(g->at, g->n + 1, sizeof(*at))))
        return NULL;
    g->at = at;
    at[g->n] = (struct port_group){.port = *port};
    return &at[g->n++];
}

static int collect_ports(const struct pod *p, void *arg)
{
    struct port_groups *g = arg;
    struct policy_ports port = {0};
    uint32_t from = 0;

    while ((port.from = pod_named_port(p, g->name, g->protocol, &from, &port.protocol))) {
        struct port_group *group;

        port.to = port.from;
        if (!(group = group_for(g, &port)) || collect(p, &group->addresses) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int compare_groups(const void *a, const void *b)
{
    const struct policy_ports *x = &((const struct port_group *)a)->port;
    const struct policy_ports *y = &((const struct port_group *)b)->port;

    return x->protocol != y->protocol ? (int)x->protocol - (int)y->protocol
                                      : (int)x->from - (int)y->from;
}

const struct port_groups *peer_set_ports(struct engine *e, struct peer_set *s, struct string *name,
                                         uint8_t protocol)
{
    struct port_groups *g;

    s->stale = false;
    for (g = s->ports; g; g = g->next)
        if (g->name == name && g->protocol == protocol)
            return g;
    if (!(g = calloc(1, sizeof(*g))))
        return NULL;
    g->name = string_ref(name);
    g->protocol = protocol;
    g->next = s->ports;
    s->ports = g;
    if (peer_set_each(e, s, collect_ports, g) < 0) {
        ports_free(e, s);
        return NULL;
    }
    for (size_t i = 0; i < g->n; i++)
        cidr_list_merge(&g->at[i].addresses);
    if (g->n > 1)
        qsort(g->at, g->n, sizeof(*g->at), compare_groups);
    return g;
}

/* -- changes ---------------------------------------------------------------------------- */

void peer_set_touch(struct engine *e, struct peer_set *s)
{
    if (s->cached)
        cidr_list_fini(&s->addresses);
    s->cached = false;
    ports_free(e, s);
    if (s->stale)
        return;
    s->stale = true;
    for (size_t i = 0; i < s->n_users; i++) {
        const struct selection *sel;

        list_for_each_entry (sel, &s->users[i]->selected, policy_link)
            local_mark_dirty(e, sel->local);
    }
}

static bool same_addresses(const struct pod *a, const struct pod *b)
{
    if (a->n_addresses != b->n_addresses)
        return false;
    for (uint8_t i = 0; i < a->n_addresses; i++)
        if (memcmp(a->addresses[i].addr, b->addresses[i].addr, 16) != 0)
            return false;
    return true;
}

struct change {
    struct engine *e;
    const struct pod *old, *new;
    bool moved; /* other addresses or ports */
};

static void look(const struct change *c, struct list *sets)
{
    struct peer_set *s;

    list_for_each_entry (s, sets, watch_link) {
        bool before = c->old && peer_set_matches(c->e, s, c->old);
        bool now = c->new &&peer_set_matches(c->e, s, c->new);

        if (before != now || (now && c->moved))
            peer_set_touch(c->e, s);
    }
}

static void look_by_labels(const struct change *c, const struct labels *labels)
{
    for (uint32_t i = 0; i < labels->n; i++)
        look(c, &labels->at[i].label->watchers);
}

void peer_sets_pod_changed(struct engine *e, const struct pod *old, const struct pod *new)
{
    struct change c = {e, old, new, false};

    if (old && new)
        c.moved = !same_addresses(old, new) || old->ports != new->ports;
    if (old && new && !c.moved && old->labels == new->labels &&pod_counts(old) == pod_counts(new))
        return;
    look(&c, old ? &old->ns->sets : &new->ns->sets);
    look(&c, &e->wide_sets);
    if (old)
        look_by_labels(&c, old->labels);
    if (new && (!old || new->labels != old->labels))
        look_by_labels(&c, new->labels);
}
