#include "agent/kube/collect.h"

#include "agent/agent.h"
#include "agent/metrics/collect.h"

#include <string.h>

#define DONE ((const char *)NULL)

/* A pod is sandboxed if berm asked for it to be armed; before that its class is all there is. */
static bool is_sandboxed(const struct agent *a, const struct node_pod *p)
{
    return (p->armed && !p->foreign) || kube_source_sandboxes(&a->kube, p->runtime_class);
}

unsigned kube_count_pods(const struct agent *a, bool sandboxed, const char *phase)
{
    const struct node_pod *p;
    unsigned n = 0;

    if (!agent_in_cluster(a))
        return 0;
    list_for_each_entry (p, &a->kube.pods.pods, link)
        n += p->listed && is_sandboxed(a, p) == sandboxed && strcmp(p->phase, phase) == 0;
    return n;
}

unsigned kube_count_sandboxes(const struct agent *a)
{
    const struct node_pod *p;
    unsigned n = 0;

    if (!agent_in_cluster(a))
        return 0;
    list_for_each_entry (p, &a->kube.pods.pods, link)
        n += p->armed && !p->foreign;
    return n;
}

void kube_count_json(const struct agent *a, unsigned *ret_pods, unsigned *ret_sandboxes)
{
    const struct node_pod *p;

    list_for_each_entry (p, &a->kube.pods.pods, link) {
        *ret_pods += p->listed;
        *ret_sandboxes += p->listed && is_sandboxed(a, p);
    }
}

void kube_list_pods(const struct agent *a, json_t *list)
{
    const struct node_pod *p;

    list_for_each_entry (p, &a->kube.pods.pods, link)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:s, s:s, s:i, "
                            "s:i, s:i, s:s, s:[]}",
                            "namespace", p->ns, "name", p->name, "uid", p->uid, "phase",
                            *p->phase ? p->phase : "Unknown", "sandboxed", (int)is_sandboxed(a, p),
                            "armed", (int)p->armed, "listed", (int)p->listed, "hostNetwork",
                            (int)p->host_network, "static", (int)p->mirror, "sandbox", p->sandbox,
                            "ip", "", "ip6", "", "ready", 0, "containersWanted", 0, "restarts", 0,
                            "error", "", "containers"));
}

/* -- metrics, one sample a collection -------------------------------------------------------- */

typedef double (*value_fn)(const struct reflector *r);

static void each(const struct metric_scrape *s, struct metric_writer *w, value_fn fn, bool seen)
{
    const struct kube_source *k = &s->agent->kube;

    for (size_t i = 0; i < k->n_views; i++)
        if (!seen || k->views[i].reflector.synced)
            metric_sample(w, fn(&k->views[i].reflector), k->views[i].reflector.config.name, DONE);
}

#define VALUE(metric, seen, expression)                                                            \
    static double metric(const struct reflector *r)                                                \
    {                                                                                              \
        return (double)(expression);                                                               \
    }                                                                                              \
    void collect_##metric(const struct metric_scrape *s, struct metric_writer *w)                  \
    {                                                                                              \
        each(s, w, metric, seen);                                                                  \
    }

VALUE(api_age, true, (double)reflector_age_ms(r) / 1000)
VALUE(api_synced, false, r->synced)
VALUE(api_objects, false, r->known.count)
VALUE(api_lists, false, r->count.lists)
VALUE(api_watches, false, r->count.watches)
VALUE(api_events, false, r->count.events)
VALUE(api_failures, false, r->count.failures)
VALUE(api_refused, false, r->count.refused)

void collect_api_bytes(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->kube.http.count.bytes, DONE);
}

void collect_api_posts(const struct metric_scrape *s, struct metric_writer *w)
{
    const struct kube_events *e = &s->agent->events;

    metric_sample(w, (double)e->count.sent, "sent", DONE);
    metric_sample(w, (double)e->count.failed, "failed", DONE);
    metric_sample(w, (double)e->count.dropped, "dropped", DONE);
}

void collect_cri_looks(const struct metric_scrape *s, struct metric_writer *w)
{
    const struct others *o = &s->agent->others;

    metric_sample(w, (double)(o->count.looks - o->count.failures), "answered", DONE);
    metric_sample(w, (double)o->count.failures, "failed", DONE);
}
