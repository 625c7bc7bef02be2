#pragma once
/* A task with descriptors and a network namespace, and sockets without system calls. */
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/task/task.h"
#include "tests/unit/sentry_event/fake_task.h"

#include <string.h>

static inline struct task *net_task(bool isolated)
{
    struct task *t = fake_task();

    t->files = fdtable_new();
    t->ns = calloc(1, sizeof(*t->ns));
    ref_init(&t->ns->ref);
    t->ns->net = netns_new(isolated);
    t->ns->pid_for_children = t->process->pidns;
    ref_init(&t->pid->ref);
    ref_init(&t->process->pidns->ref);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        t->process->rlimits[i] = (struct rlimit){1024, 1024};
    return t;
}

/* A socket with its file; -errno. The caller puts the file. */
static inline int net_open(struct task *t, int family, int type, int protocol, struct file **ret)
{
    struct socket *s;
    int r = socket_new(t, family, type, protocol, &s);

    return r < 0 ? r : socket_file(s, SOCK_NONBLOCK, ret);
}

static inline int net_pair(struct task *t, int type, struct file *ret[2])
{
    struct socket *s[2];
    int r = socket_new(t, AF_UNIX, type, 0, &s[0]);

    r = r < 0 ? r : socket_new(t, AF_UNIX, type, 0, &s[1]);
    r = r < 0 ? r : unix_socket_pair(t, s[0], s[1]);
    for (int i = 0; !r && i < 2; i++)
        r = socket_file(s[i], SOCK_NONBLOCK, &ret[i]);
    return r;
}

static inline ssize_t net_send(struct task *t, struct file *f, const void *data, size_t size)
{
    struct uio u;
    struct sockmsg m = {.uio = &u};

    uio_init_kernel(&u, (void *)data, size);
    return socket_send(t, f, &m, MSG_NOSIGNAL);
}

static inline ssize_t net_recv(struct task *t, struct file *f, void *data, size_t size, int flags)
{
    struct uio u;
    struct sockmsg m = {.uio = &u};

    uio_init_kernel(&u, data, size);
    return socket_recv(t, f, &m, flags);
}

/* Sends one byte with a descriptor. */
static inline ssize_t net_send_fd(struct task *t, struct file *f, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
    struct cmsghdr h = {
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    struct uio u;
    struct sockmsg m = {.uio = &u, .control = control, .control_size = sizeof(control)};

    memcpy(control, &h, sizeof(h));
    memcpy(control + CMSG_LEN(0), &fd, sizeof(fd));
    uio_init_kernel(&u, &byte, 1);
    return socket_send(t, f, &m, MSG_NOSIGNAL);
}
