/* Collectors of what guard and policy did. */
#include "agent/agent.h"
#include "agent/metrics/collect.h"
#include "agent/modes.h"

#include <errno.h>
#include <string.h>

#define DONE ((const char *)NULL)

static const char *const directions[BERM_DIRECTION_MAX] = {"egress", "ingress"};

struct metric_pod_stats {
    const char *ns, *name;
    struct enforce_stats stats;
};

static void read_pod(struct metric_scrape *s, const char *uid, const char *ns, const char *name)
{
    struct metric_pod_stats *m = &s->pods[s->n_pods];
    struct error err = ERROR_INIT;

    m->ns = ns;
    m->name = name;
    if (s->agent->enforce && enforce_stats(s->agent->enforce, uid, &m->stats, &err) == 0)
        s->n_pods++;
}

/* A pod whose object is deleted has no series any more, though it may still run: another pod may
 * have its name. */
int metric_read_pods(struct metric_scrape *s)
{
    const struct agent *a = s->agent;
    const struct node_pod *k;
    const struct pod *p;
    size_t n = agent_in_cluster(a) ? a->kube.pods.count : 0;

    list_for_each_entry (p, &a->runner.pods, link)
        n++;
    s->pods = calloc(n + 1, sizeof(*s->pods));
    if (!s->pods)
        return -ENOMEM;
    list_for_each_entry (p, &a->runner.pods, link)
        read_pod(s, p->uid, p->ns, p->name);
    if (agent_in_cluster(a))
        list_for_each_entry (k, &a->kube.pods.pods, link)
            if (k->listed && k->armed)
                read_pod(s, k->uid, k->ns, k->name);
    return 0;
}

void collect_pod_packets(const struct metric_scrape *s, struct metric_writer *w)
{
    for (size_t i = 0; i < s->n_pods; i++)
        for (int d = 0; d < BERM_DIRECTION_MAX; d++)
            metric_sample(w, (double)s->pods[i].stats.engine[BERM_ENGINE_POLICY].packets[d],
                          s->pods[i].ns, s->pods[i].name, directions[d], DONE);
}

void collect_pod_bytes(const struct metric_scrape *s, struct metric_writer *w)
{
    for (size_t i = 0; i < s->n_pods; i++)
        for (int d = 0; d < BERM_DIRECTION_MAX; d++)
            metric_sample(w, (double)s->pods[i].stats.engine[BERM_ENGINE_POLICY].bytes[d],
                          s->pods[i].ns, s->pods[i].name, directions[d], DONE);
}

/* Only reasons that occurred: else each pod would show some fifty zeros. */
static void denied(const struct metric_scrape *s, struct metric_writer *w, enum berm_engine engine)
{
    for (size_t i = 0; i < s->n_pods; i++)
        for (int d = 0; d < BERM_DIRECTION_MAX; d++)
            for (int reason = 0; reason < BERM_REASON_MAX; reason++) {
                uint64_t n = s->pods[i].stats.engine[engine].denied[d][reason];

                if (n)
                    metric_sample(w, (double)n, s->pods[i].ns, s->pods[i].name, directions[d],
                                  enforce_reason_name((enum berm_reason)reason), DONE);
            }
}

void collect_pod_guard_denied(const struct metric_scrape *s, struct metric_writer *w)
{
    denied(s, w, BERM_ENGINE_GUARD);
}

void collect_pod_policy_denied(const struct metric_scrape *s, struct metric_writer *w)
{
    denied(s, w, BERM_ENGINE_POLICY);
}

void collect_pod_audited(const struct metric_scrape *s, struct metric_writer *w)
{
    for (size_t i = 0; i < s->n_pods; i++)
        for (int d = 0; d < BERM_DIRECTION_MAX; d++)
            metric_sample(w, (double)s->pods[i].stats.engine[BERM_ENGINE_POLICY].audited[d],
                          s->pods[i].ns, s->pods[i].name, directions[d], DONE);
}

void collect_events_lost(const struct metric_scrape *s, struct metric_writer *w)
{
    static const char *const engines[BERM_ENGINE_MAX] = {"guard", "policy"};

    for (int e = 0; e < BERM_ENGINE_MAX; e++) {
        uint64_t n = 0;

        for (size_t i = 0; i < s->n_pods; i++)
            n += s->pods[i].stats.engine[e].events_lost;
        metric_sample(w, (double)n, engines[e], DONE);
    }
}

static void mode(struct metric_writer *w, bool known, enum berm_mode now)
{
    for (int m = 0; known && m <= BERM_MODE_ALL; m++)
        metric_sample(w, (int)now == m, mode_name((enum berm_mode)m), DONE);
}

void collect_guard_mode(const struct metric_scrape *s, struct metric_writer *w)
{
    const struct enforce *e = s->agent->enforce;

    mode(w, e, e ? enforce_guard_get(e) : BERM_MODE_NONE);
}

void collect_policy_mode(const struct metric_scrape *s, struct metric_writer *w)
{
    const struct enforce *e = s->agent->enforce;

    mode(w, e, e ? enforce_policy_get(e) : BERM_MODE_NONE);
}

static struct enforce_totals totals(const struct metric_scrape *s)
{
    struct enforce_totals t = {0};

    if (s->agent->enforce)
        enforce_totals(s->agent->enforce, &t);
    return t;
}

void collect_enforcing(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, s->agent->enforce != NULL,
                  !s->agent->enforce ? "none"
                  : totals(s).tcx    ? "tcx"
                                     : "clsact",
                  DONE);
}

void collect_armed_pods(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)totals(s).pods, DONE);
}

void collect_armed_devices(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)totals(s).devices, DONE);
}

void collect_arm_requests(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->arm.count.armed, "armed", DONE);
    metric_sample(w, (double)s->agent->arm.count.refused, "refused", DONE);
}

void collect_incidents(const struct metric_scrape *s, struct metric_writer *w)
{
    for (int k = 0; k < ENFORCE_INCIDENT_MAX; k++)
        metric_sample(w, (double)s->agent->incidents[k],
                      enforce_incident_name((enum enforce_incident_kind)k), DONE);
}

void collect_repairs(const struct metric_scrape *s, struct metric_writer *w)
{
    uint64_t n = 0;

    for (int k = 0; k < ENFORCE_INCIDENT_MAX; k++)
        if (k != ENFORCE_REPAIR_FAILED && k != ENFORCE_DEVICE_NEW)
            n += s->agent->incidents[k];
    metric_sample(w, (double)n, DONE);
}

void collect_sweeps(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)totals(s).sweeps, DONE);
}
