/* Text of addresses and CIDRs; what is refused and why. */
#include "policy/address.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *text, *canonical, *why; /* canonical NULL: refused because */
} cidrs[] = {
    {"10.0.0.0/8", "10.0.0.0/8", NULL},
    {"0.0.0.0/0", "0.0.0.0/0", NULL},
    {"255.255.255.255/32", "255.255.255.255/32", NULL},
    {"::/0", "::/0", NULL},
    {"fd00:0:0::/48", "fd00::/48", NULL},
    {"::1/128", "::1/128", NULL},
    {"64:ff9b::10.0.0.0/104", "64:ff9b::a00:0/104", NULL},
    {"10.0.0.1/8", NULL, "address has bits set after the prefix"},
    {"10.0.0.0/33", NULL, "prefix out of range"},
    {"10.0.0.0/-1", NULL, "prefix is not a number"},
    {"10.0.0.0/08", NULL, "prefix is not a number"},
    {"10.0.0.0/8 ", NULL, "prefix is not a number"},
    {"10.0.0.0/", NULL, "prefix is not a number"},
    {"10.0.0.0/999999999999", NULL, "prefix is not a number"},
    {"10.0.0/8", NULL, "not a CIDR"},
    {"010.0.0.0/8", NULL, "not a CIDR"},
    {"10.0.0.0", NULL, "not a CIDR"},
    {"", NULL, "not a CIDR"},
    {"/8", NULL, "not a CIDR"},
    {"fe80::1%eth0/64", NULL, "not a CIDR"},
    {"::ffff:10.0.0.0/104", NULL, "an IPv4-mapped IPv6 address is ambiguous"},
    {"fd00::/129", NULL, "prefix out of range"},
};

Test(address, cidr_table)
{
    for (size_t i = 0; i < sizeof(cidrs) / sizeof(cidrs[0]); i++) {
        char text[ADDRESS_TEXT_MAX];
        struct policy_cidr c;
        const char *why = NULL;
        bool ok = cidr_parse(cidrs[i].text, &c, &why);

        cr_expect_eq(ok, cidrs[i].canonical != NULL, "%s", cidrs[i].text);
        if (ok)
            cr_expect_str_eq(cidr_format(&c, text), cidrs[i].canonical);
        else
            cr_expect_str_eq(why, cidrs[i].why, "%s: %s", cidrs[i].text, why);
    }
}

Test(address, parse_and_format)
{
    char text[ADDRESS_TEXT_MAX];
    uint8_t a[16];

    cr_assert(address_parse("10.1.2.3", a));
    cr_expect(address_is_v4(a));
    cr_expect_str_eq(address_format(a, text), "10.1.2.3");
    cr_assert(address_parse("FD00::0001", a));
    cr_expect_not(address_is_v4(a));
    cr_expect_str_eq(address_format(a, text), "fd00::1");
    cr_expect_not(address_parse("::ffff:10.1.2.3", a));
    cr_expect_not(address_parse("10.1.2", a));
    cr_expect_not(address_parse("1.2.3.4/32", a));
}

Test(address, covers)
{
    struct policy_cidr a, b;
    const char *why;

    cr_assert(cidr_parse("10.0.0.0/9", &a, &why) && cidr_parse("10.127.0.0/16", &b, &why));
    cr_expect(cidr_covers(&a, &b));
    cr_expect_not(cidr_covers(&b, &a));
    cr_assert(cidr_parse("10.128.0.0/16", &b, &why));
    cr_expect_not(cidr_covers(&a, &b));
    cr_expect(cidr_covers(&a, &a));
}

Test(address, protocols)
{
    cr_expect_eq(protocol_parse("TCP"), 6);
    cr_expect_eq(protocol_parse("sctp"), 132);
    cr_expect_eq(protocol_parse("47"), 47);
    cr_expect_eq(protocol_parse("256"), -1);
    cr_expect_eq(protocol_parse(""), -1);
    cr_expect_eq(protocol_parse("tcpx"), -1);
    cr_expect(protocol_has_ports(17));
    cr_expect_not(protocol_has_ports(1));
}
