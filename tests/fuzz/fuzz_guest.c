/*
 * Structures that a guest hands in, after they were copied: control messages on a pair of unix
 * sockets (rights, credentials), requests on a netlink socket of an isolated network, programs for
 * seccomp(2). The first byte chooses.
 */
#include "runtime/sentry/net/netlink.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "tests/unit/net/net_task.h"

#include <linux/filter.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 65536 };

static void drain(struct task *t, struct file *f)
{
    static char data[ROOM], control[ROOM];

    for (int i = 0; i < 64; i++) {
        struct uio u;
        struct sockmsg m = {.uio = &u, .control = control, .control_max = sizeof(control)};

        uio_init_kernel(&u, data, sizeof(data));
        if (socket_recv(t, f, &m, MSG_DONTWAIT) <= 0)
            return;
    }
}

/* What came in with SCM_RIGHTS; 0 to 3 stay, so that there is something to send. */
static void close_received(struct task *t)
{
    for (int fd = 4; fd < 1024 && fd_close(t, fd) == 0; fd++)
        ;
}

static void unix_message(struct task *t, char *control, size_t size)
{
    static struct file *pair[2];
    char byte = 'x';
    struct uio u;
    struct sockmsg m = {.uio = &u, .control = control, .control_size = size};

    if (!pair[0]) {
        if (net_pair(t, SOCK_DGRAM, pair) < 0)
            abort();
        for (int i = 0; i < 4; i++)
            (void)fd_install(t, file_get(pair[i % 2]), false, 0);
    }
    uio_init_kernel(&u, &byte, 1);
    (void)socket_send(t, pair[0], &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    drain(t, pair[1]);
    close_received(t);
}

static void netlink_message(struct task *t, const char *data, size_t size)
{
    static struct file *f;

    if (!f && net_open(t, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &f) < 0)
        abort();
    (void)net_send(t, f, data, size);
    drain(t, f);
}

static void filter(const char *data, size_t size)
{
    static struct sock_filter code[4096];
    size_t n = MIN(size / sizeof(code[0]), (size_t)4096);
    void *made;

    memcpy(code, data, n * sizeof(code[0]));
    made = seccomp_new(code, (unsigned)n);
    if (made)
        (void)seccomp_allows_local(made);
    seccomp_put(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct task *t;
    char *exact; /* so that the sanitizer sees what is read beyond */

    if (!t)
        t = net_task(true);
    exact = size ? malloc(size) : NULL;
    if (!exact)
        return 0;
    memcpy(exact, data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        unix_message(t, exact, size - 1);
        break;
    case 1:
        netlink_message(t, exact, size - 1);
        break;
    default:
        filter(exact, size - 1);
    }
    free(exact);
    return 0;
}
