#pragma once
/* epoll(7). */
#include "runtime/sentry/vfs/file.h"

#include <sys/epoll.h>

struct poll_table;

/* f's last reference is gone, f->ops->release has not run yet: forgets it in every epoll that
 * watches it. Call it if !list_empty(&f->epoll_items). */
void epoll_forget_file(struct file *f);

int epoll_new(struct file **ret);
bool epoll_is(const struct file *f);
/* The table is one that stays registered, with an epoll. */
bool epoll_registers(const struct poll_table *pt);
/* EPOLL_CTL_*: 0, -EEXIST, -ENOENT, -EINVAL, -EPERM, -ELOOP, -ENOSPC, -ENOMEM. */
int epoll_control(struct task *t, struct file *epf, int op, int fd, struct file *target,
                  const struct epoll_event *event);
/* An epoll_ctl that the host thread answered for; and when all of a time are done: an epoll that
 * others can use by now gets no more of that. */
void epoll_told(struct task *t, int epfd, int op, int fd, const struct epoll_event *event);
void epoll_told_all(struct task *t, int epfd);
/* How many files it watches at the moment. */
unsigned epoll_watches(const struct file *epf);
/* Waits for at least one event: their number, 0 at the deadline, -ERESTARTSYS. */
long epoll_collect(struct task *t, struct file *epf, struct epoll_event *out, unsigned max,
                   nsec_t deadline);
