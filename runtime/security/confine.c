#include "runtime/security/confine.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#endif

static int write_map(pid_t pid, const char *which, uid_t id, struct error *err)
{
    char path[48], line[48];

    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, which);
    (void)snprintf(line, sizeof(line), "%d %u 1\n", CONFINE_UID_INSIDE, id);
    return file_write(AT_FDCWD, path, line, err);
}

int confine_map_ids(pid_t pid, uid_t id, struct error *err)
{
    int r = write_map(pid, "uid_map", id, err);

    return r < 0 ? r : write_map(pid, "gid_map", id, err);
}

/* The raw calls: libc would signal every thread, and there is only one. */
int confine_become(uid_t id, struct error *err)
{
    if (syscall(SYS_setgroups, 0, NULL) < 0)
        return error_errno(err, -errno, "drop supplementary groups");
    if (syscall(SYS_setresgid, id, id, id) < 0 || syscall(SYS_setresuid, id, id, id) < 0)
        return error_errno(err, -errno, "become uid %u", id);
    return 0;
}

int confine_root_begin(unsigned inodes, struct error *err)
{
    char options[64];

    (void)snprintf(options, sizeof(options), "size=4k,nr_inodes=%u,mode=555", inodes + 2);
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return error_errno(err, -errno, "make mounts private");
    if (mount("none", CONFINE_PLACE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
        return error_errno(err, -errno, "mount an empty root");
    return 0;
}

int confine_root_finish(struct error *err)
{
    if (chdir(CONFINE_PLACE) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return error_errno(err, -errno, "pivot into an empty root");
    /* The old root lies over the new one at "." now. */
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return error_errno(err, -errno, "detach the host's root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              NULL) < 0)
        return error_errno(err, -errno, "make the empty root read-only");
    return 0;
}

int confine_capabilities(uint64_t keep, struct error *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
        {.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)},
    };

    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int cap = 0; cap <= 63; cap++) {
        if (keep & (1ULL << cap))
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EINVAL)
                break; /* beyond the last one that the kernel knows */
            return error_errno(err, -errno, "drop capability %d from the bounding set", cap);
        }
    }
    if (syscall(SYS_capset, &head, data) < 0)
        return error_errno(err, -errno, "drop capabilities");
    return 0;
}

int confine_no_new_privs(struct error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_errno(err, -errno, "set no_new_privs");
    return 0;
}

int confine_undumpable(struct error *err)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, -errno, "become undumpable");
    return 0;
}

void confine_no_core(void)
{
    /* 1, not 0: a limit of 0 does not keep a piped handler from being started, 1 does. */
    struct rlimit limit = {.rlim_cur = 1, .rlim_max = 1};

    (void)setrlimit(RLIMIT_CORE, &limit);
}

static int compare_ints(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

int confine_descriptors(int *keep, unsigned n_keep, struct error *err)
{
    unsigned next = 3;

    qsort(keep, n_keep, sizeof(*keep), compare_ints);
    for (unsigned i = 0; i <= n_keep; i++) {
        unsigned last = i < n_keep ? (unsigned)keep[i] - 1 : ~0U;

        if (i < n_keep && keep[i] < (int)next)
            continue;
        if (last >= next && last + 1 != next && syscall(SYS_close_range, next, last, 0) < 0)
            return error_errno(err, -errno, "close descriptors");
        next = last + 2;
    }
    return 0;
}

int confine_stdio(struct error *err)
{
    CLEANUP(close_fd) int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return error_errno(err, -errno, "open /dev/null");
    for (int i = 0; i < 3; i++)
        if (dup2(fd, i) < 0)
            return error_errno(err, -errno, "redirect descriptor %d", i);
    if (fd < 3)
        (void)take_fd(&fd);
    return 0;
}

void confine_core_scheduling(pid_t with)
{
    enum { CREATE = 1, SHARE_FROM = 3, THREAD_GROUP = 1, THREAD = 0 };

    if (with)
        (void)prctl(PR_SCHED_CORE, SHARE_FROM, with, THREAD, 0);
    else
        (void)prctl(PR_SCHED_CORE, CREATE, 0, THREAD_GROUP, 0);
}
