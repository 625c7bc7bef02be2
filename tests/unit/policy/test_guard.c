/* The guard's table: what is denied, what the exceptions let through, and that nothing else is. */
#include "policy/guard.h"

#include "policy/address.h"
#include "policy/evaluate.h"

#include <criterion/criterion.h>
#include <string.h>

static struct guard_decision ask(const char *text, int protocol, int port)
{
    uint8_t addr[16];

    cr_assert(address_parse(text, addr), "%s", text);
    return guard_eval(addr, protocol, port);
}

Test(guard, rows_are_sane)
{
    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *r = &guard_rows[i];

        cr_expect(r->from <= r->to, "%s", r->name);
        cr_expect(r->cidr.prefix <= 128);
        /* An exception names its protocol and port. */
        if (r->action == GUARD_ALLOW)
            cr_expect(r->protocol && r->to - r->from < 2, "%s", r->name);
        for (size_t k = 0; k < i; k++)
            cr_expect(strcmp(r->name, guard_rows[k].name) != 0, "%s twice", r->name);
    }
    for (size_t i = 0; i < guard_n_embeds; i++)
        cr_expect(guard_embeds[i].bits % 8 == 0 && guard_embeds[i].bits <= 96, "%s",
                  guard_embeds[i].name);
}

Test(guard, exceptions_are_exact)
{
    cr_expect_eq(ask("169.254.169.254", 17, 53).action, GUARD_ALLOW);
    cr_expect_str_eq(ask("169.254.169.254", 17, 53).row->name, "metadata-v4-dns-udp");
    cr_expect_eq(ask("169.254.169.254", 6, 80).action, GUARD_DENY);
    cr_expect_eq(ask("169.254.169.254", 132, 53).action, GUARD_DENY);
    cr_expect_eq(ask("169.254.169.254", 0, POLICY_PORT_UNKNOWN).action, GUARD_DENY);
    cr_expect_eq(ask("169.254.169.254", 17, POLICY_PORT_UNKNOWN).action, GUARD_DENY);
    cr_expect_eq(ask("169.254.169.253", 6, 80).action, GUARD_ALLOW);
    cr_expect_null(ask("169.254.169.253", 6, 80).row);
}

Test(guard, port_limited_denials_hold_without_ports)
{
    cr_expect_eq(ask("169.254.2.77", 6, 3260).action, GUARD_DENY);
    cr_expect_eq(ask("169.254.2.77", 6, 3261).action, GUARD_ALLOW);
    cr_expect_eq(ask("169.254.2.77", 6, POLICY_PORT_UNKNOWN).action, GUARD_DENY);
    cr_expect_eq(ask("169.254.2.77", 17, 3260).action, GUARD_ALLOW);
}

/* Every denied IPv4 address in every embedded form, with no way around by an exception's port. */
Test(guard, every_embedded_form)
{
    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *r = &guard_rows[i];

        if (r->action != GUARD_DENY || !address_is_v4(r->cidr.addr) || r->cidr.prefix < 96)
            continue;
        for (size_t k = 0; k < guard_n_embeds; k++) {
            const struct guard_embed *e = &guard_embeds[k];
            uint8_t addr[16] = {0};

            if (e->offset) /* a suffix: the prefix is anything */
                memcpy(addr, "\x20\x01\x0d\xb8\1\2\3\4", 8);
            memcpy(addr + e->offset, e->sig, e->bits / 8);
            for (int b = 0; b < 4; b++)
                addr[e->pos[b]] = r->cidr.addr[12 + b];
            cr_expect_eq(guard_eval(addr, 17, 53).action, GUARD_DENY, "%s in %s", r->name, e->name);
            cr_expect_not_null(guard_eval(addr, 17, 53).embed);
        }
    }
}

Test(guard, harmless_addresses_pass)
{
    static const char *const harmless[] = {"8.8.8.8",           "10.0.0.1",    "169.254.20.10",
                                           "fe80::1",           "2001:db8::1", "64:ff9b::808:808",
                                           "2002:0808:0808::1", "::1",         "fd00:ec2::253"};

    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        cr_expect_eq(ask(harmless[i], 6, 80).action, GUARD_ALLOW, "%s", harmless[i]);
}
