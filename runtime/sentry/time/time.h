#pragma once
/* Time inside the sentry: int64 nanoseconds of CLOCK_MONOTONIC; deadlines are absolute. */
#include <stdint.h>
#include <time.h>

typedef int64_t nsec_t;
#define DEADLINE_NONE INT64_MAX
#define NSEC_PER_SEC  1000000000LL

nsec_t time_monotonic(void);
nsec_t time_realtime(void);
nsec_t time_clock(clockid_t id); /* REALTIME, MONOTONIC, BOOTTIME, TAI and their coarse/raw kin */

static inline nsec_t timespec_to_ns(const struct timespec *ts)
{
    if (ts->tv_sec >= INT64_MAX / NSEC_PER_SEC - 1)
        return INT64_MAX - 1;
    return ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
}

static inline struct timespec ns_to_timespec(nsec_t ns)
{
    return (struct timespec){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

/* now + relative, saturating: DEADLINE_NONE if it would overflow. */
static inline nsec_t deadline_after(nsec_t relative)
{
    nsec_t r;

    return __builtin_add_overflow(time_monotonic(), relative, &r) ? DEADLINE_NONE : r;
}
