#include "agent/procid.h"

#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>

uint64_t procid_start(pid_t pid)
{
    CLEANUP(close_file) FILE *f = NULL;
    char path[64], line[2048], state;
    unsigned long long start;
    const char *p;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f || !fgets(line, sizeof(line), f))
        return 0;
    p = strrchr(line, ')'); /* the name may hold anything */
    if (!p ||
        sscanf(p + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &start) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : start;
}
