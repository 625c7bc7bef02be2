/* The engine's bookkeeping: who becomes dirty, and what outlives what. Verdicts are in
 * tests/policy. */
#include "policy/engine.h"

#include "policy/address.h"
#include "policy/evaluate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct engine *engine;

static void setup(void)
{
    struct engine_config config = {.node = "here"};

    engine = engine_new(&config);
    cr_assert_not_null(engine);
}

static void teardown(void)
{
    engine_free(engine);
}

TestSuite(engine, .init = setup, .fini = teardown);

static int apply(enum engine_kind kind, struct error *err, const char *json)
{
    json_error_t je;
    json_t *o = json_loads(json, 0, &je);
    int r;

    cr_assert_not_null(o, "%s in %s", je.text, json);
    r = engine_apply(engine, kind, o, err);
    json_decref(o);
    return r;
}

static void ns(const char *name, const char *labels, const char *phase)
{
    char json[512];

    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"status\":{\"phase\":\"%s\"}}", name,
             labels, phase);
    cr_assert_eq(apply(ENGINE_NAMESPACE, NULL, json), 0);
}

static void pod(const char *ns_name, const char *name, const char *node, const char *labels,
                const char *ip, const char *extra_status)
{
    char json[1024];

    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"u-%s\",\"labels\":{%s}},"
        "\"spec\":{\"nodeName\":\"%s\",\"containers\":[{\"ports\":[{\"name\":\"http\","
        "\"containerPort\":80}]}]},\"status\":{\"podIP\":\"%s\"%s}}",
        name, ns_name, name, labels, node, ip, extra_status);
    cr_assert_eq(apply(ENGINE_POD, NULL, json), 0);
}

static int policy(const char *ns_name, const char *name, const char *spec)
{
    struct error err = ERROR_INIT;
    char json[1024];

    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"spec\":%s}", name, ns_name,
             spec);
    return apply(ENGINE_NETWORK_POLICY, &err, json);
}

/* Names of all dirty pods, "-name" for those that are gone, in a static buffer. */
static const char *drain(void)
{
    static char all[512];
    struct engine_update u;
    int r;

    all[0] = 0;
    while ((r = engine_next_dirty(engine, &u, NULL)) > 0) {
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s%s", all[0] ? " " : "",
                 u.rules ? "" : "-", u.name);
        engine_update_fini(&u);
    }
    cr_assert_eq(r, 0);
    return all;
}

static enum policy_verdict verdict(const char *name, enum policy_direction dir, const char *peer,
                                   int port)
{
    struct policy_rules *rules;
    struct policy_decision d;
    uint8_t addr[16];

    cr_assert_eq(engine_compile(engine, "a", name, &rules, NULL), 0);
    cr_assert(address_parse(peer, addr));
    d = policy_eval(rules, dir, addr, 6, port);
    policy_rules_free(rules);
    return d.verdict;
}

#define FROM_B                                                                                     \
    "{\"podSelector\":{\"matchLabels\":{\"app\":\"db\"}},\"ingress\":[{\"from\":[{"                \
    "\"namespaceSelector\":{\"matchLabels\":{\"env\":\"prod\"}},\"podSelector\":{\"matchLabels\":" \
    "{\"app\":\"web\"}}}]}]}"

static void small_cluster(void)
{
    ns("a", "", "Active");
    ns("b", "\"env\":\"prod\"", "Active");
    pod("a", "db", "here", "\"app\":\"db\"", "10.0.0.1", "");
    pod("a", "other", "here", "\"app\":\"other\"", "10.0.0.2", "");
    pod("b", "web", "there", "\"app\":\"web\"", "10.0.1.1", "");
    cr_assert_eq(policy("a", "p", FROM_B), 0);
    cr_assert_str_eq(drain(), "db other");
}

Test(engine, only_what_may_change_is_dirty)
{
    small_cluster();
    cr_expect_eq(verdict("db", POLICY_INGRESS, "10.0.1.1", 1), POLICY_ALLOW);
    pod("b", "web", "there", "\"app\":\"web\"", "10.0.1.1", "");
    cr_expect_str_eq(drain(), "", "nothing changed");
    pod("b", "unrelated", "there", "\"app\":\"x\"", "10.0.1.2", "");
    cr_expect_str_eq(drain(), "");
    pod("b", "web2", "there", "\"app\":\"web\"", "10.0.1.3", "");
    cr_expect_str_eq(drain(), "db");
    pod("b", "web2", "there", "\"app\":\"x\"", "10.0.1.3", "");
    cr_expect_str_eq(drain(), "db");
    cr_expect_eq(verdict("db", POLICY_INGRESS, "10.0.1.3", 1), POLICY_DENY);
    ns("b", "\"env\":\"test\"", "Active");
    cr_expect_str_eq(drain(), "db");
    ns("b", "\"env\":\"test\",\"more\":\"x\"", "Active");
    cr_expect_str_eq(drain(), "");
    pod("a", "other", "here", "\"app\":\"db\"", "10.0.0.2", "");
    cr_expect_str_eq(drain(), "other");
    cr_expect_eq(policy("a", "p", FROM_B), 0);
    cr_expect_str_eq(drain(), "", "the same policy again");
    cr_expect(engine_delete(engine, ENGINE_NETWORK_POLICY, "a", "p", NULL));
    cr_expect_str_eq(drain(), "db other");
}

Test(engine, peers_that_finish_or_move)
{
    small_cluster();
    pod("b", "web", "there", "\"app\":\"web\"", "10.0.1.1", ",\"phase\":\"Succeeded\"");
    cr_expect_str_eq(drain(), "db");
    cr_expect_eq(verdict("db", POLICY_INGRESS, "10.0.1.1", 1), POLICY_DENY);
    pod("b", "web", "there", "\"app\":\"web\"", "10.0.1.9", ",\"phase\":\"Running\"");
    cr_expect_str_eq(drain(), "db");
    cr_expect_eq(verdict("db", POLICY_INGRESS, "10.0.1.9", 1), POLICY_ALLOW);
    cr_expect(engine_delete(engine, ENGINE_POD, "b", "web", "u-web"));
    cr_expect_str_eq(drain(), "db");
}

Test(engine, local_pods_come_and_go)
{
    struct engine_pod view;

    small_cluster();
    cr_expect_not(engine_delete(engine, ENGINE_POD, "a", "db", "another-uid"));
    pod("a", "db", "here", "\"app\":\"db\"", "10.0.0.1", ",\"phase\":\"Failed\"");
    cr_expect_str_eq(drain(), "-db");
    cr_expect(engine_delete(engine, ENGINE_POD, "a", "other", NULL));
    cr_expect_str_eq(drain(), "-other");
    cr_assert(engine_find_pod(engine, "a", "db", &view));
    cr_expect(view.finished && view.local);
    cr_expect_eq(engine_count(engine, ENGINE_POD), 2);
}

Test(engine, recreated_pod_is_another_one)
{
    struct engine_update u;

    small_cluster();
    cr_assert_eq(apply(ENGINE_POD, NULL,
                       "{\"metadata\":{\"name\":\"db\",\"namespace\":\"a\",\"uid\":\"new\","
                       "\"labels\":{\"app\":\"db\"}},\"spec\":{\"nodeName\":\"here\"}}"),
                 0);
    cr_assert_eq(engine_next_dirty(engine, &u, NULL), 1);
    cr_expect_str_eq(u.uid, "u-db");
    cr_expect_null(u.rules);
    engine_update_fini(&u);
    cr_assert_eq(engine_next_dirty(engine, &u, NULL), 1);
    cr_expect_str_eq(u.uid, "new");
    cr_expect_not_null(u.rules);
    engine_update_fini(&u);
}

Test(engine, policy_outlives_its_namespaces_end)
{
    small_cluster();
    ns("a", "", "Terminating");
    (void)drain();
    cr_expect(engine_delete(engine, ENGINE_NETWORK_POLICY, "a", "p", NULL));
    cr_expect_str_eq(drain(), "");
    cr_expect_eq(verdict("db", POLICY_INGRESS, "9.9.9.9", 1), POLICY_DENY);
    cr_expect(engine_delete(engine, ENGINE_NAMESPACE, NULL, "a", NULL));
    cr_expect_eq(verdict("db", POLICY_INGRESS, "9.9.9.9", 1), POLICY_DENY);
    cr_expect(engine_delete(engine, ENGINE_POD, "a", "other", NULL));
    cr_expect_eq(engine_count(engine, ENGINE_NETWORK_POLICY), 1);
    cr_expect(engine_delete(engine, ENGINE_POD, "a", "db", NULL));
    cr_expect_eq(engine_count(engine, ENGINE_NETWORK_POLICY), 0);
    (void)drain();
}

Test(engine, namespaces_not_known_yet)
{
    pod("a", "db", "here", "\"app\":\"db\"", "10.0.0.1", "");
    pod("b", "web", "there", "\"app\":\"web\"", "10.0.1.1", "");
    cr_assert_eq(policy("a", "p",
                        "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"namespaceSelector\":"
                        "{\"matchExpressions\":[{\"key\":\"env\",\"operator\":\"DoesNotExist\"}]}}"
                        "]}]}"),
                 0);
    cr_expect_str_eq(drain(), "db");
    cr_expect_eq(verdict("db", POLICY_INGRESS, "10.0.1.1", 1), POLICY_DENY);
    ns("b", "", "Active");
    cr_expect_str_eq(drain(), "db");
    cr_expect_eq(verdict("db", POLICY_INGRESS, "10.0.1.1", 1), POLICY_ALLOW);
}

Test(engine, named_port_of_a_destination_moves)
{
    small_cluster();
    cr_assert_eq(policy("a", "out",
                        "{\"podSelector\":{\"matchLabels\":{\"app\":\"other\"}},\"policyTypes\":["
                        "\"Egress\"],\"egress\":[{\"to\":[{\"namespaceSelector\":{}}],\"ports\":[{"
                        "\"port\":\"http\"}]}]}"),
                 0);
    cr_expect_str_eq(drain(), "other");
    cr_expect_eq(verdict("other", POLICY_EGRESS, "10.0.1.1", 80), POLICY_ALLOW);
    cr_assert_eq(apply(ENGINE_POD, NULL,
                       "{\"metadata\":{\"name\":\"web\",\"namespace\":\"b\",\"uid\":\"u-web\","
                       "\"labels\":{\"app\":\"web\"}},\"spec\":{\"nodeName\":\"there\","
                       "\"containers\":[{\"ports\":[{\"name\":\"http\",\"containerPort\":81}]}]},"
                       "\"status\":{\"podIP\":\"10.0.1.1\"}}"),
                 0);
    cr_expect(strstr(drain(), "other") != NULL);
    cr_expect_eq(verdict("other", POLICY_EGRESS, "10.0.1.1", 80), POLICY_DENY);
    cr_expect_eq(verdict("other", POLICY_EGRESS, "10.0.1.1", 81), POLICY_ALLOW);
}

Test(engine, relist_deletes_what_is_missing)
{
    small_cluster();
    engine_relist_begin(engine, ENGINE_POD);
    pod("a", "db", "here", "\"app\":\"db\"", "10.0.0.1", "");
    engine_relist_end(engine, ENGINE_POD);
    cr_expect_eq(engine_count(engine, ENGINE_POD), 1);
    cr_expect_str_eq(drain(), "-other db");
    engine_relist_begin(engine, ENGINE_NETWORK_POLICY);
    engine_relist_end(engine, ENGINE_NETWORK_POLICY);
    cr_expect_str_eq(drain(), "db");
}

static int keep_problem(const struct engine_policy *p, void *arg)
{
    if (p->problem)
        snprintf(arg, 300, "%s|%s|%zu", p->path, p->problem, p->local_pods);
    return 0;
}

Test(engine, inexpressible_is_reported)
{
    struct engine_update u;
    char seen[300] = "";

    small_cluster();
    cr_expect_eq(policy("a", "bad",
                        "{\"podSelector\":{\"matchLabels\":{\"app\":\"db\"}},"
                        "\"ingress\":[{\"ports\":[{\"port\":0}]}]}"),
                 ENGINE_INEXPRESSIBLE);
    cr_expect_str_eq(engine_error_path(engine), "spec.ingress[0].ports[0].port");
    cr_assert_eq(engine_next_dirty(engine, &u, NULL), 1);
    cr_expect_str_eq(u.name, "db");
    cr_expect(strstr(u.problem, "NetworkPolicy a/bad: spec.ingress[0].ports[0].port: 0") != NULL);
    cr_expect_eq(u.rules->dir[POLICY_INGRESS].rules[0].origin, POLICY_ORIGIN_INEXPRESSIBLE);
    engine_update_fini(&u);
    (void)engine_each_policy(engine, keep_problem, seen);
    cr_expect_str_eq(seen, "spec.ingress[0].ports[0].port|NetworkPolicy a/bad: "
                           "spec.ingress[0].ports[0].port: 0: not within 1..65535|1");
    cr_expect_eq(policy("a", "bad", FROM_B), 0);
    cr_assert_eq(engine_next_dirty(engine, &u, NULL), 1);
    cr_expect_null(u.problem);
    engine_update_fini(&u);
}

Test(engine, addresses_and_their_owners)
{
    struct engine_pod view;
    uint8_t addr[16];

    small_cluster();
    cr_assert(address_parse("10.0.1.1", addr));
    cr_assert(engine_find_address(engine, addr, &view));
    cr_expect_str_eq(view.name, "web");
    pod("b", "web", "there", "\"app\":\"web\"", "10.0.1.1", ",\"phase\":\"Failed\"");
    cr_expect_not(engine_find_address(engine, addr, &view));
    pod("b", "next", "there", "", "10.0.1.1", "");
    cr_assert(engine_find_address(engine, addr, &view));
    cr_expect_str_eq(view.name, "next");
}

Test(engine, refuses_other_kinds)
{
    struct error err = ERROR_INIT;

    cr_expect_eq(apply(ENGINE_POD, &err, "{\"kind\":\"Service\",\"apiVersion\":\"v1\"}"), -EINVAL);
    cr_expect(strstr(err.msg, "Service") != NULL);
    cr_expect_eq(apply(ENGINE_POD, &err, "{\"metadata\":{\"name\":7}}"), -EINVAL);
    cr_expect_str_eq(err.msg, "Pod: metadata.name: not a string");
}
