/*
 * Blocks of addresses: the programs must find the longest one that holds an address, by the trie or
 * by a look-up for each length, as the tables themselves say. Few and many lengths, both families,
 * blocks within blocks; after a restart, and after somebody took the list of lengths away.
 */
#include "agent/enforce/entries.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 200, ASKED = 600, FLOW = 200 };

static const struct shape {
    const char *name;
    int four[6], six[6]; /* lengths; 0 ends */
    bool route;          /* and ::/0, which in these tables holds IPv4, too */
    bool by_length;
} shapes[] = {
    {"one length", {24}, {0}, false, true},
    {"four lengths of each family", {8, 16, 24}, {32, 48, 64}, true, true},
    {"five lengths", {8, 12, 16, 24, 28}, {48}, false, false},
    {"only IPv6", {0}, {40, 56}, false, true},
};

static uint32_t random_state = 20261130;
static uint32_t next_random(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 8;
}

static int length_of(const int *lengths)
{
    int n = 0;

    while (n < 6 && lengths[n])
        n++;
    return n ? lengths[next_random() % (unsigned)n] : 0;
}

/* Few different bytes, so that blocks hold each other. */
static void address(int family, char *text, size_t size)
{
    unsigned b[4];

    for (int i = 0; i < 4; i++)
        b[i] = next_random() % 12 + 1;
    if (family == 4)
        snprintf(text, size, "%u.%u.%u.%u", 20 + b[0] % 3, b[1], b[2], b[3]);
    else
        snprintf(text, size, "2a00:%x:%x00:%x00::%x", b[0] % 3, b[1], b[2], b[3]);
}

static void add_block(struct test_rules *rules, const struct shape *shape, enum policy_verdict v)
{
    int family = next_random() & 1 ? 6 : 4, length;
    char text[64], cidr[80];

    length = length_of(family == 6 ? shape->six : shape->four);
    if (!length) {
        family = 10 - family;
        length = length_of(family == 6 ? shape->six : shape->four);
    }
    address(family, text, sizeof(text));
    snprintf(cidr, sizeof(cidr), "%s/%d", text, length);
    rules_add(rules, POLICY_EGRESS, v, cidr, -1, 0, 0);
}

/* Of addresses of both families: how many get another verdict than the tables', and how many are
 * let through. */
static int differences(struct judge *j, int *ret_allowed)
{
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    int wrong = 0;

    *ret_allowed = 0;
    for (int i = 0; i < ASKED; i++) {
        int family = i & 1 ? 6 : 4;
        const struct berm_verdict *v;
        uint8_t local[16], remote[16];
        struct frame f;
        char text[64];

        address(family, text, sizeof(text));
        lab_address(family == 6 ? h->v6 : h->v4, local);
        lab_address(text, remote);
        frame_ether(&f, h->gateway_mac, h->mac, family == 6 ? 0x86dd : 0x0800);
        frame_ip(&f, family, local, remote, 64);
        frame_bytes(&f, "unknown to all of them", 22); /* no flow's, so each is judged by rules */
        frame_end(&f);
        f.data[f.ip + (family == 6 ? 6 : 9)] = FLOW;
        if (family == 4)
            frame_checksum(&f);
        v = bpf_tables_ask(&j->pod->tables, POLICY_EGRESS, remote, FLOW, true, 0);
        *ret_allowed += v && v->allow;
        wrong += judge_pass(j, BERM_ENGINE_POLICY, BERM_EGRESS, &f) != (v && v->allow);
    }
    return wrong;
}

static void expect_agreement(struct judge *j, const char *name, const char *when)
{
    int allowed, wrong = differences(j, &allowed);

    tap_ok(wrong == 0 && allowed > 0 && allowed < ASKED,
           "%s%s: %d of %d addresses allowed, %d not as the tables say", name, when, allowed, ASKED,
           wrong);
}

static void test_shape(struct judge *j, const struct shape *shape)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_ALLOW);
    struct error err = ERROR_INIT;

    for (int i = 0; i < BLOCKS; i++)
        add_block(rules, shape, next_random() & 1 ? POLICY_ALLOW : POLICY_DENY);
    if (shape->route)
        rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "::/0", -1, 0, 0);
    tap_ok(enforce_set_rules(j->e, "pod-1", &rules->rules, &err) == 0 &&
               bpf_tables_by_length(&j->pod->tables, POLICY_EGRESS) == shape->by_length &&
               !bpf_tables_by_length(&j->pod->tables, POLICY_INGRESS),
           "%s: found %s %s", shape->name, shape->by_length ? "by length" : "by longest match",
           err.msg);
    expect_agreement(j, shape->name, "");
    free(rules);
}

/* What a new process reads out of the maps is what the last one wrote. */
static void test_restart(struct judge *j, const struct shape *shape)
{
    struct enforce_config config = {.pin_dir = j->lab.pin_dir};
    size_t before = entries_count(&j->pod->tables);
    struct error err = ERROR_INIT;

    enforce_close(j->e);
    if (enforce_open(&config, &j->e, &err) < 0) {
        tap_ok(false, "open again: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    j->pod = enforced_pod_find(j->e, "pod-1");
    j->device = j->pod ? list_first(&j->pod->devices, struct device, siblings) : NULL;
    tap_ok(j->device && entries_count(&j->pod->tables) == before &&
               bpf_tables_by_length(&j->pod->tables, POLICY_EGRESS) == shape->by_length,
           "%s: all entries are taken over", shape->name);
    expect_agreement(j, shape->name, ", after a restart");
}

static void test_taken_away(struct judge *j)
{
    struct berm_check lengths;
    struct error err = ERROR_INIT;
    int r;

    entries_get(&j->pod->tables, entries_count(&j->pod->tables) - 1, j->pod->slot,
                BERM_CONTROL_EPOCH(j->pod->control), &lengths);
    (void)enforce_sweep(j->e, &err);
    r = bpf_map_delete_elem(j->e->maps[MAP_P_HOSTS], &lengths.host);
    tap_ok(r == 0 && enforce_sweep(j->e, &err) > 0, "lengths that are gone are put back %s",
           err.msg);
    expect_agreement(j, "then", "");
}

int main(void)
{
    struct judge j;

    judge_open(&j);
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        test_shape(&j, &shapes[i]);
        test_restart(&j, &shapes[i]);
        if (shapes[i].by_length)
            test_taken_away(&j);
    }
    judge_close(&j);
    return tap_end();
}
