/* State directories, and what is done about leftovers. */
#include "common/cleanup.h"
#include "runtime/oci/state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char g_root[64];

static void setup(void)
{
    (void)strcpy(g_root, "/tmp/berm-state-XXXXXX");
    cr_assert(mkdtemp(g_root));
}

static void teardown(void)
{
    state_remove(g_root, "a");
    (void)rmdir(g_root);
}

TestSuite(state, .init = setup, .fini = teardown);

static struct state sample(void)
{
    struct state s = {.uid = 7, .armed = true, .monitor = {getpid(), process_start_time(getpid())}};

    (void)strcpy(s.id, "a");
    (void)strcpy(s.sandbox, "sb");
    (void)strcpy(s.bundle, "/b \"q\"");
    return s;
}

Test(state, save_and_load)
{
    struct error err = ERROR_INIT;
    struct state in = sample(), out;
    int fd = state_create(g_root, "a", &err);

    cr_assert_geq(fd, 0, "%s", err.msg);
    cr_assert_eq(state_save(fd, &in, &err), 0, "%s", err.msg);
    (void)close(fd);
    fd = state_open(g_root, "a", &err);
    cr_assert_eq(state_load(fd, "a", &out, &err), 0, "%s", err.msg);
    cr_expect_str_eq(out.bundle, in.bundle);
    cr_expect_str_eq(out.sandbox, "sb");
    cr_expect(out.armed && out.uid == 7 && process_alive(&out.monitor));
    state_free(&out);
    (void)close(fd);
}

Test(state, live_containers_are_kept_dead_ones_replaced)
{
    struct error err = ERROR_INIT;
    struct state s = sample();
    int fd = state_create(g_root, "a", &err);

    cr_assert_eq(state_save(fd, &s, &err), 0);
    (void)close(fd);
    cr_expect_eq(state_create(g_root, "a", &err), -EEXIST);
    cr_expect_str_eq(err.msg, "container with id exists: a");
    fd = state_open(g_root, "a", &err);
    s.monitor.start++; /* the pid is another process's by now */
    cr_assert_eq(state_save(fd, &s, &err), 0);
    (void)close(fd);
    fd = state_create(g_root, "a", &err);
    cr_expect_geq(fd, 0, "%s", err.msg);
    (void)close(fd);
    fd = state_create(g_root, "a", &err); /* never completed */
    cr_expect_geq(fd, 0, "%s", err.msg);
    (void)close(fd);
}

Test(state, unknown_and_damaged)
{
    struct error err = ERROR_INIT;
    struct state s;
    int fd, status;
    bool oom;

    cr_expect_eq(state_open(g_root, "b", &err), -ENOENT);
    cr_expect_str_eq(err.msg, "container \"b\" does not exist");
    fd = state_create(g_root, "a", &err);
    cr_expect_eq(state_exit_status(fd, &status, &oom), -ENOENT);
    (void)close(openat(fd, "state.json", O_CREAT | O_WRONLY, 0600));
    cr_expect_eq(state_load(fd, "a", &s, &err), -EINVAL);
    (void)close(fd);
}

Test(state, exit_record)
{
    struct error err = ERROR_INIT;
    int dirfd = state_create(g_root, "a", &err), fd = state_exit_open(dirfd, &err), status;
    bool oom;

    cr_expect_eq(state_exit_status(dirfd, &status, &oom), -EAGAIN);
    state_exit_write(fd, 137, true);
    cr_expect_eq(state_exit_status(dirfd, &status, &oom), 0);
    cr_expect(status == 137 && oom);
    (void)close(fd);
    (void)close(dirfd);
}

Test(state, processes_by_start_time)
{
    struct process_ref ref = {.pid = fork()};

    if (ref.pid == 0) {
        (void)pause();
        _exit(0);
    }
    ref.start = process_start_time(ref.pid);
    cr_expect(ref.start > 0 && process_alive(&ref));
    ref.start++;
    cr_expect(!process_alive(&ref));
    cr_expect(process_kill(&ref, 0), "not the same process: nothing to be done");
    ref.start--;
    cr_expect(process_kill(&ref, 5000));
    (void)waitpid(ref.pid, NULL, 0);
    cr_expect(!process_alive(&ref));
}
