/* Unix sockets without a guest: order, records, accounting, cycles of descriptors. */
#include "runtime/sentry/net/unix.h"
#include "runtime/sentry/vfs/setup.h"
#include "tests/unit/net/net_task.h"

#include <criterion/criterion.h>

static struct task *t;
static struct file *f[2];

static void setup(void)
{
    t = net_task(false);
}

TestSuite(unix_sockets, .init = setup, .timeout = 20);

static unsigned sockets(void)
{
    return t->ns->net->n_sockets;
}

Test(unix_sockets, stream_keeps_bytes_over_message_borders)
{
    char in[10000], out[10000];
    size_t sent = 0, got = 0;

    cr_assert_eq(net_pair(t, SOCK_STREAM, f), 0);
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (char)(i * 31);
    for (size_t n = 1; sent < sizeof(out); sent += n, n = MIN(n * 2, sizeof(out) - sent))
        cr_assert_eq(net_send(t, f[0], out + sent, n), (ssize_t)n);
    for (size_t n = 777; got < sizeof(in);) {
        ssize_t r = net_recv(t, f[1], in + got, MIN(n, sizeof(in) - got), 0);

        cr_assert_gt(r, 0);
        got += (size_t)r;
    }
    cr_assert_arr_eq(in, out, sizeof(in));
    cr_assert_eq(net_recv(t, f[1], in, 1, 0), -EAGAIN);
    file_put(f[0]);
    cr_assert_eq(net_recv(t, f[1], in, 1, 0), 0);
    cr_assert_eq(net_send(t, f[1], "x", 1), -EPIPE);
    file_put(f[1]);
    cr_assert_eq(sockets(), 0);
}

Test(unix_sockets, records_keep_their_borders)
{
    char in[16];

    cr_assert_eq(net_pair(t, SOCK_SEQPACKET, f), 0);
    cr_assert_eq(net_send(t, f[0], "one", 3), 3);
    cr_assert_eq(net_send(t, f[0], "three", 5), 5);
    cr_assert_eq(net_recv(t, f[1], in, 2, 0), 2);
    cr_assert_eq(net_recv(t, f[1], in, 16, MSG_PEEK), 5);
    cr_assert_eq(net_recv(t, f[1], in, 2, MSG_TRUNC), 5);
    cr_assert_eq(net_recv(t, f[1], in, 16, 0), -EAGAIN);
    file_put(f[0]);
    file_put(f[1]);
    cr_assert_eq(sockets(), 0);
}

Test(unix_sockets, a_sender_is_charged_until_it_is_read)
{
    char block[4096] = {0};
    size_t held = 0;
    ssize_t r;

    cr_assert_eq(net_pair(t, SOCK_STREAM, f), 0);
    while ((r = net_send(t, f[0], block, sizeof(block))) > 0)
        held += (size_t)r;
    cr_assert_eq(r, -EAGAIN);
    cr_assert(held > 100000 && held < 300000, "%zu", held);
    while ((r = net_recv(t, f[1], block, sizeof(block), 0)) > 0)
        held -= (size_t)r;
    cr_assert_eq(held, 0);
    cr_assert_eq(unix_of(f[0]->private)->charged, 0);
    file_put(f[0]);
    file_put(f[1]);
}

Test(unix_sockets, abstract_names_belong_to_their_namespace)
{
    struct sockname name = {.size = 5, .sa = {.sa_family = AF_UNIX}};
    struct socket *s;
    struct task *other;

    memcpy(name.bytes + 2, "\0ab", 3);
    cr_assert_eq(net_open(t, AF_UNIX, SOCK_STREAM, 0, &f[0]), 0);
    s = f[0]->private;
    cr_assert_eq(s->ops->bind(t, s, &name), 0);
    cr_assert_eq(s->ops->listen(t, s, 1), 0);
    cr_assert_eq(net_open(t, AF_UNIX, SOCK_STREAM, 0, &f[1]), 0);
    s = f[1]->private;
    cr_assert_eq(s->ops->bind(t, s, &name), -EADDRINUSE);
    other = net_task(true);
    cr_assert_eq(s->ops->connect(t, s, &name, true), 0);
    file_put(f[1]);
    cr_assert_eq(net_open(other, AF_UNIX, SOCK_STREAM, 0, &f[1]), 0);
    s = f[1]->private;
    cr_assert_eq(s->ops->connect(other, s, &name, true), -ECONNREFUSED);
    file_put(f[1]);
    file_put(f[0]);
    cr_assert_eq(t->ns->net->abstract.count, 0);
    cr_assert_eq(sockets(), 0);
}

/* fds[i] as descriptors of the task; the files' own references are given away. */
static void install(int fds[2])
{
    for (int i = 0; i < 2; i++)
        fds[i] = fd_install(t, f[i], false, 0);
}

Test(unix_sockets, cycles_of_descriptors_are_collected)
{
    int fds[2];

    for (int i = 0; i < 50; i++) {
        cr_assert_eq(net_pair(t, SOCK_DGRAM, f), 0);
        install(fds);
        cr_assert_eq(net_send_fd(t, f[0], fds[0]), 1); /* to f[1]: itself through its peer */
        cr_assert_eq(net_send_fd(t, f[0], fds[1]), 1);
        cr_assert_eq(net_send_fd(t, f[1], fds[0]), 1);
        cr_assert_eq(fd_close(t, fds[0]), 0);
        cr_assert_eq(fd_close(t, fds[1]), 0);
    }
    unix_collect();
    cr_assert_eq(sockets(), 0);
}

Test(unix_sockets, what_can_still_be_received_is_not_collected)
{
    struct file *outer[2];
    char control[64], byte;
    struct uio u;
    struct sockmsg m = {.uio = &u, .control = control, .control_max = sizeof(control)};
    int fds[2], keep[2], got;

    cr_assert_eq(net_pair(t, SOCK_STREAM, outer), 0);
    keep[0] = fd_install(t, outer[0], false, 0);
    keep[1] = fd_install(t, outer[1], false, 0);
    cr_assert_eq(net_pair(t, SOCK_STREAM, f), 0);
    install(fds);
    cr_assert_eq(net_send(t, f[1], "alive", 5), 5);
    cr_assert_eq(net_send_fd(t, outer[0], fds[0]), 1);
    cr_assert_eq(net_send_fd(t, f[0], fds[1]), 1);
    cr_assert_eq(fd_close(t, fds[0]), 0);
    cr_assert_eq(fd_close(t, fds[1]), 0);
    unix_collect();
    cr_assert_eq(sockets(), 4);
    uio_init_kernel(&u, &byte, 1);
    cr_assert_eq(socket_recv(t, outer[1], &m, 0), 1);
    memcpy(&got, control + CMSG_LEN(0), sizeof(got));
    cr_assert_eq(net_recv(t, fdtable_file(t->files, got, NULL), control, 10, 0), 5);
    (void)fd_close(t, got);
    (void)fd_close(t, keep[0]);
    (void)fd_close(t, keep[1]);
}

Test(unix_sockets, a_long_chain_is_freed_without_recursion)
{
    struct file *last[2] = {0};
    int fds[2], before = -1;

    file_limit_raise(0); /* the chain is longer than what a sandbox without memory may open */
    t->cred->effective = CAP_ALL;
    for (int i = 0; i < 20000; i++) {
        cr_assert_eq(net_pair(t, SOCK_DGRAM, f), 0);
        install(fds);
        if (before >= 0) {
            cr_assert_eq(net_send_fd(t, f[0], before), 1);
            (void)fd_close(t, before);
        }
        before = fds[1];
        last[0] = f[0];
        (void)fd_close(t, fds[0]); /* its message stays with the receiver */
    }
    (void)last;
    (void)fd_close(t, before);
    unix_collect();
    cr_assert_eq(sockets(), 0);
}

Test(unix_sockets, descriptors_in_flight_are_limited)
{
    int fds[2], r = 1, n = 0;

    t->process->rlimits[RLIMIT_NOFILE].rlim_cur = 64;
    cr_assert_eq(net_pair(t, SOCK_STREAM, f), 0);
    install(fds);
    while ((r = (int)net_send_fd(t, f[0], fds[0])) == 1)
        n++;
    cr_assert_eq(r, -ETOOMANYREFS);
    cr_assert_eq(n, 64);
    (void)fd_close(t, fds[0]);
    (void)fd_close(t, fds[1]);
}
