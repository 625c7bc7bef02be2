#include "agent/metrics/collect.h"

#include "agent/agent.h"
#include "agent/kube/collect.h"

#include <string.h>

#define DONE ((const char *)NULL)

void collect_build_info(const struct metric_scrape *s, struct metric_writer *w)
{
    (void)s;
    metric_sample(w, 1, BERM_VERSION, DONE);
}

void collect_ready(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, agent_synced(s->agent), DONE);
}

void collect_restarts(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->restarts, DONE);
}

void collect_pods(const struct metric_scrape *s, struct metric_writer *w)
{
    static const char *const phases[] = {"Pending", "Running", "Succeeded", "Failed",
                                         "Terminating"};

    for (int sandboxed = 0; sandboxed < 2; sandboxed++)
        for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
            const struct pod *p;
            unsigned n = 0;

            list_for_each_entry (p, &s->agent->runner.pods, link)
                if (p->sandboxed == (sandboxed == 1) && strcmp(pod_phase_name(p), phases[i]) == 0)
                    n++;
            n += kube_count_pods(s->agent, sandboxed == 1, phases[i]);
            metric_sample(w, n, sandboxed ? "gvisor" : "runc", phases[i], DONE);
        }
}

void collect_sandboxes(const struct metric_scrape *s, struct metric_writer *w)
{
    struct pod *p;
    unsigned n = 0;

    list_for_each_entry (p, &s->agent->runner.pods, link)
        if (p->sandboxed && pod_sandbox(p)->phase == CONTAINER_RUNNING)
            n++;
    metric_sample(w, n + kube_count_sandboxes(s->agent), DONE);
}

void collect_container_starts(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->runner.count.starts, DONE);
}

void collect_container_restarts(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->runner.count.restarts, DONE);
}

void collect_pod_failures(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->runner.count.failures, DONE);
}

void collect_pods_adopted(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->runner.count.adopted, DONE);
}

void collect_leftovers(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->runner.count.cleaned, DONE);
}

void collect_policies(const struct metric_scrape *s, struct metric_writer *w)
{
    static const enum engine_kind kinds[] = {ENGINE_NETWORK_POLICY, ENGINE_CLUSTER_NETWORK_POLICY};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        metric_sample(w, (double)engine_count(s->agent->netpolicy.engine, kinds[i]),
                      engine_kind_name(kinds[i]), DONE);
}

static int count_problem(const struct engine_policy *policy, void *arg)
{
    if (policy->problem)
        ++*(unsigned *)arg;
    return 0;
}

void collect_inexpressible(const struct metric_scrape *s, struct metric_writer *w)
{
    unsigned n = 0;

    (void)engine_each_policy(s->agent->netpolicy.engine, count_problem, &n);
    metric_sample(w, n, DONE);
}

void collect_policy_updates(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->netpolicy.count.updates, DONE);
}

void collect_policy_failures(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->netpolicy.count.failures, DONE);
}

void collect_manifests(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->folder.n_files, DONE);
}

static void count_error(void *ctx, const char *error)
{
    (void)error;
    ++*(unsigned *)ctx;
}

void collect_manifest_errors(const struct metric_scrape *s, struct metric_writer *w)
{
    unsigned n = 0;

    folder_each_error(&s->agent->folder, count_error, &n);
    metric_sample(w, n, DONE);
}

void collect_manifest_errors_total(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->folder.errors, DONE);
}

void collect_manifest_loads(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->folder.loads, DONE);
}
