#include "tests/oracle/seeds.h"

#include "policy/address.h"
#include "tests/oracle/oracle.h"

#include <stdlib.h>
#include <string.h>

bool seeds_oracle_says(const json_t *doc, const json_t *row)
{
    return oracle_allows(
        doc, json_string_value(json_array_get(row, 0)), json_string_value(json_array_get(row, 1)),
        json_string_value(json_array_get(row, 2)), (int)json_integer_value(json_array_get(row, 3)),
        json_string_value(json_array_get(row, 4))[0] - '0');
}

bool seeds_compiler_says(struct cluster *c, const json_t *row, struct probe_result *r)
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

bool seeds_parse(int argc, char **argv, bool may_dump, struct seeds_options *o)
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
        else if (may_dump && strcmp(argv[i], "--dump") == 0)
            o->dump = (long)v;
        else
            return false;
    }
    return argc % 2 == 1;
}
