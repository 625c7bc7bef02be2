#pragma once
/* Text exposition of the table in metrics.def: Prometheus 0.0.4 and OpenMetrics 1.0.0. */
#include "common/buf.h"

#include <stdbool.h>

struct agent;

/* Appends all families. 0 or -ENOMEM. */
int metrics_render(struct agent *a, bool openmetrics, struct buf *out);

/* What a collector writes with: one sample of the family that is being rendered. */
struct metric_writer;
void metric_sample(struct metric_writer *w, double value, ...); /* label values, then NULL */

struct metric_pod_stats;
struct metric_scrape {
    struct agent *agent;
    struct metric_pod_stats *pods; /* read once a scrape */
    size_t n_pods;
};
