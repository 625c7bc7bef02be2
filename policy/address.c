/* Text of addresses and CIDRs, strict: what two readers could take differently is refused. */
#include "policy/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool address_is_v4(const uint8_t addr[16])
{
    return memcmp(addr, v4_prefix, sizeof(v4_prefix)) == 0;
}

/* Any of the two families; IPv4-mapped text is the caller's business. */
static bool parse_any(const char *text, uint8_t addr[16], bool *ret_v4)
{
    if (inet_pton(AF_INET, text, addr + 12) == 1) {
        memcpy(addr, v4_prefix, sizeof(v4_prefix));
        *ret_v4 = true;
        return true;
    }
    *ret_v4 = false;
    return inet_pton(AF_INET6, text, addr) == 1;
}

bool address_parse(const char *text, uint8_t ret_addr[16])
{
    uint8_t addr[16];
    bool v4;

    if (!parse_any(text, addr, &v4) || (!v4 && address_is_v4(addr)))
        return false;
    memcpy(ret_addr, addr, 16);
    return true;
}

bool address_parse_mapped(const char *text, uint8_t ret_addr[16])
{
    uint8_t addr[16];
    bool v4;

    if (!parse_any(text, addr, &v4))
        return false;
    memcpy(ret_addr, addr, 16);
    return true;
}

const char *address_format(const uint8_t addr[16], char text[ADDRESS_TEXT_MAX])
{
    if (address_is_v4(addr))
        (void)inet_ntop(AF_INET, addr + 12, text, ADDRESS_TEXT_MAX);
    else
        (void)inet_ntop(AF_INET6, addr, text, ADDRESS_TEXT_MAX);
    return text;
}

/* Decimal without sign or leading zeros, at most 128; -1 otherwise. */
static int parse_prefix(const char *s)
{
    if (!isdigit((unsigned char)*s) || strlen(s) > 3 || (s[0] == '0' && s[1]) ||
        strspn(s, "0123456789") != strlen(s))
        return -1;
    return atoi(s) <= 128 ? atoi(s) : 129;
}

static bool host_bits(const uint8_t addr[16], unsigned prefix)
{
    for (unsigned bit = prefix; bit < 128; bit++)
        if (addr[bit / 8] & (0x80 >> (bit % 8)))
            return true;
    return false;
}

bool cidr_parse(const char *text, struct policy_cidr *ret_cidr, const char **ret_why)
{
    const char *slash = strchr(text, '/');
    struct policy_cidr c = {.except = false};
    char address[ADDRESS_TEXT_MAX];
    int prefix;
    bool v4;

    *ret_why = "not a CIDR";
    if (!slash || (size_t)(slash - text) >= sizeof(address))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = 0;
    if (!parse_any(address, c.addr, &v4))
        return false;
    if (!v4 && address_is_v4(c.addr)) {
        *ret_why = "an IPv4-mapped IPv6 address is ambiguous";
        return false;
    }
    prefix = parse_prefix(slash + 1);
    if (prefix < 0 || prefix > (v4 ? 32 : 128)) {
        *ret_why = prefix < 0 ? "prefix is not a number" : "prefix out of range";
        return false;
    }
    c.prefix = (uint8_t)(v4 ? prefix + 96 : prefix);
    if (host_bits(c.addr, c.prefix)) {
        *ret_why = "address has bits set after the prefix";
        return false;
    }
    *ret_cidr = c;
    return true;
}

const char *cidr_format(const struct policy_cidr *c, char text[ADDRESS_TEXT_MAX])
{
    bool v4 = cidr_is_v4(c);
    size_t n;

    (void)inet_ntop(v4 ? AF_INET : AF_INET6, c->addr + (v4 ? 12 : 0), text, ADDRESS_TEXT_MAX);
    n = strlen(text);
    (void)snprintf(text + n, ADDRESS_TEXT_MAX - n, "/%u", v4 ? c->prefix - 96u : c->prefix);
    return text;
}

bool cidr_is_v4(const struct policy_cidr *c)
{
    return c->prefix >= 96 && address_is_v4(c->addr);
}

bool cidr_covers(const struct policy_cidr *outer, const struct policy_cidr *inner)
{
    unsigned bytes = outer->prefix / 8u, bits = outer->prefix % 8u;

    if (outer->prefix > inner->prefix || memcmp(outer->addr, inner->addr, bytes) != 0)
        return false;
    return !bits || ((outer->addr[bytes] ^ inner->addr[bytes]) >> (8 - bits)) == 0;
}

static const struct {
    const char *name;
    int number;
} protocols[] = {
    {"TCP", IPPROTO_TCP},   {"UDP", IPPROTO_UDP},       {"SCTP", IPPROTO_SCTP},
    {"ICMP", IPPROTO_ICMP}, {"ICMPv6", IPPROTO_ICMPV6},
};

int protocol_parse(const char *text)
{
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (strcasecmp(text, protocols[i].name) == 0)
            return protocols[i].number;
    if (!*text || strlen(text) > 3 || strspn(text, "0123456789") != strlen(text))
        return -1;
    return atoi(text) <= 255 ? atoi(text) : -1;
}

const char *protocol_name(int protocol)
{
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (protocol == protocols[i].number)
            return protocols[i].name;
    return NULL;
}

bool protocol_has_ports(int protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}
