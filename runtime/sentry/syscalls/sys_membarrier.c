/*
 * membarrier(2). Guest threads run without the sentry, so barriers are the host's: the private
 * commands are executed by the calling thread in its own process on its way back, the global ones
 * by the sentry, for whichever process the others are of.
 */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    REGISTRATIONS = MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
    COMMANDS = REGISTRATIONS | MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |
               MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
};

/* `registration`: what the process must have said before. */
static long private_barrier(struct task *t, int registration)
{
    if (!(__atomic_load_n(&t->mm->barriers, __ATOMIC_RELAXED) & (unsigned)registration))
        return -EPERM;
    return plat_barrier(t->th);
}

long sys_membarrier(struct task *t, const struct sysargs *a)
{
    int command = (int)a->v[0];

    if ((unsigned)a->v[1])
        return -EINVAL;
    switch (command) {
    case MEMBARRIER_CMD_QUERY:
        return COMMANDS;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0 ? -errno : 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
        return private_barrier(t, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
        return private_barrier(t, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        (void)__atomic_or_fetch(&t->mm->barriers, (unsigned)command, __ATOMIC_RELAXED);
        return 0;
    default:
        return -EINVAL;
    }
}
