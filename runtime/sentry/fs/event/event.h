#pragma once
/* eventfd, timerfd, signalfd: what their system calls need. pidfd, epoll, inotify: own headers. */
#include "runtime/sentry/abi/signal.h"
#include "runtime/sentry/vfs/file.h"

/* flags: EFD_SEMAPHORE, O_NONBLOCK. */
int eventfd_new(unsigned initial, unsigned flags, struct file **ret);

int timerfd_new(clockid_t clock, unsigned flags, struct file **ret);
/* -EINVAL if f is no timerfd. set: flags are TFD_TIMER_*. old may be NULL. */
int timerfd_set(struct file *f, int flags, const struct itimerspec *value, struct itimerspec *old);
int timerfd_get(struct file *f, struct itimerspec *ret);

int signalfd_new(l_sigset_t mask, unsigned flags, struct file **ret);
/* -EINVAL if f is no signalfd. */
int signalfd_set_mask(struct task *t, struct file *f, l_sigset_t mask);
