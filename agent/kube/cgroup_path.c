#include "agent/kube/cgroup_path.h"

#include "agent/schema.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/vfs.h>

enum { CGROUP2_MAGIC = 0x63677270 };

/* "a-b-c.slice" is a.slice/a-b.slice/a-b-c.slice. */
static int expand_slice(const char *slice, size_t n, char *ret, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        int k;

        if (slice[i] != '-' && i != n - 1)
            continue;
        k = snprintf(ret + at, size - at, "/%.*s.slice", (int)(i == n - 1 ? n : i), slice);
        if (k < 0 || (size_t)k >= size - at)
            return -EINVAL;
        at += (size_t)k;
    }
    return at ? 0 : -EINVAL;
}

int cgroup_pod_path(const char *cgroups_path, char *ret, size_t size)
{
    static const char suffix[] = ".slice";
    const char *colon = strchr(cgroups_path, ':'), *slash = strrchr(cgroups_path, '/');
    size_t n = colon ? (size_t)(colon - cgroups_path) : 0;

    if (colon) {
        if (n < sizeof(suffix) ||
            strncmp(colon - sizeof(suffix) + 1, suffix, sizeof(suffix) - 1) != 0)
            return -EINVAL;
        return expand_slice(cgroups_path, n - sizeof(suffix) + 1, ret, size);
    }
    if (!path_is_clean(cgroups_path) || !slash || slash == cgroups_path ||
        (size_t)(slash - cgroups_path) >= size)
        return -EINVAL;
    text_format(ret, size, "%.*s", (int)(slash - cgroups_path), cgroups_path);
    /* The parent must be a pod's: never all of kubepods. */
    return strstr(strrchr(ret, '/'), "pod") == strrchr(ret, '/') + 1 &&
                   strcmp(strrchr(ret, '/'), "/pod") != 0
               ? 0
               : -EINVAL;
}

int cgroup_open_pod(const char *cgroups_path)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char pod[PATH_MAX - 64], path[PATH_MAX];
    struct statfs st;
    int fd, r = cgroup_pod_path(cgroups_path, pod, sizeof(pod));

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++) {
        if (statfs(places[i], &st) < 0 || st.f_type != CGROUP2_MAGIC)
            continue;
        text_format(path, sizeof(path), "%s%s", places[i], pod);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    return r < 0 ? r : -ENOENT;
}
