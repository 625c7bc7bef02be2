#pragma once
/* Errno values that only live inside the kernel (include/linux/errno.h of Linux): what a blocked
 * call returns when a signal is pending; signal/ turns them into a restart or EINTR. */
#include <errno.h>

enum {
    ERESTARTSYS = 512,    /* restart if the handler has SA_RESTART or there is none, else EINTR */
    ERESTARTNOINTR = 513, /* restart always */
    ERESTARTNOHAND = 514, /* restart only if there is no handler, else EINTR */
    ERESTART_RESTARTBLOCK =
        516, /* restart by restart_syscall with the remaining time, else EINTR */
};
