#pragma once
/* Between the files of /proc. */
#include "runtime/sentry/fs/proc/proc.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/pseudo.h"

/* Nodes below /proc/PID and /proc/PID/task/TID have a struct pid as their object; the upper half of
 * their number says which of the two, the lower is a descriptor's (fd/N). */
#define PROC_OF_PROCESS (1ULL << 32)
#define PROC_OF_THREAD  (2ULL << 32)
#define PROC_KIND(n)    ((n)->number & ~0xffffffffULL)

struct proc_target {
    struct task *task;       /* reference; a zombie's leader too */
    struct process *process; /* reference */
    bool thread;             /* below task/TID */
};
/* Whom the node is about: 0 or -ESRCH. `access`: also checks proc_may_read, -EACCES. */
int proc_target(struct task *t, struct pseudo_node *n, bool access, struct proc_target *ret);
void proc_target_fini(struct proc_target *p); /* for CLEANUP() */

struct pidns *proc_pidns(struct task *t, const struct pseudo_node *n);
struct mm *proc_mm(struct task *target);     /* reference, or NULL (exited) */
struct cred *proc_cred(struct task *target); /* reference */

extern const struct pseudo_entry proc_pid_rows[], proc_tid_rows[], proc_sys_rows[], proc_ns_rows[];
extern const struct pseudo_entry proc_pause_row; /* a shared pid namespace's number 1 */
extern const struct pseudo_dynamic proc_fds, proc_fdinfos, proc_tids, proc_net_files;
extern const struct file_ops proc_mem_ops;

#define SHOW(f) int f(struct task *t, struct pseudo_node *n, struct buf *out)
/* pid_stat.c */
SHOW(proc_show_stat);
SHOW(proc_show_statm);
SHOW(proc_show_status);
SHOW(proc_show_sched);
SHOW(proc_show_schedstat);
SHOW(proc_show_io);
SHOW(proc_show_limits);
/* pid_mem.c */
SHOW(proc_show_cmdline);
SHOW(proc_show_environ);
SHOW(proc_show_auxv);
SHOW(proc_show_maps);
SHOW(proc_show_smaps);
SHOW(proc_show_smaps_rollup);
/* system.c */
SHOW(proc_show_cpuinfo);
SHOW(proc_show_meminfo);
SHOW(proc_show_system_stat);
SHOW(proc_show_uptime);
SHOW(proc_show_loadavg);
SHOW(proc_show_version);
SHOW(proc_show_kernel_cmdline);
SHOW(proc_show_filesystems);
SHOW(proc_show_devices);
SHOW(proc_show_misc);
SHOW(proc_show_empty);
SHOW(proc_show_partitions);
SHOW(proc_show_swaps);
SHOW(proc_show_vmstat);
SHOW(proc_show_interrupts);
SHOW(proc_show_cgroups);
SHOW(proc_show_ioports);

/* A decimal number in data: 0 or -EINVAL. */
int proc_parse_long(const char *data, long min, long max, long *ret);
