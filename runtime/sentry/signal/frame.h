#pragma once
/* Between signal/frame.c and the system calls that use it. */
#include <stdint.h>

struct task;

/* rt_sigreturn: registers, mask, alternate stack and vector state from the frame at rsp. 0 or
 * -EFAULT. */
int signal_pop_frame(struct task *t);
/* SS_DISABLE, SS_ONSTACK or 0, for sigaltstack and frames. */
int signal_altstack_flags(const struct task *t, uint64_t sp);
