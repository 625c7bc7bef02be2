/* Clock readings (time.h). All through the vDSO: no host call. */
#include "runtime/sentry/time/time.h"

static nsec_t read_clock(clockid_t id)
{
    struct timespec ts;

    if (clock_gettime(id, &ts) < 0)
        return 0;
    return timespec_to_ns(&ts);
}

nsec_t time_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

nsec_t time_realtime(void)
{
    return read_clock(CLOCK_REALTIME);
}

nsec_t time_clock(clockid_t id)
{
    return read_clock(id);
}
