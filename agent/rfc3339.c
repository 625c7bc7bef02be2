#include "agent/rfc3339.h"

#include <stdio.h>
#include <time.h>

void rfc3339_now(char ret[RFC3339_SIZE])
{
    struct timespec ts;
    struct tm tm;
    size_t n;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    n = strftime(ret, RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(ret + n, RFC3339_SIZE - n, ".%09ldZ", ts.tv_nsec);
}
