#pragma once
/* Attempts to get past guard and policy: each sends real packets from a pod, in a process of its
 * own. The table is in attempts.c; test_bypass.c runs it. */
#include "tests/bpf/judge.h"
#include "tests/bypass/unpack.h"

enum bypass_engine { BYPASS_GUARD, BYPASS_POLICY, BYPASS_BOTH };
enum bypass_where {
    IN_GROUP,  /* the process is in the pod's cgroup from its start */
    MOVES_IN,  /* makes its socket first, then moves into the pod's cgroup */
    MOVES_OUT, /* makes its socket in the pod's cgroup, then leaves it */
};

struct bypass {
    const struct judge *judge;
    const char *target, *target6; /* the guarded or denied address, both families */
    const char *decoy6;           /* an allowed one beside it; what arrives there does not count */
    int group_fd;                 /* the pod's cgroup */
    bool in_group;                /* the sender is to be in it */
};

struct attempt {
    const char *name;
    int (*send)(const struct bypass *b, const char *argument); /* 0 or -errno */
    const char *argument;
    enum bypass_engine engine;
    bool raw;           /* takes NET_RAW: without the device's programs the others need not hold */
    const char *set_up; /* shell commands in the node's namespace, or "unpack KIND" (unpack.h);
                           failing: the row is skipped */
    const char *tear_down;
    enum bypass_where where;
};

extern const struct attempt attempts[];
extern const size_t n_attempts;

/* Moves the calling process. */
void bypass_enter(const struct bypass *b, bool in);
