/* Where cgroup v2 is mounted (alone, or beside the hierarchies of v1), and a pod's folder in it. */
#include "agent/enforce/enforce.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool find_mount(char *ret, size_t size)
{
    CLEANUP(close_file) FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[4096], at[256], type[32];

    while (mounts && fgets(line, sizeof(line), mounts)) {
        if (sscanf(line, "%*s %255s %31s", at, type) != 2 || strcmp(type, "cgroup2") != 0)
            continue;
        (void)snprintf(ret, size, "%s", at);
        return true;
    }
    return false;
}

int enforce_cgroup_find(const char *path, struct error *err)
{
    char at[256], full[PATH_MAX];
    int fd;

    if (!find_mount(at, sizeof(at)))
        return error_set(err, -ENOTSUP, "cgroup v2 is not mounted");
    (void)snprintf(full, sizeof(full), "%s%s", at, path);
    fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, -errno, "open %s", full) : fd;
}

int enforce_cgroup_open(const char *path, struct error *err)
{
    char at[256], full[PATH_MAX];
    int fd, r;

    if (!find_mount(at, sizeof(at)))
        return error_set(err, -ENOTSUP, "cgroup v2 is not mounted");
    (void)snprintf(full, sizeof(full), "%s%s", at, path);
    r = mkdir_parents(full, 0755);
    if (r == -EROFS || r == -EACCES)
        return error_set(err, -ENOTSUP, "%s cannot be made: %s", full, strerror(-r));
    if (r < 0)
        return error_errno(err, r, "create %s", full);
    fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, -errno, "open %s", full) : fd;
}
