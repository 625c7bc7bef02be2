#include "agent/pods_cgroup.h"

#include "agent/agent.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

enum { EVERY = 25 /* sweeps */ };

/* kubelet makes its own at its first start, by the name that its cgroup driver likes. */
static int find(const struct agent *a, struct error *err)
{
    static const char *const kubelet[] = {"/kubepods.slice", "/kubepods"};
    int fd = -1;

    if (*a->config.pods_cgroup)
        return enforce_cgroup_find(a->config.pods_cgroup, err);
    for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(kubelet); i++)
        fd = enforce_cgroup_find(kubelet[i], err);
    return fd;
}

void pods_cgroup_check(struct agent *a)
{
    CLEANUP(close_fd) int fd = -1;
    struct enforce_totals totals;
    struct error err = ERROR_INIT;

    enforce_totals(a->enforce, &totals);
    /* Alone, every pod is armed before it is: and others may run below the same folder. */
    if (totals.parent || totals.sweeps % EVERY != 1 ||
        (!agent_in_cluster(a) && !*a->config.pods_cgroup))
        return;
    fd = find(a, &err);
    if (fd < 0)
        log_debug("the pods' parent cgroup is not guarded yet: %s", err.msg);
    else if (enforce_guard_parent(a->enforce, fd, &err) < 0)
        log_warn("the pods' parent cgroup is not guarded: %s", err.msg);
    else
        log_info("the guard is on the pods' parent cgroup, too");
}
