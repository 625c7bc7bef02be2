/* The process_* set that every exporter is expected to have. */
#include "agent/agent.h"
#include "agent/metrics/collect.h"
#include "agent/procid.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define DONE ((const char *)NULL)

void collect_process_cpu(const struct metric_scrape *s, struct metric_writer *w)
{
    struct rusage u;

    (void)s;
    if (getrusage(RUSAGE_SELF, &u) == 0)
        metric_sample(w,
                      (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                          (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6,
                      DONE);
}

void collect_process_fds(const struct metric_scrape *s, struct metric_writer *w)
{
    CLEANUP(close_dir) DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    (void)s;
    while (dir && readdir(dir))
        n++;
    metric_sample(w, n > 3 ? n - 3 : 0, DONE); /* ".", ".." and the directory itself */
}

void collect_process_max_fds(const struct metric_scrape *s, struct metric_writer *w)
{
    struct rlimit r;

    (void)s;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0)
        metric_sample(w, (double)r.rlim_cur, DONE);
}

static void memory(struct metric_writer *w, int want)
{
    CLEANUP(close_file) FILE *f = fopen("/proc/self/statm", "re");
    unsigned long v[2];

    if (f && fscanf(f, "%lu %lu", &v[0], &v[1]) == 2)
        metric_sample(w, (double)v[want] * (double)sysconf(_SC_PAGESIZE), DONE);
}

void collect_process_rss(const struct metric_scrape *s, struct metric_writer *w)
{
    (void)s;
    memory(w, 1);
}

void collect_process_vsize(const struct metric_scrape *s, struct metric_writer *w)
{
    (void)s;
    memory(w, 0);
}

void collect_process_start(const struct metric_scrape *s, struct metric_writer *w)
{
    metric_sample(w, (double)s->agent->started, DONE);
}
