#include "agent/metrics/registry.h"

#include "agent/agent.h"
#include "agent/metrics/collect.h"
#include "common/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

enum type { COUNTER, GAUGE };

struct row {
    void (*collect)(const struct metric_scrape *s, struct metric_writer *w);
    enum type type;
    const char *name, *unit, *labels, *help;
};

static const struct row rows[] = {
#define METRIC(collector, type, name, unit, labels, help)                                          \
    {collect_##collector, type, name, unit, labels, help},
#include "agent/metrics/metrics.def"
#undef METRIC
};

struct metric_writer {
    const struct row *row;
    struct buf *out;
    int r;
};

static int put_escaped(struct buf *out, const char *s)
{
    int r = 0;

    for (; *s && r == 0; s++) {
        if (*s == '\n')
            r = buf_puts(out, "\\n");
        else if (*s == '"' || *s == '\\')
            r = buf_printf(out, "\\%c", *s);
        else
            r = buf_append(out, s, 1);
    }
    return r;
}

static int put_labels(struct buf *out, const char *names, va_list *ap)
{
    int r = *names ? buf_puts(out, "{") : 0;
    const char *p = names;

    while (*p && r == 0) {
        size_t n = strcspn(p, ",");
        const char *value = va_arg(*ap, const char *);

        r = buf_printf(out, "%s%.*s=\"", p == names ? "" : ",", (int)n, p);
        if (r == 0)
            r = put_escaped(out, value);
        if (r == 0)
            r = buf_puts(out, "\"");
        p += n + (p[n] == ',');
    }
    return *names && r == 0 ? buf_puts(out, "}") : r;
}

void metric_sample(struct metric_writer *w, double value, ...)
{
    va_list ap;

    if (w->r < 0)
        return;
    w->r = buf_puts(w->out, w->row->name);
    va_start(ap, value);
    if (w->r == 0)
        w->r = put_labels(w->out, w->row->labels, &ap);
    va_end(ap);
    if (w->r == 0)
        w->r = buf_printf(w->out, " %.17g\n", value);
}

static int render_family(const struct metric_scrape *s, const struct row *row, bool openmetrics,
                         struct buf *out)
{
    struct metric_writer w = {.row = row, .out = out};
    size_t n = strlen(row->name);
    int r;

    /* OpenMetrics names a counter's family without the suffix. */
    if (openmetrics && row->type == COUNTER)
        n -= strlen("_total");
    r = buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)n, row->name, row->help, (int)n,
                   row->name, row->type == COUNTER ? "counter" : "gauge");
    if (r == 0 && openmetrics && *row->unit)
        r = buf_printf(out, "# UNIT %.*s %s\n", (int)n, row->name, row->unit);
    if (r < 0)
        return r;
    row->collect(s, &w);
    return w.r;
}

int metrics_render(struct agent *a, bool openmetrics, struct buf *out)
{
    struct metric_scrape s = {.agent = a};
    int r = metric_read_pods(&s);

    for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
        r = render_family(&s, &rows[i], openmetrics, out);
    free(s.pods);
    if (r == 0 && openmetrics)
        r = buf_puts(out, "# EOF\n");
    return r;
}
