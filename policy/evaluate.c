/* Judging by compiled rules: first match, binary search within the sorted sets. */
#include "policy/evaluate.h"

#include "policy/address.h"

#include <endian.h>
#include <string.h>

bool policy_cidr_contains(const struct policy_cidr *c, const uint8_t addr[16])
{
    unsigned bytes = c->prefix / 8u, bits = c->prefix % 8u;

    if (memcmp(c->addr, addr, bytes) != 0)
        return false;
    return !bits || ((c->addr[bytes] ^ addr[bytes]) >> (8 - bits)) == 0;
}

static uint64_t load_be(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

/* Sorted and disjoint: only the last entry that doesn't start after addr can hold it. */
static bool sorted_contains(const struct policy_cidr *c, size_t n, const uint8_t addr[16])
{
    uint64_t upper = load_be(addr), lower = load_be(addr + 8);
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        uint64_t u = load_be(c[mid].addr);

        if (u < upper || (u == upper && load_be(c[mid].addr + 8) <= lower))
            low = mid + 1;
        else
            high = mid;
    }
    return low && policy_cidr_contains(&c[low - 1], addr);
}

static bool peer_matches(const struct policy_rule *r, const uint8_t addr[16])
{
    if (r->any_peer)
        return true;
    return sorted_contains(r->cidrs, r->n_includes, addr) &&
           !sorted_contains(r->cidrs + r->n_includes, r->n_cidrs - r->n_includes, addr);
}

static bool port_matches(const struct policy_rule *r, int protocol, int port)
{
    if (r->any_port)
        return true;
    if (port < 0 || !protocol_has_ports(protocol))
        return false;
    for (size_t i = 0; i < r->n_ports; i++)
        if (r->ports[i].protocol == protocol && port >= r->ports[i].from && port <= r->ports[i].to)
            return true;
    return false;
}

static const char *name_of(const struct policy_rules *rules, uint32_t name)
{
    return name < rules->n_names ? rules->names[name] : NULL;
}

struct policy_decision policy_eval(const struct policy_rules *rules, enum policy_direction dir,
                                   const uint8_t peer[16], int protocol, int port)
{
    size_t i = 0, n = rules->dir[dir].n_rules;

    while (i < n) {
        const struct policy_rule *r = &rules->dir[dir].rules[i];

        if (!port_matches(r, protocol, port) || !peer_matches(r, peer))
            i++;
        else if (r->verdict == POLICY_PASS)
            i = r->pass_to > i ? r->pass_to : n;
        else
            return (struct policy_decision){r->verdict, r->origin, name_of(rules, r->name),
                                            (long)i};
    }
    return (struct policy_decision){rules->dir[dir].fallback, rules->dir[dir].fallback_origin,
                                    name_of(rules, rules->dir[dir].fallback_name), -1};
}
