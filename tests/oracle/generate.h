#pragma once
/* Small adversarial clusters from a seed, and steps from one to the next. */
#include <jansson.h>
#include <stdint.h>

struct generator {
    uint64_t state;
    json_t *doc;
};

void generator_init(struct generator *g, uint64_t seed);
void generator_fini(struct generator *g);
/* Changes some objects of the cluster: relabels, deletes, adds, reuses addresses... */
void generator_step(struct generator *g);
/* Fills one probe, [SRC, DST, PROTOCOL, PORT, FAMILY] (new reference). */
json_t *generator_probe(struct generator *g);
