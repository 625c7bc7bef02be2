#pragma once
/* The sandbox: what exists once per sentry. Written while starting, then constant unless noted. */
#include "common/list.h"
#include "runtime/sentry/boot.h"
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"
#include "runtime/sentry/time/time.h"

#include <stddef.h>
#include <sys/types.h>

struct pidns;
struct utsns;
struct ipcns;
struct netns;
struct broker;
struct file;
struct mntns;
struct plat;
struct gofer;
struct process;
struct task;

/* Identity, as guests see it (docs: "am I sandboxed?"). */
#define SENTRY_SYSNAME "Linux"
#define SENTRY_RELEASE "6.1.0-berm"
#define SENTRY_VERSION "#1 SMP berm " BERM_VERSION " (gVisor-compatible)"
#define SENTRY_MACHINE "x86_64"

/* One container of the pod. */
struct container {
    struct ref ref;
    struct list link; /* g_sentry.containers; g_sentry.lock */
    char *id;
    struct plat *plat;    /* its zygote */
    struct gofer *gofer;  /* its gofer client */
    struct process *init; /* reference until it ends; NULL: built-in pause; tasks_lock */
    struct task *first;   /* created, not started yet; g_sentry.lock */
    bool pause, sandbox;  /* no guest code: lives until it is killed */
    bool foreground;      /* signals from outside end init too; immutable */
    struct pidns *pidns;  /* reference */
    struct file *stdio;   /* reference to the terminal, NULL if there is none */
    uint32_t frozen;      /* atomic: guest code stands still */
    bool exited, started; /* tasks_lock */
    int exit_status;      /* wait status; tasks_lock */
    struct mntns *mntns;  /* as set up at create; reference until it is deleted */
    struct list
        execs; /* struct exec_process: further processes with a status to report; tasks_lock */
    uint64_t memory_limit; /* bytes, 0 = none: shown in meminfo and cgroup files */
    unsigned cpus;         /* shown by nproc; >= 1 */
    uint64_t pids_limit;   /* 0 = none. Both limits: atomic, `update` changes them */
    unsigned n_tasks;      /* atomic */
    bool net_raw;
    bool gone;     /* deleted: mntns and stdio are no more; g_sentry.lock */
    void *seccomp; /* its profile (syscalls/seccomp.h), or NULL */
};

struct sentry {
    struct mutex lock;
    struct list containers;
    const struct sentry_boot *boot;
    nsec_t boot_monotonic, boot_realtime;
    unsigned host_cpus;
    uint64_t host_memory;
    struct utsns *uts;     /* the pod's */
    struct pidns *pidns;   /* the root pid namespace: sees all containers */
    struct ipcns *ipc;     /* the pod's */
    struct netns *net;     /* the pod's */
    struct broker *broker; /* NULL: none */
};
struct container *container_get(struct container *c);
void container_put(struct container *c); /* NULL: nothing */

/* A process started by exec in a container; belongs to the connection that asked for it. */
struct exec_process {
    struct list link;            /* container.execs */
    struct container *container; /* reference */
    char *name;
    struct process *process; /* reference */
    struct file *stdio;      /* reference to the terminal, NULL if there is none */
    bool exited;             /* tasks_lock */
    int exit_status;         /* wait status; tasks_lock */
};
extern struct sentry g_sentry;

/* Text of the kernel log (dmesg): contains "berm" and "gVisor-compatible". */
const char *sentry_kernel_log(size_t *ret_size);
