#pragma once
/* Timeouts and signal masks as the waiting calls take them from the guest. */
#include "runtime/sentry/time/time.h"
#include "runtime/sentry/uio.h"

struct task;

/* Relative struct timespec at addr (0: none) -> deadline. 0, -EFAULT, -EINVAL. */
int deadline_from_timespec(struct task *t, gaddr_t addr, nsec_t *ret);
/* Milliseconds; negative: none. */
nsec_t deadline_from_ms(int ms);
/* Writes the time left until deadline back to addr (0: does nothing). 0 or -EFAULT. */
int deadline_left_to_timespec(struct task *t, gaddr_t addr, nsec_t deadline);
/* Sets the temporary mask at addr, if there is one. 0, -EINVAL (size), -EFAULT. */
int temporary_mask_from(struct task *t, gaddr_t addr, uint64_t size);
