/* Pipes: order, atomicity, end of file, packets, sizes, blocking. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/vfs/poll.h"
#include "tests/unit/sentry_event/fake_task.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct task *t;
static struct file *r, *w;

static void setup(void)
{
    t = fake_task();
    cr_assert_eq(pipe_new(O_NONBLOCK, &r, &w), 0);
}

static ssize_t put(const void *data, size_t size)
{
    struct uio u;

    uio_init_kernel(&u, (void *)data, size);
    return w->ops->write(t, w, &u, NULL);
}

static ssize_t get(void *data, size_t size)
{
    struct uio u;

    uio_init_kernel(&u, data, size);
    return r->ops->read(t, r, &u, NULL);
}

TestSuite(pipe, .init = setup, .timeout = 20);

Test(pipe, keeps_order_over_many_wraps)
{
    unsigned char out[1000], in[1000], next_out = 0, next_in = 0;

    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + (size_t)(round * 37 % 1000);

        for (size_t i = 0; i < n; i++)
            out[i] = next_out++;
        cr_assert_eq(put(out, n), (ssize_t)n);
        cr_assert_eq(get(in, n), (ssize_t)n);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(in[i], next_in++);
    }
    cr_assert_eq(get(in, 1), -EAGAIN);
}

Test(pipe, small_writes_go_in_whole_or_not_at_all)
{
    static char big[PIPE_DEFAULT_SIZE];

    cr_assert_eq(put(big, sizeof(big) - 100), (ssize_t)sizeof(big) - 100);
    cr_assert_eq(put(big, 101), -EAGAIN);
    cr_assert_eq(put(big, 5000), 100);
    cr_assert_eq(put(big, 1), -EAGAIN);
    cr_assert_eq(w->ops->poll(t, w, NULL) & POLLOUT, 0);
    cr_assert_eq(get(big, 4096), 4096);
    cr_assert(w->ops->poll(t, w, NULL) & POLLOUT);
}

Test(pipe, end_of_file_and_broken_pipe)
{
    char c;

    cr_assert_eq(put("x", 1), 1);
    file_put(w);
    cr_assert_eq(r->ops->poll(t, r, NULL), POLLIN | POLLRDNORM | POLLHUP);
    cr_assert_eq(get(&c, 1), 1);
    cr_assert_eq(get(&c, 1), 0);
    file_put(r);
    cr_assert_eq(pipe_new(O_NONBLOCK, &r, &w), 0);
    file_put(r);
    cr_assert(w->ops->poll(t, w, NULL) & POLLERR);
    cr_assert_eq(put("x", 1), -EPIPE);
    cr_assert(t->process->pending.set || t->pending_own.set, "SIGPIPE was sent");
}

Test(pipe, packets_stay_apart)
{
    char in[64];

    w->flags |= O_DIRECT;
    cr_assert_eq(put("one", 3), 3);
    cr_assert_eq(put("three", 5), 5);
    w->flags &= ~(unsigned)O_DIRECT;
    cr_assert_eq(put("str", 3), 3);
    cr_assert_eq(put("eam", 3), 3);
    cr_assert_eq(get(in, sizeof(in)), 3);
    cr_assert_eq(get(in, 2), 2);
    cr_assert_eq(memcmp(in, "th", 2), 0);
    cr_assert_eq(get(in, sizeof(in)), 6);
    cr_assert_eq(memcmp(in, "stream", 6), 0);
}

Test(pipe, size_can_be_changed)
{
    char data[8192] = "keep";

    cr_assert_eq(pipe_get_size(r), PIPE_DEFAULT_SIZE);
    cr_assert_eq(put(data, sizeof(data)), 8192);
    cr_assert_eq(pipe_set_size(t, r, 4096), -EBUSY);
    cr_assert_eq(pipe_set_size(t, r, 9000), 16384);
    memset(data, 0, sizeof(data));
    cr_assert_eq(get(data, sizeof(data)), 8192);
    cr_assert_str_eq(data, "keep");
    cr_assert_eq(pipe_set_size(t, r, 1 << 30), -EPERM);
}

Test(pipe, moves_bytes_for_splice)
{
    char in[8];

    cr_assert_eq(pipe_give(pipe_of(w), "abcdef", 6), 6);
    cr_assert_eq(pipe_peek(pipe_of(r), in, 8, 2), 4);
    cr_assert_eq(memcmp(in, "cdef", 4), 0);
    pipe_consume(pipe_of(r), 3);
    cr_assert_eq(get(in, 8), 3);
    cr_assert_eq(memcmp(in, "def", 3), 0);
    cr_assert_eq(pipe_peek(pipe_of(r), in, 8, 0), -EAGAIN);
}

static void *echo(void *arg)
{
    struct file **f = arg;
    struct task *me = fake_task();
    struct uio u;
    char c;

    for (;;) {
        uio_init_kernel(&u, &c, 1);
        if (f[0]->ops->read(me, f[0], &u, NULL) != 1)
            return NULL;
        uio_init_kernel(&u, &c, 1);
        if (f[1]->ops->write(me, f[1], &u, NULL) != 1)
            return NULL;
    }
}

Test(pipe, ping_pong_between_threads)
{
    struct file *there[2], *back[2], *echo_files[2];
    pthread_t thread;

    cr_assert_eq(pipe_new(0, &there[0], &there[1]), 0);
    cr_assert_eq(pipe_new(0, &back[0], &back[1]), 0);
    echo_files[0] = there[0];
    echo_files[1] = back[1];
    cr_assert_eq(pthread_create(&thread, NULL, echo, echo_files), 0);
    for (int i = 0; i < 20000; i++) {
        char c = (char)i, d = 0;
        struct uio u;

        uio_init_kernel(&u, &c, 1);
        cr_assert_eq(there[1]->ops->write(t, there[1], &u, NULL), 1);
        uio_init_kernel(&u, &d, 1);
        cr_assert_eq(back[0]->ops->read(t, back[0], &u, NULL), 1);
        cr_assert_eq(c, d);
    }
    file_put(there[1]);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

static void *write_much(void *arg)
{
    static char big[1 << 20];
    struct task *me = fake_task();
    struct file *f = arg;
    struct uio u;

    uio_init_kernel(&u, big, sizeof(big));
    return (void *)f->ops->write(me, f, &u, NULL);
}

Test(pipe, a_blocked_writer_goes_on)
{
    static char in[1 << 20];
    struct file *rd, *wr;
    pthread_t thread;
    void *result;
    size_t total = 0;

    cr_assert_eq(pipe_new(0, &rd, &wr), 0);
    cr_assert_eq(pthread_create(&thread, NULL, write_much, wr), 0);
    while (total < sizeof(in)) {
        struct uio u;
        ssize_t n;

        uio_init_kernel(&u, in, 3000);
        n = rd->ops->read(t, rd, &u, NULL);
        cr_assert_gt(n, 0);
        total += (size_t)n;
    }
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq((long)result, 1 << 20);
}

Test(pipe, fifo_opens_wait_for_each_other)
{
    struct pipe *slot = NULL;
    struct file f = *r;

    f.flags = O_WRONLY | O_NONBLOCK;
    cr_assert_eq(fifo_open(t, &f, &slot), -ENXIO);
    cr_assert_null(slot);
    f.flags = O_RDONLY | O_NONBLOCK;
    cr_assert_eq(fifo_open(t, &f, &slot), 0);
    cr_assert_not_null(slot);
    cr_assert_eq(f.ops->poll(t, &f, NULL), 0, "no hang-up before there was a writer");
    f.ops->release(&f);
    cr_assert_null(slot);
}
