/*
 * The oracle against real packets: seeded random clusters are put in force on a node with seven
 * pods, and packets are sent between them and the world, first with frames that only the devices'
 * programs see, then by sockets in the pods' cgroups, with the devices' programs taken away.
 *   packets [--first SEED] [--count N] [--steps N] [--probes N]
 *
 * All of a cluster's pods are on this one node. Left out are probes whose end is the node itself or
 * a pod on its network, or is no longer there.
 */
#include "common/cleanup.h"
#include "policy/address.h"
#include "tests/oracle/generate.h"
#include "tests/oracle/packets/wire.h"
#include "tests/oracle/seeds.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 };

struct totals {
    size_t probes, allowed, failures;
    bool quiet;
};

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static bool has_network(const json_t *pod)
{
    return !json_is_true(json_object_get(pod, "hostNetwork")) &&
           strcmp(text(pod, "phase"), "Succeeded") != 0 &&
           strcmp(text(pod, "phase"), "Failed") != 0;
}

static unsigned index_of(const json_t *pod)
{
    return (unsigned)atoi(text(pod, "name") + 1);
}

/* -- a cluster in force -------------------------------------------------------------------------
 */

static void read_addresses(struct wire *w, const json_t *doc)
{
    const json_t *pod, *ip;
    size_t i, k;

    for (i = 0; i < WIRE_PODS; i++)
        *w->hosts[i].v4 = *w->hosts[i].v6 = '\0';
    json_array_foreach(json_object_get(doc, "pods"), i, pod)
    {
        struct wire_host *h = &w->hosts[index_of(pod)];

        if (!has_network(pod))
            continue;
        json_array_foreach(json_object_get(pod, "ips"), k, ip)
        {
            const char *s = json_string_value(ip);

            (void)snprintf(strchr(s, ':') ? h->v6 : h->v4, sizeof(h->v4), "%s", s);
        }
    }
}

static bool put_in_force(struct wire *w, struct cluster *c, const json_t *doc)
{
    struct error err = ERROR_INIT;
    const json_t *pod;
    size_t i;

    read_addresses(w, doc);
    wire_address(w);
    json_array_foreach(json_object_get(doc, "pods"), i, pod)
    {
        struct policy_rules *rules;
        int r;

        if (!has_network(pod))
            continue;
        r = engine_compile(c->engine, text(pod, "ns"), text(pod, "name"), &rules, &err);
        if (r == 0) {
            r = enforce_set_rules(w->e, w->hosts[index_of(pod)].uid, rules, &err);
            policy_rules_free(rules);
        }
        if (r < 0) {
            tap_ok(false, "%s/%s: %s", text(pod, "ns"), text(pod, "name"), err.msg);
            return false;
        }
    }
    return true;
}

/* -- probes
 * ---------------------------------------------------------------------------------------- */

static bool is_node(const json_t *doc, const char *address)
{
    const json_t *o;
    size_t i;

    if (strcmp(address, "10.0.0.14") == 0 || strcmp(address, "10.0.0.15") == 0)
        return true;
    json_array_foreach(json_object_get(doc, "nodes"), i, o)
    {
        if (strcmp(json_string_value(json_array_get(json_object_get(o, "ips"), 1)), address) == 0)
            return true;
    }
    return false;
}

static const json_t *pod_by(const json_t *doc, const char *name, const char *address)
{
    char full[160];
    const json_t *pod;
    size_t i;

    json_array_foreach(json_object_get(doc, "pods"), i, pod)
    {
        (void)snprintf(full, sizeof(full), "%s/%s", text(pod, "ns"), text(pod, "name"));
        if (name && strcmp(full, name) == 0)
            return pod;
        for (size_t k = 0; address && has_network(pod) && k < 2; k++) {
            const char *ip = json_string_value(json_array_get(json_object_get(pod, "ips"), k));

            if (ip && strcmp(ip, address) == 0)
                return pod;
        }
    }
    return NULL;
}

/* One end: whose it is, and its address. false: not one that can be played here. */
static bool find_end(struct wire *w, const json_t *doc, const char *end, int family,
                     struct wire_host **ret_host, const char **ret_address)
{
    bool named = strchr(end, '/') != NULL;
    const json_t *pod = pod_by(doc, named ? end : NULL, named ? NULL : end);

    if (pod && !has_network(pod))
        return false;
    *ret_host = &w->hosts[pod ? index_of(pod) : WIRE_WORLD];
    *ret_address = !pod ? end : family == 6 ? (*ret_host)->v6 : (*ret_host)->v4;
    return (pod || !named) && **ret_address && !is_node(doc, *ret_address);
}

static bool make_probe(struct wire *w, const json_t *doc, const json_t *row, struct wire_probe *p)
{
    p->protocol = protocol_parse(json_string_value(json_array_get(row, 2)));
    p->port = (int)json_integer_value(json_array_get(row, 3));
    p->family = json_string_value(json_array_get(row, 4))[0] - '0';
    return find_end(w, doc, json_string_value(json_array_get(row, 0)), p->family, &p->from,
                    &p->src) &&
           find_end(w, doc, json_string_value(json_array_get(row, 1)), p->family, &p->to,
                    &p->dst) &&
           p->from != p->to;
}

/* Which program denied something since then, for a failure's report. */
static const char *denied_since(struct wire *w, const struct wire_host *h,
                                const struct enforce_stats *before)
{
    struct enforce_stats now;

    if (enforce_stats(w->e, h->uid, &now, NULL) < 0)
        return "-";
    for (int e = 0; e < BERM_ENGINE_MAX; e++)
        for (int d = 0; d < BERM_DIRECTION_MAX; d++)
            for (int r = 1; r < BERM_REASON_MAX; r++)
                if (now.engine[e].denied[d][r] > before->engine[e].denied[d][r])
                    return enforce_reason_name((enum berm_reason)r);
    return "nothing";
}

static void compare(struct wire *w, struct cluster *c, const json_t *doc, const json_t *row,
                    bool sockets, unsigned long seed, struct totals *t)
{
    struct wire_probe p;
    struct enforce_stats from = {0}, to = {0};
    struct probe_result said;
    bool expected, compiler, came;
    char *line;

    if (!make_probe(w, doc, row, &p))
        return;
    expected = seeds_oracle_says(doc, row);
    compiler = seeds_compiler_says(c, row, &said);
    (void)enforce_stats(w->e, p.from->uid, &from, NULL);
    (void)enforce_stats(w->e, p.to->uid, &to, NULL);
    came = sockets ? wire_socket_arrives(w, &p) : wire_frame_arrives(w, &p);
    for (int i = 0; expected && !came && i < TRIES; i++) { /* what must not come is never retried */
        wire_mend(w, &p);
        came = sockets ? wire_socket_arrives(w, &p) : wire_frame_arrives(w, &p);
    }
    t->probes++;
    t->allowed += came;
    if (came == expected && compiler == expected)
        return;
    line = json_dumps(row, JSON_COMPACT);
    if (t->failures++ < 10 && !t->quiet)
        printf("# seed %lu, %s: %s (%s to %s): oracle %s, compiler %s, packet %s; "
               "denied by sender's: %s, receiver's: %s\n",
               seed, sockets ? "cgroups" : "devices", line, p.src, p.dst,
               expected ? "allow" : "deny", compiler ? "allow" : "deny",
               came ? "came" : "did not come", denied_since(w, p.from, &from),
               denied_since(w, p.to, &to));
    free(line);
}

static void run_seed(struct wire *w, const struct seeds_options *o, unsigned long seed,
                     bool sockets, struct totals *t)
{
    struct generator g;
    struct cluster c;

    if (cluster_init(&c, "generated", NULL) < 0)
        exit(2);
    generator_init(&g, seed);
    for (unsigned long step = 0; step < o->steps; step++) {
        if (step)
            generator_step(&g);
        cluster_play(&c, step, g.doc);
        if (!put_in_force(w, &c, g.doc))
            break;
        for (unsigned long i = 0; i < o->probes; i++) {
            json_t *row = generator_probe(&g);

            compare(w, &c, g.doc, row, sockets, seed, t);
            json_decref(row);
        }
    }
    generator_fini(&g);
    cluster_fini(&c);
}

/* The engine is off: what the oracle denies must show as differences. */
static void control(struct wire *w, const struct seeds_options *o)
{
    struct totals t = {.quiet = true};

    (void)enforce_policy_set(w->e, BERM_MODE_NONE, NULL);
    for (unsigned long i = 0; i < 3; i++)
        run_seed(w, o, o->first + i, true, &t);
    tap_ok(t.failures > 0 && t.allowed == t.probes,
           "control: with the policy engine off all %zu packets come, %zu of them denied ones",
           t.probes, t.failures);
}

int main(int argc, char **argv)
{
    static struct wire w;
    struct seeds_options o = {.first = 1, .count = 20, .steps = 2, .probes = 24, .dump = -1};

    if (!seeds_parse(argc, argv, false, &o)) {
        fprintf(stderr, "usage: packets [--first N] [--count N] [--steps N] [--probes N]\n");
        return 2;
    }
    /* Invalid policies are part of the game; their complaints are not of interest here. */
    if (!freopen("/dev/null", "w", stderr))
        return 2;
    wire_open(&w);
    for (int sockets = 0; sockets < 2; sockets++) {
        struct totals t = {0};

        if (sockets)
            wire_cgroups_only(&w);
        for (unsigned long i = 0; i < o.count; i++)
            run_seed(&w, &o, o.first + i, sockets, &t);
        tap_ok(t.failures == 0 && t.allowed > 0 && t.allowed < t.probes,
               "%s, compiler and oracle agree on %lu clusters: %zu packets, of which %zu came",
               sockets ? "programs on cgroups" : "programs on devices", o.count, t.probes,
               t.allowed);
    }
    control(&w, &o);
    wire_close(&w);
    return tap_end();
}
