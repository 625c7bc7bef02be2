#pragma once
/* What metrics and bermctl show of a cluster. All are fine (and empty) in stand-alone mode. */
#include <jansson.h>
#include <stdbool.h>

struct agent;

unsigned kube_count_pods(const struct agent *a, bool sandboxed, const char *phase);
unsigned kube_count_sandboxes(const struct agent *a); /* that were armed and not deleted */
void kube_count_json(const struct agent *a, unsigned *ret_pods, unsigned *ret_sandboxes);
/* Appends the pods of this node, with the keys that the runner's pods have where there are such. */
void kube_list_pods(const struct agent *a, json_t *list);
