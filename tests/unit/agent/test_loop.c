#include "agent/loop.h"
#include "agent/worker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

struct state {
    struct loop loop;
    struct loop_timer timers[3];
    struct loop_child child;
    struct worker worker;
    char order[8];
    int status, code;
    char message[64];
};

static void mark(struct state *s, char c)
{
    s->order[strlen(s->order)] = c;
}

static void on_a(void *ctx)
{
    mark(ctx, 'a');
}

static void on_b(void *ctx)
{
    struct state *s = ctx;

    mark(s, 'b');
    loop_timer_cancel(&s->timers[2]);
}

static void on_end(void *ctx)
{
    loop_stop(&((struct state *)ctx)->loop);
}

Test(loop, timers_in_order_and_cancelled)
{
    struct state s = {0};
    struct loop_timer end = {0};

    cr_assert_eq(loop_init(&s.loop), 0);
    loop_timer_set(&s.loop, &s.timers[0], 20, on_b, &s);
    loop_timer_set(&s.loop, &s.timers[1], 1, on_a, &s);
    loop_timer_set(&s.loop, &s.timers[2], 30, on_a, &s);
    loop_timer_set(&s.loop, &end, 60, on_end, &s);
    cr_assert_eq(loop_run(&s.loop), 0);
    cr_expect_str_eq(s.order, "ab");
    loop_fini(&s.loop);
}

static void on_child(void *ctx, int status)
{
    struct state *s = ctx;

    s->status = status;
    loop_stop(&s->loop);
}

Test(loop, child_status)
{
    struct state s = {0};
    pid_t pid;

    cr_assert_eq(loop_init(&s.loop), 0);
    pid = fork();
    if (pid == 0)
        _exit(7);
    cr_assert_eq(loop_child_add(&s.loop, &s.child, pid, on_child, &s), 0);
    cr_assert_eq(loop_run(&s.loop), 0);
    cr_expect(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 7);
    loop_fini(&s.loop);
}

static int fail(void *arg, struct error *err)
{
    return error_set(err, -ENOENT, "no %s", (const char *)arg);
}

static int hang(void *arg, struct error *err)
{
    (void)arg;
    (void)err;
    (void)pause();
    return 0;
}

static void on_done(void *ctx, int code, const char *message)
{
    struct state *s = ctx;

    s->code = code;
    (void)snprintf(s->message, sizeof(s->message), "%s", message);
    loop_stop(&s->loop);
}

Test(worker, error_comes_back)
{
    struct state s = {0};
    char what[] = "file";

    cr_assert_eq(loop_init(&s.loop), 0);
    cr_assert_eq(worker_start(&s.loop, &s.worker, fail, what, on_done, &s), 0);
    cr_expect_eq(worker_start(&s.loop, &s.worker, fail, what, on_done, &s), -EBUSY);
    cr_assert_eq(loop_run(&s.loop), 0);
    cr_expect_eq(s.code, -ENOENT);
    cr_expect_str_eq(s.message, "no file");
    cr_expect_not(worker_busy(&s.worker));
    loop_fini(&s.loop);
}

Test(worker, cancel_kills)
{
    struct state s = {0};

    cr_assert_eq(loop_init(&s.loop), 0);
    cr_assert_eq(worker_start(&s.loop, &s.worker, hang, NULL, on_done, &s), 0);
    worker_cancel(&s.worker);
    cr_expect_not(worker_busy(&s.worker));
    cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1);
    loop_fini(&s.loop);
}

static int run_false(void *arg, struct error *err)
{
    (void)arg;
    return worker_run(
        (char *[]){(char[]){"sh"}, (char[]){"-c"}, (char[]){"echo why >&2; exit 3"}, NULL}, 5, err);
}

Test(worker, program_text)
{
    struct state s = {0};

    cr_assert_eq(loop_init(&s.loop), 0);
    cr_assert_eq(worker_start(&s.loop, &s.worker, run_false, NULL, on_done, &s), 0);
    cr_assert_eq(loop_run(&s.loop), 0);
    cr_expect_lt(s.code, 0);
    cr_expect(strstr(s.message, "why"), "%s", s.message);
    loop_fini(&s.loop);
}
