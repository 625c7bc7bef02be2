/* Log lines: their time, and that they can be written while the heap is locked or broken. */
#include "common/log.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef __SANITIZE_ADDRESS__ /* its malloc can't be replaced */
static atomic_int allocations;

/* glibc's own, behind a counter. */
extern void *__libc_malloc(size_t size);
void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}

static int allocated_by(bool json)
{
    struct log_config config = {.fd = -1, .json = json, .level = LOG_INFO, .tag = "test"};
    int p[2], before, after;
    char line[4096];

    cr_assert_eq(pipe(p), 0);
    config.fd = p[1];
    log_setup(&config);
    before = atomic_load(&allocations);
    log_error("signal %d (SIG%s) at %p, berm+0x%llx: '%s'", 6, "ABRT", (void *)&config, 0x1234ULL,
              "a \"quoted\" word");
    after = atomic_load(&allocations);
    cr_assert_gt(read(p[0], line, sizeof(line)), 40);
    close(p[0]);
    close(p[1]);
    return after - before;
}

Test(log, allocates_nothing)
{
    int before = atomic_load(&allocations);
    void *volatile control = strdup("x");

    cr_assert_gt(atomic_load(&allocations), before, "allocations are counted");
    free(control);
    cr_assert_eq(allocated_by(false), 0);
    cr_assert_eq(allocated_by(true), 0);
}

#endif

Test(log, time_is_as_the_library_says)
{
    for (time_t t = 0; t < 0x200000000LL; t += 86400 * 13 + 3607) {
        struct timespec ts = {.tv_sec = t, .tv_nsec = t % 1000000000};
        char ours[64], theirs[64];
        struct tm tm;
        size_t n = strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));

        (void)snprintf(theirs + n, sizeof(theirs) - n, ".%09ldZ", ts.tv_nsec);
        log_timestamp(&ts, ours, sizeof(ours));
        cr_assert_str_eq(ours, theirs);
    }
}
