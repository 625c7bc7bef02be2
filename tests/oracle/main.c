/*
 * Compares the compiler with the oracle on seeded random clusters. Each seed is one engine that
 * lives through several states, so that incremental compilation is compared, too.
 *   oracle [--first SEED] [--count N] [--steps N] [--probes N] [--dump SEED]
 * --dump prints a seed's documents with what the oracle expects, for `bermctl policy test
 * --expect`.
 */
#include "tests/oracle/generate.h"
#include "tests/oracle/seeds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct totals {
    size_t probes, allowed, failures;
};

static void compare(struct cluster *c, const json_t *doc, const json_t *row, unsigned long seed,
                    unsigned long step, struct totals *t)
{
    bool expected = seeds_oracle_says(doc, row);
    struct probe_result r;
    char *text;

    t->probes++;
    t->allowed += expected;
    if (seeds_compiler_says(c, row, &r) == expected)
        return;
    text = json_dumps(row, JSON_COMPACT);
    if (t->failures++ < 10)
        printf("# seed %lu step %lu: %s: oracle %s, compiler %s (%s, %s)\n", seed, step, text,
               expected ? "allow" : "deny", expected ? "deny" : "allow", r.egress, r.ingress);
    free(text);
}

static void run_seed(const struct seeds_options *o, unsigned long seed, struct totals *t)
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

static void dump_seed(const struct seeds_options *o, unsigned long seed)
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

            json_array_append_new(row,
                                  json_string(seeds_oracle_says(g.doc, row) ? "allow" : "deny"));
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

int main(int argc, char **argv)
{
    struct seeds_options o = {.first = 1, .count = 1000, .steps = 4, .probes = 16, .dump = -1};
    struct totals t = {0};

    if (!seeds_parse(argc, argv, true, &o)) {
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
