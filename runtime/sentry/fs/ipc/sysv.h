#pragma once
/* SysV shared memory, semaphores and message queues: the calls' cores. All for the current task. */
#include "runtime/sentry/time/time.h"
#include "runtime/sentry/uio.h"

#include <stdbool.h>
#include <sys/sem.h>

struct mm;
struct process;
struct task;
struct buf;
struct ipcns;

/* ---- shm ---- */
int shm_get(struct task *t, int key, uint64_t size, int flags);
long shm_attach(struct task *t, int id, gaddr_t addr, int flags); /* address or -errno */
int shm_detach(struct task *t, gaddr_t addr);
long shm_control(struct task *t, int id, int cmd, gaddr_t arg);

/* ---- sem ---- */
enum { SEM_OPS_MAX = 500, SEM_PER_SET_MAX = 32000, SEM_VALUE_LIMIT = 32767 };
int sem_get(struct task *t, int key, int n, int flags);
int sem_operate(struct task *t, int id, const struct sembuf *ops, unsigned n, nsec_t deadline);
long sem_control(struct task *t, int id, int n, int cmd, gaddr_t arg);
/* A process is gone: its SEM_UNDO adjustments take effect. Nothing locked. */
void sem_process_exit(struct process *p);

/* ---- msg ---- */
int msg_get(struct task *t, int key, int flags);
int msg_send(struct task *t, int id, gaddr_t msg, uint64_t size, int flags);
ssize_t msg_receive(struct task *t, int id, gaddr_t msg, uint64_t size, long type, int flags);
long msg_control(struct task *t, int id, int cmd, gaddr_t arg);

/* ---- rows of /proc/sysvipc: 0 or -ENOMEM ---- */
int shm_show(struct ipcns *ns, struct buf *out);
int sem_show(struct ipcns *ns, struct buf *out);
int msg_show(struct ipcns *ns, struct buf *out);
