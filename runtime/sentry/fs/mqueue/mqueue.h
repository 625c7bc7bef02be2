#pragma once
/* POSIX message queues (mq_overview(7)). */
#include "runtime/sentry/abi/signal.h"
#include "runtime/sentry/vfs/file.h"

#include <mqueue.h>

struct ipcns;

enum { MQ_QUEUES_MAX = 256, MQ_MAXMSG = 10, MQ_MSGSIZE = 8192, MQ_HARD_MAXMSG = 65536 };
#define MQ_HARD_MSGSIZE (16 << 20)

/* flags: O_*; attr NULL: defaults. 0 or -ENOENT, -EEXIST, -EACCES, -EINVAL, -ENOSPC ... */
int mqueue_open(struct task *t, const char *name, unsigned flags, mode_t mode,
                const struct mq_attr *attr, struct file **ret);
int mqueue_unlink(struct task *t, const char *name);
/* -EBADF: f is none, or not open for it. Blocks until deadline unless non-blocking: -ETIMEDOUT. */
int mqueue_send(struct file *f, const void *data, size_t size, unsigned priority, nsec_t deadline);
ssize_t mqueue_receive(struct file *f, void *data, size_t size, unsigned *ret_priority,
                       nsec_t deadline);
int mqueue_getattr(struct file *f, struct mq_attr *ret);
/* sigev NULL: takes the registration back. Signals only. */
/* SIGEV_THREAD: a message is sent to a netlink socket, from which libc's thread reads. */
enum { MQ_COOKIE_SIZE = 32 };
struct mqueue_thread {
    struct file *socket; /* reference */
    int (*send)(struct file *socket, const void *data, size_t size);
    uint8_t cookie[MQ_COOKIE_SIZE];
};
void mqueue_thread_free(struct mqueue_thread *th); /* NULL is fine */
/* `thread` (or NULL) is taken over. */
int mqueue_notify(struct task *t, struct file *f, const struct sigevent *sigev,
                  struct mqueue_thread *thread);
/* Largest message of the queue, or -EBADF. */
long mqueue_message_size(struct file *f);
