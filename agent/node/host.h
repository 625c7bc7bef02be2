#pragma once
/*
 * Is this node able to run berm? Each row probes by doing, not by version numbers, and says what to
 * do about it. Needed rows stop the installer; the others are told by `bermctl doctor`.
 */
#include <stdbool.h>
#include <stddef.h>

struct host_check {
    const char *name;
    bool needed;
    /* Fills detail (one line) and returns whether all is well. */
    bool (*fn)(char *detail, size_t size);
    const char *remedy;
};

extern const struct host_check host_checks[];
extern const size_t host_n_checks;
