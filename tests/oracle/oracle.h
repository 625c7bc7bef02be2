#pragma once
/*
 * The second opinion: says what a cluster of the `bermctl policy test` format allows, by reading
 * the objects anew for each question, clause by clause as the API describes them. Slow, no caches,
 * no compilation; shares no code with policy/. Meant for clusters that are valid but for the
 * policies.
 */
#include <jansson.h>
#include <stdbool.h>

/* One probe in one document; family 4 or 6. false: denied, or there is no such pod or address. */
bool oracle_allows(const json_t *doc, const char *src, const char *dst, const char *protocol,
                   int port, int family);
