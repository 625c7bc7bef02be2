/*
 * The guard in nftables: the table of policy/guard.def as sets and rules, asked for what comes from
 * a pod (destination) and for what goes to one (source), at every hook where translation may have
 * given the packet another address.
 *
 *   prerouting, forward, input:  from4, from6: is the destination in the table?
 *   forward, output:             to4, to6:     is the source?
 *   .._pod:  and is it a pod's device that it comes from or goes to, or a pod's address on a
 * bridge?
 *   .._hit:  then it is dropped, unless an exception speaks of it
 *
 * The address is asked first: nearly every packet meets one small set a hook, and nothing else.
 */
#include "agent/enforce/nft.h"
#include "policy/guard.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

/* Numbers by which nft(8) knows what to print. */
enum { TYPE_INTEGER = 4, TYPE_IPADDR = 7, TYPE_IP6ADDR = 8, TYPE_IFINDEX = 20 };
enum { BEFORE_ALL = -300, AFTER_NAT = 10, GUARD_SET_MAX = 256 };

/* Where the far side's address and port are in a packet of one family and direction. */
struct view {
    const char *chain, *pods, *hit;
    bool from; /* looks at what comes from a pod */
    int family;
    uint32_t address, port; /* offsets in the network and the transport header */
    uint32_t pod;           /* the pod's address, in the network header */
};
static const struct view views[] = {
    {"from4", "from4_pod", "from4_hit", true, 4, 16, 2, 12},
    {"from6", "from6_pod", "from6_hit", true, 6, 24, 2, 8},
    {"to4", "to4_pod", "to4_hit", false, 4, 12, 0, 16},
    {"to6", "to6_pod", "to6_hit", false, 6, 8, 0, 24},
};

static const struct {
    const char *name;
    uint32_t type, size;
} set_table[NFT_SETS] = {
    [NFT_DEVICES] = {"pod_devices", TYPE_IFINDEX, 4},
    [NFT_BRIDGES] = {"pod_bridges", TYPE_IFINDEX, 4},
    [NFT_PODS4] = {"pods4", TYPE_IPADDR, 4},
    [NFT_PODS6] = {"pods6", TYPE_IP6ADDR, 16},
};

const char *nft_set_name(enum nft_set set)
{
    return set_table[set].name;
}

static struct nftnl_rule *rule_new(const struct nft_batch *b, const char *chain)
{
    struct nftnl_rule *rule = nftnl_rule_alloc();

    if (!rule)
        return NULL;
    nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, b->table);
    nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
    nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
    return rule;
}

static struct nftnl_expr *add(struct nftnl_rule *rule, const char *name)
{
    struct nftnl_expr *e = rule ? nftnl_expr_alloc(name) : NULL;

    if (e)
        nftnl_rule_add_expr(rule, e);
    return e;
}

static void meta(struct nftnl_rule *rule, uint32_t key)
{
    struct nftnl_expr *e = add(rule, "meta");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void payload(struct nftnl_rule *rule, uint32_t base, uint32_t offset, uint32_t size)
{
    struct nftnl_expr *e = add(rule, "payload");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, size);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void mask(struct nftnl_rule *rule, const uint8_t *bits, uint32_t size)
{
    static const uint8_t zero[16];
    struct nftnl_expr *e = add(rule, "bitwise");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, size);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, bits, size);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, size);
}

static void cmp(struct nftnl_rule *rule, uint32_t op, const void *data, uint32_t size)
{
    struct nftnl_expr *e = add(rule, "cmp");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, size);
}

static void lookup(struct nftnl_rule *rule, const char *set)
{
    struct nftnl_expr *e = add(rule, "lookup");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
}

static void verdict(struct nftnl_rule *rule, int code, const char *chain)
{
    struct nftnl_expr *e = add(rule, "immediate");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
    if (chain)
        nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}

/* In the table: whose packet it is comes next. */
static void hit(struct nft_batch *b, struct nftnl_rule *rule, const struct view *v)
{
    verdict(rule, NFT_GOTO, v->pods);
    nft_add_rule(b, rule);
}

bool nft_is_v4(const uint8_t addr[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return !memcmp(addr, prefix, sizeof(prefix));
}

static bool is_v4(const struct guard_row *row)
{
    return row->cidr.prefix >= 96 && nft_is_v4(row->cidr.addr);
}

/* One address, whatever the port: these make the sets. */
static bool is_plain(const struct guard_row *row)
{
    return row->cidr.prefix == 128 && !row->protocol;
}

/* The far side's address is within the row's prefix. */
static void match_prefix(struct nftnl_rule *rule, const struct guard_row *row, uint32_t offset)
{
    unsigned skip = is_v4(row) ? 12 : 0, bits = row->cidr.prefix - skip * 8, size = (bits + 7) / 8;
    uint8_t keep[16], want[16];

    payload(rule, NFT_PAYLOAD_NETWORK_HEADER, offset, size);
    memset(keep, 0xff, sizeof(keep));
    memcpy(want, row->cidr.addr + skip, size);
    if (bits % 8) {
        keep[size - 1] = (uint8_t)(0xff << (8 - bits % 8));
        want[size - 1] &= keep[size - 1];
        mask(rule, keep, size);
    }
    cmp(rule, NFT_CMP_EQ, want, size);
}

/* A fragment that shows no port matches no row with ports: conntrack has put it together before,
 * and if it has not, the programs on the device looked at it. */
static void match_ports(struct nftnl_rule *rule, const struct guard_row *row, uint32_t offset)
{
    const uint16_t from = htons(row->from), to = htons(row->to);

    if (!row->protocol)
        return;
    meta(rule, NFT_META_L4PROTO);
    cmp(rule, NFT_CMP_EQ, &row->protocol, 1);
    if (row->from == 0 && row->to == 65535)
        return;
    payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2);
    cmp(rule, NFT_CMP_GTE, &from, 2);
    cmp(rule, NFT_CMP_LTE, &to, 2);
}

static void add_rows(struct nft_batch *b, const struct view *v, enum guard_action action)
{
    bool deny = action == GUARD_DENY;

    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *row = &guard_rows[i];
        struct nftnl_rule *rule;

        if (row->action != action || is_v4(row) != (v->family == 4) || (deny && is_plain(row)))
            continue;
        rule = rule_new(b, deny ? v->chain : v->hit);
        match_prefix(rule, row, v->address);
        match_ports(rule, row, v->port);
        if (deny) {
            hit(b, rule, v);
        } else {
            verdict(rule, NFT_RETURN, NULL);
            nft_add_rule(b, rule);
        }
    }
}

void nft_exempt_name(size_t i, char *name, size_t size)
{
    (void)snprintf(name, size, "exempt%zu", i);
}

/* What is configured holds for some pods: those whose address is in the exception's set. */
static void add_exceptions(struct nft_batch *b, const struct view *v,
                           const struct enforce_exceptions *exceptions)
{
    for (size_t i = 0; i < exceptions->n; i++) {
        const struct enforce_exception *x = &exceptions->list[i];
        struct guard_row row = {.protocol = x->protocol, .from = x->from, .to = x->to};
        uint32_t size = v->family == 4 ? 4 : 16;
        struct nftnl_rule *rule;
        char name[32];

        if (nft_is_v4(x->addr) != (v->family == 4))
            continue;
        memcpy(row.cidr.addr, x->addr, 16);
        row.cidr.prefix = 128;
        nft_exempt_name(i, name, sizeof(name));
        rule = rule_new(b, v->hit);
        match_prefix(rule, &row, v->address);
        match_ports(rule, &row, v->port);
        payload(rule, NFT_PAYLOAD_NETWORK_HEADER, v->pod, size);
        lookup(rule, name);
        verdict(rule, NFT_RETURN, NULL);
        nft_add_rule(b, rule);
    }
}

static void add_exempt_sets(struct nft_batch *b, const struct enforce_exceptions *exceptions)
{
    for (size_t i = 0; i < exceptions->n; i++) {
        bool four = nft_is_v4(exceptions->list[i].addr);
        char name[32];

        nft_exempt_name(i, name, sizeof(name));
        nft_add_set(b, name, four ? TYPE_IPADDR : TYPE_IP6ADDR, four ? 4 : 16);
    }
}

static uint32_t embed_span(const struct guard_embed *m)
{
    return m->pos[3] - m->pos[0] + 1U;
}

/* An IPv4 address in the bytes that the form has it in; what lies between them is zero. */
static void embed_spread(const struct guard_embed *m, const uint8_t v4[4], uint8_t ret[16])
{
    memset(ret, 0, 16);
    for (int i = 0; i < 4; i++)
        ret[m->pos[i] - m->pos[0]] = v4[i];
}

static struct nftnl_rule *embed_rule(struct nft_batch *b, const struct view *v,
                                     const struct guard_embed *m, const uint8_t keep4[4])
{
    struct nftnl_rule *rule = rule_new(b, v->chain);
    uint8_t keep[16];

    if (m->bits) {
        payload(rule, NFT_PAYLOAD_NETWORK_HEADER, v->address + m->offset, m->bits / 8u);
        cmp(rule, NFT_CMP_EQ, m->sig, m->bits / 8u);
    }
    payload(rule, NFT_PAYLOAD_NETWORK_HEADER, v->address + m->pos[0], embed_span(m));
    embed_spread(m, keep4, keep);
    mask(rule, keep, embed_span(m));
    return rule;
}

static void add_embed(struct nft_batch *b, const struct view *v, const struct guard_embed *m,
                      const char *set)
{
    static const uint8_t whole[4] = {0xff, 0xff, 0xff, 0xff};
    struct nftnl_rule *rule = embed_rule(b, v, m, whole);

    lookup(rule, set);
    hit(b, rule, v);
    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *row = &guard_rows[i];
        uint8_t keep[4] = {0}, want[16];

        if (row->action != GUARD_DENY || !is_v4(row) || row->cidr.prefix == 128)
            continue;
        for (unsigned bit = 0; bit < row->cidr.prefix - 96U; bit++)
            keep[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
        embed_spread(m, row->cidr.addr + 12, want);
        rule = embed_rule(b, v, m, keep);
        cmp(rule, NFT_CMP_EQ, want, embed_span(m));
        hit(b, rule, v);
    }
}

static const struct guard_embed mapped = {
    .name = "v4-mapped", .bits = 96, .sig = {[10] = 0xff, [11] = 0xff}, .pos = {12, 13, 14, 15}};

static const struct guard_embed *embed_at(size_t i)
{
    return i < guard_n_embeds ? &guard_embeds[i] : &mapped;
}

/* One set a form: the guarded IPv4 addresses as the form writes them. */
static void add_embed_set(struct nft_batch *b, const struct guard_embed *m)
{
    uint8_t data[GUARD_SET_MAX * 16];
    uint32_t size = embed_span(m);
    size_t n = 0;

    for (size_t i = 0; i < guard_n_rows && n < GUARD_SET_MAX; i++) {
        const struct guard_row *row = &guard_rows[i];
        uint8_t spread[16];

        if (row->action != GUARD_DENY || !is_v4(row) || row->cidr.prefix != 128)
            continue;
        embed_spread(m, row->cidr.addr + 12, spread);
        memcpy(data + n++ * size, spread, size);
    }
    nft_add_set(b, m->name, size == 4 ? TYPE_IPADDR : TYPE_INTEGER, size);
    nft_add_elements(b, m->name, data, n, size);
}

static void add_deny_set(struct nft_batch *b, const char *name, bool v4)
{
    uint8_t data[GUARD_SET_MAX * 16];
    size_t n = 0, size = v4 ? 4 : 16;

    for (size_t i = 0; i < guard_n_rows && n < GUARD_SET_MAX; i++) {
        const struct guard_row *row = &guard_rows[i];

        if (row->action == GUARD_DENY && is_v4(row) == v4 && is_plain(row))
            memcpy(data + n++ * size, row->cidr.addr + (v4 ? 12 : 0), size);
    }
    nft_add_set(b, name, v4 ? TYPE_IPADDR : TYPE_IP6ADDR, (uint32_t)size);
    nft_add_elements(b, name, data, n, size);
}

/* Nearly all packets are of no address in the table, and meet no exception. */
static void fill_view(struct nft_batch *b, const struct view *v,
                      const struct enforce_exceptions *exceptions)
{
    struct nftnl_rule *rule;

    add_rows(b, v, GUARD_ALLOW);
    add_exceptions(b, v, exceptions);
    rule = rule_new(b, v->hit);
    (void)add(rule, "counter");
    verdict(rule, NF_DROP, NULL);
    nft_add_rule(b, rule);
    rule = rule_new(b, v->chain);
    payload(rule, NFT_PAYLOAD_NETWORK_HEADER, v->address, v->family == 4 ? 4 : 16);
    lookup(rule, v->family == 4 ? "guarded4" : "guarded6");
    hit(b, rule, v);
    add_rows(b, v, GUARD_DENY);
    for (size_t i = 0; v->family == 6 && i <= guard_n_embeds; i++)
        add_embed(b, v, embed_at(i), embed_at(i)->name);
}

/* A pod's own device, or a bridge together with the address of a pod that is on one. */
static void add_pods(struct nft_batch *b, const struct view *v)
{
    const uint32_t device = v->from ? NFT_META_IIF : NFT_META_OIF;
    struct nftnl_rule *rule = rule_new(b, v->pods);

    meta(rule, device);
    lookup(rule, set_table[NFT_DEVICES].name);
    verdict(rule, NFT_GOTO, v->hit);
    nft_add_rule(b, rule);
    rule = rule_new(b, v->pods);
    meta(rule, device);
    lookup(rule, set_table[NFT_BRIDGES].name);
    payload(rule, NFT_PAYLOAD_NETWORK_HEADER, v->pod, v->family == 4 ? 4 : 16);
    lookup(rule, set_table[v->family == 4 ? NFT_PODS4 : NFT_PODS6].name);
    verdict(rule, NFT_GOTO, v->hit);
    nft_add_rule(b, rule);
}

/* `last`: there is nothing more to be asked in that chain. */
static void add_jumps(struct nft_batch *b, const char *chain, bool from, bool last)
{
    for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
        const struct view *v = &views[i];
        const uint8_t family = v->family == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
        struct nftnl_rule *rule = v->from == from ? rule_new(b, chain) : NULL;

        if (!rule)
            continue;
        meta(rule, NFT_META_NFPROTO);
        cmp(rule, NFT_CMP_EQ, &family, 1);
        verdict(rule, last ? NFT_GOTO : NFT_JUMP, v->chain);
        nft_add_rule(b, rule);
    }
}

void nft_guard(struct nft_batch *b, const struct enforce_exceptions *exceptions)
{
    static const struct {
        const char *chain;
        int hook, priority;
        bool from, to;
    } hooks[] = {
        {"prerouting", NF_INET_PRE_ROUTING, BEFORE_ALL, true, false},
        {"forward", NF_INET_FORWARD, BEFORE_ALL, true, true},
        {"input", NF_INET_LOCAL_IN, BEFORE_ALL, true, false},
        {"output", NF_INET_LOCAL_OUT, AFTER_NAT, false, true},
    };

    for (int i = 0; i < NFT_SETS; i++)
        nft_add_set(b, set_table[i].name, set_table[i].type, set_table[i].size);
    add_exempt_sets(b, exceptions);
    add_deny_set(b, "guarded4", true);
    add_deny_set(b, "guarded6", false);
    for (size_t i = 0; i <= guard_n_embeds; i++)
        add_embed_set(b, embed_at(i));
    for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
        nft_add_chain(b, views[i].chain, -1, 0);
        nft_add_chain(b, views[i].pods, -1, 0);
        nft_add_chain(b, views[i].hit, -1, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
        add_pods(b, &views[i]);
        fill_view(b, &views[i], exceptions);
    }
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        nft_add_chain(b, hooks[i].chain, hooks[i].hook, hooks[i].priority);
        if (hooks[i].from)
            add_jumps(b, hooks[i].chain, true, !hooks[i].to);
        if (hooks[i].to)
            add_jumps(b, hooks[i].chain, false, true);
    }
}
