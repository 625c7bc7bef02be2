#pragma once
/* Collectors: one function per row of metrics.def. */
#include "agent/metrics/registry.h"

#define METRIC(collector, type, name, unit, labels, help)                                          \
    void collect_##collector(const struct metric_scrape *s, struct metric_writer *w);
#include "agent/metrics/metrics.def"
#undef METRIC

/* Fills s->pods with the counters of all armed pods. */
int metric_read_pods(struct metric_scrape *s);
