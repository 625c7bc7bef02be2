/* The slow paths of the sentry's mutex (lock.h): futex(2) on the word, three states (0, 1, 2). */
#include "runtime/sentry/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void mutex_lock_slow(struct mutex *m)
{
    while (__atomic_exchange_n(&m->word, 2, __ATOMIC_ACQUIRE) != 0)
        (void)syscall(SYS_futex, &m->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void mutex_unlock_slow(struct mutex *m)
{
    (void)syscall(SYS_futex, &m->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#ifdef BERM_DEBUG
int mutex_self(void)
{
    return (int)syscall(SYS_gettid);
}
#endif
