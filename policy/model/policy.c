/* What both kinds of policy share: life and death, lists that grow, small decoders. */
#include "policy/model/policy.h"

#include "policy/address.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

struct policy *policy_new(struct decoder *d, const struct metadata *m, enum engine_kind kind)
{
    struct policy *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->kind = kind;
    list_init(&p->ns_link);
    list_init(&p->selected);
    p->ns_name = string_get(d->strings, m->ns);
    p->name = string_get(d->strings, m->name);
    p->uid = string_get(d->strings, m->uid);
    if (!p->ns_name || !p->name || !p->uid) {
        policy_free(d->strings, p);
        return NULL;
    }
    return p;
}

static void peer_fini(struct strings *s, struct policy_peer *p)
{
    selector_fini(s, &p->ns_sel);
    selector_fini(s, &p->sel);
    free(p->cidrs);
}

static void rule_fini(struct strings *s, struct model_rule *r)
{
    for (size_t i = 0; i < r->n_peers; i++)
        peer_fini(s, &r->peers[i]);
    for (size_t i = 0; i < r->n_ports; i++)
        string_put(s, r->ports[i].name);
    free(r->peers);
    free(r->ports);
}

void policy_free(struct strings *s, struct policy *p)
{
    if (!p)
        return;
    for (int d = 0; d < POLICY_DIRECTION_MAX; d++) {
        for (size_t i = 0; i < p->n_rules[d]; i++)
            rule_fini(s, &p->rules[d][i]);
        free(p->rules[d]);
    }
    selector_fini(s, &p->ns_sel);
    selector_fini(s, &p->pod_sel);
    string_put(s, p->ns_name);
    string_put(s, p->name);
    string_put(s, p->uid);
    free(p->problem);
    free(p->path);
    free(p);
}

void policy_blame(struct policy *p, const struct decoder *d)
{
    if (p->problem)
        return;
    p->problem = strdup(d->err->msg);
    p->path = strdup(d->bad_path);
}

/* Doubling, told by the count alone: capacity is the next power of two. */
static void *grow(void *list, size_t n, size_t size)
{
    if (n & (n - 1))
        return list;
    return reallocarray(list, n ? n * 2 : 1, size);
}

struct policy_peer *rule_add_peer(struct model_rule *r)
{
    struct policy_peer *all = grow(r->peers, r->n_peers, sizeof(*all));

    if (!all)
        return NULL;
    r->peers = all;
    all[r->n_peers] = (struct policy_peer){0};
    return &all[r->n_peers++];
}

struct policy_port *rule_add_port(struct model_rule *r)
{
    struct policy_port *all = grow(r->ports, r->n_ports, sizeof(*all));

    if (!all)
        return NULL;
    r->ports = all;
    all[r->n_ports] = (struct policy_port){0};
    return &all[r->n_ports++];
}

int peer_add_cidr(struct decoder *d, struct policy_peer *p, const char *field, const char *text,
                  bool except)
{
    struct policy_cidr *all = grow(p->cidrs, p->n_cidrs, sizeof(*all));
    const char *why;

    if (!all)
        return decode_memory(d);
    p->cidrs = all;
    if (!cidr_parse(text, &all[p->n_cidrs], &why))
        return decode_fail_value(d, field, text, why);
    all[p->n_cidrs++].except = except;
    return 0;
}

int decode_protocol(struct decoder *d, const json_t *o, uint8_t *ret)
{
    static const char *const names[] = {"TCP", "UDP", "SCTP"};
    const char *text;
    int r = decode_string(d, o, "protocol", &text);

    if (r < 0)
        return r;
    *ret = IPPROTO_TCP;
    if (!text || !*text)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (uint8_t)protocol_parse(text);
            return 0;
        }
    return decode_fail_value(d, "protocol", text, "not TCP, UDP or SCTP");
}

bool port_name_ok(const char *s)
{
    size_t n = strlen(s);
    bool letter = false;

    if (n == 0 || n > 15 || s[0] == '-' || s[n - 1] == '-' || strstr(s, "--"))
        return false;
    for (; *s; s++) {
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-')
            return false;
        letter |= islower((unsigned char)*s) != 0;
    }
    return letter;
}
