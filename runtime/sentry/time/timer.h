#pragma once
/*
 * Kernel timers: one service thread, one heap. Callbacks run on that thread with nothing locked;
 * they must be short, must not wait for a task, and have no current task. Precision is that of the
 * host's futex timeout.
 */
#include "runtime/sentry/time/time.h"

#include <stdbool.h>
#include <stddef.h>

struct ktimer {
    void (*fire)(struct ktimer *k);
    /* Guarded by the timer lock. */
    nsec_t deadline;
    size_t slot; /* index in the heap + 1, 0 if not armed */
};

void ktimer_init(struct ktimer *k, void (*fire)(struct ktimer *k));
/* Fires once at deadline (CLOCK_MONOTONIC); re-arming moves it. DEADLINE_NONE disarms. Callable
 * from anywhere, fire() included. 0 or -ENOMEM. */
int ktimer_arm(struct ktimer *k, nsec_t deadline);
/* As ktimer_cancel, and waits until fire() is not running: afterwards k may be freed. Not from
 * fire() itself, nor with a lock held that fire() takes. */
bool ktimer_cancel_sync(struct ktimer *k);
/* When it will fire, DEADLINE_NONE if not armed. */
nsec_t ktimer_deadline(struct ktimer *k);
