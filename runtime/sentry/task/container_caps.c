/* Name tables (container_caps.h). */
#include "runtime/sentry/task/container_caps.h"

#include "common/cleanup.h"

#include <string.h>
#include <strings.h>

static const char *const capabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

static const char *const rlimits[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = "CPU",           [RLIMIT_FSIZE] = "FSIZE",
    [RLIMIT_DATA] = "DATA",         [RLIMIT_STACK] = "STACK",
    [RLIMIT_CORE] = "CORE",         [RLIMIT_RSS] = "RSS",
    [RLIMIT_NPROC] = "NPROC",       [RLIMIT_NOFILE] = "NOFILE",
    [RLIMIT_MEMLOCK] = "MEMLOCK",   [RLIMIT_AS] = "AS",
    [RLIMIT_LOCKS] = "LOCKS",       [RLIMIT_SIGPENDING] = "SIGPENDING",
    [RLIMIT_MSGQUEUE] = "MSGQUEUE", [RLIMIT_NICE] = "NICE",
    [RLIMIT_RTPRIO] = "RTPRIO",     [RLIMIT_RTTIME] = "RTTIME",
};

int capability_by_name(const char *name)
{
    if (strncasecmp(name, "CAP_", 4) == 0)
        name += 4;
    for (unsigned i = 0; i < ARRAY_SIZE(capabilities); i++)
        if (strcasecmp(name, capabilities[i]) == 0)
            return (int)i;
    return -1;
}

int rlimit_by_name(const char *name)
{
    if (!name || strncmp(name, "RLIMIT_", 7) != 0)
        return -1;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (rlimits[i] && strcmp(name + 7, rlimits[i]) == 0)
            return i;
    return -1;
}

void rlimits_default(struct rlimit *out)
{
    for (int i = 0; i < RLIM_NLIMITS; i++)
        out[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    out[RLIMIT_STACK].rlim_cur = 8UL << 20;
    out[RLIMIT_CORE].rlim_cur = 0;
    out[RLIMIT_NOFILE] = (struct rlimit){1024, 1048576};
    out[RLIMIT_MEMLOCK] = (struct rlimit){8UL << 20, 8UL << 20};
    out[RLIMIT_SIGPENDING] = (struct rlimit){65536, 65536};
    out[RLIMIT_MSGQUEUE] = (struct rlimit){819200, 819200};
    out[RLIMIT_NICE] = out[RLIMIT_RTPRIO] = (struct rlimit){0, 0};
}
