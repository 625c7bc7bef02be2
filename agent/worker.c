#include "agent/worker.h"

#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

bool worker_busy(const struct worker *w)
{
    return w->child.pid != 0;
}

void child_reset_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void read_output(struct worker *w)
{
    char discard[512];
    ssize_t n;

    for (;;) {
        size_t room = sizeof(w->text) - 1 - w->size;

        n = read(w->pipe_fd, room ? w->text + w->size : discard, room ? room : sizeof(discard));
        if (n <= 0)
            break;
        if (room)
            w->size += (size_t)n;
    }
    if (n == 0)
        loop_fd_remove(&w->output);
}

static void on_output(void *ctx, uint32_t events)
{
    (void)events;
    read_output(ctx);
}

static void finish(struct worker *w)
{
    loop_fd_remove(&w->output);
    close_fd(&w->pipe_fd);
}

static void on_end(void *ctx, int status)
{
    struct worker *w = ctx;
    int code = 0;

    read_output(w);
    finish(w);
    while (w->size && (w->text[w->size - 1] == '\n' || w->text[w->size - 1] == ' '))
        w->size--;
    w->text[w->size] = 0;
    if (status == -1 || !WIFEXITED(status))
        code = -EIO;
    else if (WEXITSTATUS(status) != 0)
        code = -WEXITSTATUS(status);
    if (code && !w->size)
        (void)snprintf(w->text, sizeof(w->text), "a helper process ended with status %d", status);
    w->done(w->ctx, code, w->text);
}

static void __attribute__((noreturn))
run_child(int fd, pid_t parent, int (*fn)(void *arg, struct error *err), void *arg)
{
    struct error err = ERROR_INIT;
    int null, r;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    child_reset_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, 0);
        (void)dup2(null, 1);
    }
    (void)dup2(fd, 2);
    log_setup(&(struct log_config){.fd = -1});
    r = fn(arg, &err);
    if (r < 0 && *err.msg)
        (void)write_full(2, err.msg, strlen(err.msg));
    /* errno values fit an exit status */
    _exit(r < 0 ? (r > -255 ? -r : 255) : 0);
}

int worker_start(struct loop *l, struct worker *w, int (*fn)(void *arg, struct error *err),
                 void *arg, void (*done)(void *ctx, int code, const char *message), void *ctx)
{
    int pipe_fds[2], r;
    pid_t pid, parent = getpid();

    if (worker_busy(w))
        return -EBUSY;
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    pid = fork();
    if (pid == 0) {
        (void)fcntl(pipe_fds[1], F_SETFL, 0);
        run_child(pipe_fds[1], parent, fn, arg);
    }
    (void)close(pipe_fds[1]);
    if (pid < 0) {
        r = -errno;
        (void)close(pipe_fds[0]);
        return r;
    }
    w->pipe_fd = pipe_fds[0];
    w->size = 0;
    w->done = done;
    w->ctx = ctx;
    r = loop_fd_add(l, &w->output, w->pipe_fd, EPOLLIN, on_output, w);
    if (r == 0)
        r = loop_child_add(l, &w->child, pid, on_end, w);
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        finish(w);
    }
    return r;
}

void worker_cancel(struct worker *w)
{
    pid_t pid = w->child.pid;

    if (!worker_busy(w))
        return;
    (void)loop_child_signal(&w->child, SIGKILL);
    loop_child_remove(&w->child);
    (void)waitpid(pid, NULL, 0);
    finish(w);
}

int worker_exec(char *const argv[], struct error *err)
{
    (void)execvp(argv[0], argv);
    return error_errno(err, -errno, "run '%s'", argv[0]);
}

static ssize_t collect(int fd, int pidfd, char *text, size_t size, unsigned timeout_s)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    uint64_t deadline = loop_now_ms() + timeout_s * 1000ULL;
    size_t n = 0;

    /* The end is the process's, not the pipe's: what it left behind may hold the pipe. */
    for (;;) {
        uint64_t now = loop_now_ms();
        ssize_t got;

        if (now >= deadline || poll(p, 2, (int)(deadline - now)) == 0)
            return -ETIMEDOUT;
        got = p[0].revents ? read(fd, text + n, size - 1 - n) : 0;
        if (got > 0)
            n += (size_t)got;
        if (n == size - 1 || (p[0].revents && got <= 0))
            p[0].fd = -1;
        if (p[1].revents && got <= 0)
            break;
    }
    while (n && text[n - 1] == '\n')
        n--;
    text[n] = 0;
    return (ssize_t)n;
}

int worker_run(char *const argv[], unsigned timeout_s, struct error *err)
{
    char text[400] = "";
    int pipe_fds[2], pidfd, status = 0;
    pid_t pid;
    ssize_t n;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(err, -errno, "pipe");
    pid = fork();
    if (pid == 0) {
        (void)dup2(pipe_fds[1], 2);
        (void)execvp(argv[0], argv);
        _exit(127);
    }
    (void)close(pipe_fds[1]);
    pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    n = pid < 0 ? -errno : collect(pipe_fds[0], pidfd, text, sizeof(text), timeout_s);
    (void)close(pipe_fds[0]);
    close_fd(&pidfd);
    if (n < 0 && pid > 0)
        (void)kill(pid, SIGKILL);
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    if (n < 0)
        return error_errno(err, (int)n, "run '%s'", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, -EIO, "%s %s: %s", argv[0], argv[1] ? argv[1] : "",
                     *text ? text : "failed");
}
