#include "runtime/oci/namespaces.h"

#include "common/cleanup.h"
#include "common/error.h"
#include "runtime/oci/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* What NS_GET_NSTYPE says (ioctl_ns(2)). */
static const int kinds[NS_COUNT] = {
    [NS_PID] = CLONE_NEWPID,   [NS_NETWORK] = CLONE_NEWNET,   [NS_MOUNT] = CLONE_NEWNS,
    [NS_IPC] = CLONE_NEWIPC,   [NS_UTS] = CLONE_NEWUTS,       [NS_USER] = CLONE_NEWUSER,
    [NS_TIME] = CLONE_NEWTIME, [NS_CGROUP] = CLONE_NEWCGROUP,
};

int namespaces_check(const struct oci_spec *spec, struct error *err)
{
    for (int k = 0; k < NS_COUNT; k++) {
        const struct oci_namespace *ns = oci_namespace(spec, (enum oci_ns)k);
        CLEANUP(close_fd) int fd = -1;

        if (!ns || !ns->path || !*ns->path)
            continue;
        fd = open(ns->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, NS_GET_NSTYPE) != kinds[k])
            return error_set(err, -EINVAL,
                             "config.json: linux.namespaces[%d].path: '%.200s' is no %s namespace",
                             spec->ns[k], ns->path, ns->type);
    }
    return 0;
}
