/* shm*, sem*, msg*: thin handlers around fs/ipc. */
#include "runtime/sentry/fs/ipc/sysv.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/deadline.h"
#include "runtime/sentry/syscalls/table.h"

#include <errno.h>
#include <stdlib.h>

enum { IPC_64_FLAG = 0x100, OPS_INLINE = 16 };

long sys_shmget(struct task *t, const struct sysargs *a)
{
    return shm_get(t, (int)a->v[0], a->v[1], (int)a->v[2]);
}

long sys_shmat(struct task *t, const struct sysargs *a)
{
    return shm_attach(t, (int)a->v[0], a->v[1], (int)a->v[2]);
}

long sys_shmdt(struct task *t, const struct sysargs *a)
{
    return shm_detach(t, a->v[0]);
}

long sys_shmctl(struct task *t, const struct sysargs *a)
{
    return shm_control(t, (int)a->v[0], (int)a->v[1] & ~IPC_64_FLAG, a->v[2]);
}

long sys_semget(struct task *t, const struct sysargs *a)
{
    return sem_get(t, (int)a->v[0], (int)a->v[1], (int)a->v[2]);
}

static long operate(struct task *t, int id, gaddr_t addr, uint64_t n, nsec_t deadline)
{
    struct sembuf inline_ops[OPS_INLINE], *ops = inline_ops;
    long r;

    if (n < 1 || id < 0)
        return -EINVAL;
    if (n > SEM_OPS_MAX)
        return -E2BIG;
    if (n > OPS_INLINE)
        ops = malloc(n * sizeof(*ops));
    if (!ops)
        return -ENOMEM;
    r = copy_in(t, ops, addr, n * sizeof(*ops));
    if (r == 0)
        r = sem_operate(t, id, ops, (unsigned)n, deadline);
    if (ops != inline_ops)
        free(ops);
    return r;
}

long sys_semop(struct task *t, const struct sysargs *a)
{
    return operate(t, (int)a->v[0], a->v[1], (unsigned)a->v[2], DEADLINE_NONE);
}

long sys_semtimedop(struct task *t, const struct sysargs *a)
{
    nsec_t deadline;
    int r = deadline_from_timespec(t, a->v[3], &deadline);

    return r < 0 ? r : operate(t, (int)a->v[0], a->v[1], (unsigned)a->v[2], deadline);
}

long sys_semctl(struct task *t, const struct sysargs *a)
{
    return sem_control(t, (int)a->v[0], (int)a->v[1], (int)a->v[2] & ~IPC_64_FLAG, a->v[3]);
}

long sys_msgget(struct task *t, const struct sysargs *a)
{
    return msg_get(t, (int)a->v[0], (int)a->v[1]);
}

long sys_msgsnd(struct task *t, const struct sysargs *a)
{
    return msg_send(t, (int)a->v[0], a->v[1], a->v[2], (int)a->v[3]);
}

long sys_msgrcv(struct task *t, const struct sysargs *a)
{
    return msg_receive(t, (int)a->v[0], a->v[1], a->v[2], (long)a->v[3], (int)a->v[4]);
}

long sys_msgctl(struct task *t, const struct sysargs *a)
{
    return msg_control(t, (int)a->v[0], (int)a->v[1] & ~IPC_64_FLAG, a->v[2]);
}
