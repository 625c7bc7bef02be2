/*
 * Compares the compiler with the oracle on seeded random clusters. Each seed is one engine that
 * lives through several states, so that incremental compilation is compared, too.
 *   oracle [--first SEED] [--count N] [--steps N] [--probes N] [--dump SEED]
 * --dump prints a seed's documents with what the oracle expects, for `bermctl policy test
 * --expect`.
 */
#include "agent/ctl/policy_cluster.h"
#include "policy/address.h"
#include "tests/oracle/generate.h"
#include "tests/oracle/oracle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    unsigned long first, count, steps, probes;
    long dump;
};

struct totals {
    size_t probes, allowed, failures;
};

static bool expected_of(const json_t *doc, const json_t *row)
{
    return oracle_allows(
        doc, json_string_value(json_array_get(row, 0)), json_string_value(json_array_get(row, 1)),
        json_string_value(json_array_get(row, 2)), (int)json_integer_value(json_array_get(row, 3)),
        json_string_value(json_array_get(row, 4))[0] - '0');
}

static bool engine_says(struct cluster *c, const json_t *row, struct probe_result *r)
{
    struct error err = ERROR_INIT;
    struct probe p = {
        .src = json_string_value(json_array_get(row, 0)),
        .dst = json_string_value(json_array_get(row, 1)),
        .protocol = protocol_parse(json_string_value(json_array_get(row, 2))),
        .port = (int)json_integer_value(json_array_get(row, 3)),
        .family = json_string_value(json_array_get(row, 4))[0] - '0',
    };

    *r = (struct probe_result){.egress = "-", .ingress = "-"};
    return cluster_probe(c, &p, r, &err) == 0 && r->allow;
}

static void compare(struct cluster *c, const json_t *doc, const json_t *row, unsigned long seed,
                    unsigned long step, struct totals *t)
{
    bool expected = expected_of(doc, row);
    struct probe_result r;
    char *text;

    t->probes++;
    t->allowed += expected;
    if (engine_says(c, row, &r) == expected)
        return;
    text = json_dumps(row, JSON_COMPACT);
    if (t->failures++ < 10)
        printf("# seed %lu step %lu: %s: oracle %s, compiler %s (%s, %s)\n", seed, step, text,
               expected ? "allow" : "deny", expected ? "deny" : "allow", r.egress, r.ingress);
    free(text);
}

static void run_seed(const struct options *o, unsigned long seed, struct totals *t)
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
        for (unsigned long i = 0; i < o->probes; i++) {
            json_t *row = generator_probe(&g);

            compare(&c, g.doc, row, seed, step, t);
            json_decref(row);
        }
    }
    generator_fini(&g);
    cluster_fini(&c);
}

static void dump_seed(const struct options *o, unsigned long seed)
{
    json_t *docs = json_array();
    struct generator g;

    generator_init(&g, seed);
    for (unsigned long step = 0; step < o->steps; step++) {
        json_t *doc, *probes = json_array();

        if (step)
            generator_step(&g);
        doc = json_deep_copy(g.doc);
        for (unsigned long i = 0; i < o->probes; i++) {
            json_t *row = generator_probe(&g);

            json_array_append_new(row, json_string(expected_of(g.doc, row) ? "allow" : "deny"));
            json_array_append_new(probes, row);
        }
        json_object_set_new(doc, "probes", probes);
        json_array_append_new(docs, doc);
    }
    json_dumpf(docs, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(docs);
    generator_fini(&g);
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long v = strtoul(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--first") == 0)
            o->first = v;
        else if (strcmp(argv[i], "--count") == 0)
            o->count = v;
        else if (strcmp(argv[i], "--steps") == 0)
            o->steps = v;
        else if (strcmp(argv[i], "--probes") == 0)
            o->probes = v;
        else if (strcmp(argv[i], "--dump") == 0)
            o->dump = (long)v;
        else
            return false;
    }
    return argc % 2 == 1;
}

int main(int argc, char **argv)
{
    struct options o = {.first = 1, .count = 1000, .steps = 4, .probes = 16, .dump = -1};
    struct totals t = {0};

    if (!parse(argc, argv, &o)) {
        fprintf(stderr,
                "usage: oracle [--first N] [--count N] [--steps N] [--probes N] [--dump N]\n");
        return 2;
    }
    if (o.dump >= 0) {
        dump_seed(&o, (unsigned long)o.dump);
        return 0;
    }
    /* Invalid policies are part of the game; their complaints are not of interest here. */
    if (!freopen("/dev/null", "w", stderr))
        return 2;
    for (unsigned long i = 0; i < o.count; i++)
        run_seed(&o, o.first + i, &t);
    printf("# %lu clusters, %zu probes, %zu allowed, %zu differences\n", o.count, t.probes,
           t.allowed, t.failures);
    return t.failures ? 1 : 0;
}
