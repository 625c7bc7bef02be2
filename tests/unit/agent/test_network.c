#include "agent/standalone/network.h"
#include "common/cleanup.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>

Test(network, parse)
{
    struct ip_address a;
    struct error err = ERROR_INIT;
    static const char *const bad[] = {"",           "10.0.0",     "10.0.0.0/33", "10.0.0.0/",
                                      "10.0.0.0/x", "fd00::/129", "fd00::1%lo",  "1.2.3.4.5",
                                      "::/-1",      "10.0.0.0/1 "};

    cr_assert_eq(ip_address_parse("10.88.0.0/24", &a, &err), 0);
    cr_expect(a.family == AF_INET && a.prefix == 24 && a.addr[1] == 88);
    cr_assert_eq(ip_address_parse("fd00::1", &a, &err), 0);
    cr_expect(a.family == AF_INET6 && a.prefix == 128 && a.addr[15] == 1);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_expect_lt(ip_address_parse(bad[i], &a, &err), 0, "'%s'", bad[i]);
}

static struct pod_network network(const char *v4, const char *v6, uint32_t limit)
{
    struct pod_network n = {.next = 2, .limit = limit, .used = calloc(limit, 1)};
    struct error err = ERROR_INIT;

    cr_assert_eq(ip_address_parse(v4, &n.net4, &err), 0);
    cr_assert_eq(ip_address_parse(v6, &n.net6, &err), 0);
    return n;
}

Test(network, addresses)
{
    struct pod_network n = network("10.1.0.0/16", "fd00:1::/64", 65535);
    struct pod_address a;

    network_address(&n, 258, &a);
    cr_expect_str_eq(a.text4, "10.1.1.2");
    cr_expect_str_eq(a.text6, "fd00:1::102");
    cr_expect_eq(a.mac[5], 2);
    cr_expect_neq(a.mac[0], a.host_mac[0]);
    free(n.used);
}

Test(network, numbers)
{
    struct pod_network n = network("10.1.0.0/29", "fd00::/64", 7);
    struct error err = ERROR_INIT;
    uint32_t number;

    for (uint32_t want = 2; want < 7; want++) {
        cr_assert_eq(network_allocate(&n, &number, &err), 0);
        cr_expect_eq(number, want);
    }
    cr_expect_lt(network_allocate(&n, &number, &err), 0);
    network_release(&n, 4);
    cr_expect_lt(network_claim(&n, 3), 0);
    cr_expect_lt(network_claim(&n, 0), 0);
    cr_expect_lt(network_claim(&n, 7), 0);
    cr_assert_eq(network_allocate(&n, &number, &err), 0);
    cr_expect_eq(number, 4);
    free(n.used);
}
