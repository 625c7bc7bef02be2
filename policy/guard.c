/*
 * The guard's table and its meaning. An exception wins over denials, and only for the exact
 * protocol and port; an embedded form of a guarded IPv4 address has no exceptions.
 */
#include "policy/guard.h"

#include "policy/address.h"

#include "common/cleanup.h"
#include "policy/evaluate.h"

#include <string.h>

#define HI(g) (uint8_t)((g) >> 8)
#define LO(g) (uint8_t)((g)&0xff)
#define V4_ADDR(a, b, c, d)                                                                        \
    {                                                                                              \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d                                       \
    }
#define V6_ADDR(a, b, c, d, e, f, g, h)                                                            \
    {                                                                                              \
        HI(a), LO(a), HI(b), LO(b), HI(c), LO(c), HI(d), LO(d), HI(e), LO(e), HI(f), LO(f), HI(g), \
            LO(g), HI(h), LO(h)                                                                    \
    }

const struct guard_row guard_rows[] = {
#define GUARD_V4(action, name, a, b, c, d, len, proto, from, to, cloud, why)                       \
    {GUARD_##action, name, {V4_ADDR(a, b, c, d), 96 + (len), false}, proto, from, to, cloud, why},
#define GUARD_V6(action, name, a, b, c, d, e, f, g, h, len, proto, from, to, cloud, why)           \
    {GUARD_##action, name, {V6_ADDR(a, b, c, d, e, f, g, h), len, false}, proto, from, to,         \
     cloud,          why},
#include "policy/guard.def"
};
const size_t guard_n_rows = ARRAY_SIZE(guard_rows);

const struct guard_embed guard_embeds[] = {
#define GUARD_EMBED(name, off, bits, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, p0, p1, p2, \
                    p3, why)                                                                       \
    {name, off, bits, {b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11}, {p0, p1, p2, p3}, why},
#include "policy/guard.def"
};
const size_t guard_n_embeds = ARRAY_SIZE(guard_embeds);

static const struct guard_row *find_deny(const uint8_t addr[16], int protocol, int port, bool any)
{
    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *r = &guard_rows[i];

        if (r->action != GUARD_DENY || !policy_cidr_contains(&r->cidr, addr))
            continue;
        if (any || !r->protocol || !protocol)
            return r;
        if (r->protocol == protocol && (port < 0 || (port >= r->from && port <= r->to)))
            return r;
    }
    return NULL;
}

static const struct guard_row *find_exception(const uint8_t addr[16], int protocol, int port)
{
    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *r = &guard_rows[i];

        if (r->action == GUARD_ALLOW && protocol == r->protocol && port >= r->from &&
            port <= r->to && policy_cidr_contains(&r->cidr, addr))
            return r;
    }
    return NULL;
}

static bool signature_fits(const struct guard_embed *m, const uint8_t addr[16])
{
    return memcmp(addr + m->offset, m->sig, m->bits / 8u) == 0;
}

struct guard_decision guard_eval(const uint8_t addr[16], int protocol, int port)
{
    struct guard_decision d = {GUARD_ALLOW, find_deny(addr, protocol, port, false), NULL};

    if (d.row) {
        const struct guard_row *exception = find_exception(addr, protocol, port);

        d.action = exception ? GUARD_ALLOW : GUARD_DENY;
        d.row = exception ? exception : d.row;
        return d;
    }
    for (size_t i = 0; !address_is_v4(addr) && i < guard_n_embeds; i++) {
        const struct guard_embed *m = &guard_embeds[i];
        uint8_t v4[16] =
            V4_ADDR(addr[m->pos[0]], addr[m->pos[1]], addr[m->pos[2]], addr[m->pos[3]]);

        if (signature_fits(m, addr) && (d.row = find_deny(v4, 0, POLICY_PORT_UNKNOWN, true))) {
            d.action = GUARD_DENY;
            d.embed = m;
            return d;
        }
    }
    return d;
}
