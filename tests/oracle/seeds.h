#pragma once
/* What the comparisons share: which seeds, and what oracle and compiler say of a probe's row. */
#include "agent/ctl/policy_cluster.h"

#include <jansson.h>
#include <stdbool.h>

struct seeds_options {
    unsigned long first, count, steps, probes;
    long dump; /* -1: none */
};

/* Of --first, --count, --steps, --probes and, if may_dump, --dump; each with a number. */
bool seeds_parse(int argc, char **argv, bool may_dump, struct seeds_options *o);

bool seeds_oracle_says(const json_t *doc, const json_t *row);
/* r: as cluster_probe leaves it. */
bool seeds_compiler_says(struct cluster *c, const json_t *row, struct probe_result *r);
