#include "runtime/oci/monitor.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/oci/cgroup.h"
#include "runtime/oci/control.h"
#include "runtime/oci/state.h"
#include "runtime/security/confine.h"
#include "runtime/security/filter.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_LOST = 137 }; /* what a workload is said to have died of when its sandbox vanished */

/* Not forwarded: what can't be caught, what stops the monitor itself, and faults of its own. */
static const int kept[] = {SIGKILL, SIGSTOP, SIGCHLD, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL, SIGSYS,
                           SIGTRAP, SIGABRT, SIGTTIN, SIGTTOU, SIGPIPE, SIGTSTP, SIGCONT};

static int open_signals(void)
{
    sigset_t set;

    (void)sigfillset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        (void)sigdelset(&set, kept[i]);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTTOU, SIG_IGN); /* it sets the terminal's modes, maybe from the background */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static json_t *request(const struct monitor *m, const char *op)
{
    json_t *j = json_pack("{s:s,s:s}", "op", op, "id", m->id);

    if (m->exec)
        (void)json_object_set_new(j, "exec", json_string(m->exec));
    return j;
}

int monitor_connect(struct monitor *m, int sandbox_dirfd, struct error *err)
{
    if (m->signals < 0)
        m->signals = open_signals();
    if (m->signals < 0)
        return error_errno(err, -errno, "signalfd");
    m->wait_sock = control_connect(sandbox_dirfd, err);
    if (m->wait_sock < 0)
        return m->wait_sock;
    m->call_sock = control_connect(sandbox_dirfd, err);
    return MIN(m->call_sock, 0);
}

int monitor_wait_begin(struct monitor *m, struct error *err)
{
    json_t *wait = request(m, "wait");

    (void)json_object_set_new(wait, "lease", json_true());
    return control_send(m->wait_sock, wait, NULL, 0, err);
}

void monitor_take_terminal(struct monitor *m, int fd)
{
    struct termios raw;

    if (tcgetattr(fd, &m->saved) < 0)
        return;
    raw = m->saved;
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSANOW, &raw) == 0)
        m->terminal = fd;
}

int monitor_confine(struct monitor *m, struct error *err)
{
    int r = confine_capabilities(m->ends_sandbox ? 1ULL << CAP_KILL : 0, err);

    if (r == 0)
        r = confine_no_new_privs(err);
    if (r == 0)
        r = confine_undumpable(err);
    confine_no_core();
    return r < 0 ? r : filter_install(FILTER_MONITOR, err);
}

/* Passes one signal on. The answer does not matter; the next one must not find it in the way. */
static void forward(struct monitor *m, int signal)
{
    struct error err = ERROR_INIT;
    json_t *j = request(m, signal == SIGWINCH ? "winch" : "kill");

    if (signal != SIGWINCH)
        (void)json_object_set_new(j, "signal", json_integer(signal));
    if (control_call(m->call_sock, j, NULL, 0, NULL, &err) < 0 && err.code != -ESRCH)
        log_warn("forward signal %d: %s", signal, err.msg);
}

static void forward_all(struct monitor *m)
{
    struct signalfd_siginfo info;

    while (read(m->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        forward(m, (int)info.ssi_signo);
}

int monitor_explain(struct monitor *m, struct error *err)
{
    int status;

    if (m->sentry_pid <= 0 || waitpid(m->sentry_pid, &status, 0) != m->sentry_pid)
        return error_set(err, -EPIPE, "%s: the sandbox is gone", m->id);
    m->sentry_pid = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return error_set(err, -EPIPE, "%s: sentry killed by seccomp", m->id);
    if (WIFSIGNALED(status))
        return error_set(err, -EPIPE, "%s: sentry killed by signal %d", m->id, WTERMSIG(status));
    return error_set(err, -EPIPE, "%s: sentry exited with status %d", m->id, WEXITSTATUS(status));
}

static int take_answer(struct monitor *m)
{
    struct error err = ERROR_INIT;
    json_t *answer = NULL;
    int status = STATUS_LOST;

    if (control_receive(m->wait_sock, &answer, &err) == 0) {
        status = (int)json_integer_value(json_object_get(answer, "status")) & 0xff;
        json_decref(answer);
    } else if (err.code == -EPIPE) {
        (void)monitor_explain(m, &err);
        log_error("%s", err.msg);
    } else {
        log_error("%s: wait: %s", m->id, err.msg);
    }
    return status;
}

static void end_sandbox(struct monitor *m)
{
    if (!m->ends_sandbox || m->sentry_pid <= 0)
        return;
    (void)kill(m->sentry_pid, SIGKILL);
    (void)waitpid(m->sentry_pid, NULL, 0);
}

int monitor_wait(struct monitor *m)
{
    struct pollfd pfds[2] = {{.fd = m->wait_sock, .events = POLLIN},
                             {.fd = m->signals, .events = POLLIN}};
    int status;

    while (!(pfds[0].revents & (POLLIN | POLLHUP | POLLERR))) {
        if (poll(pfds, 2, -1) < 0 && errno != EINTR)
            break;
        if (pfds[1].revents & POLLIN)
            forward_all(m);
    }
    status = take_answer(m);
    if (m->terminal >= 0)
        (void)tcsetattr(m->terminal, TCSADRAIN, &m->saved);
    end_sandbox(m);
    if (m->exit_fd >= 0)
        state_exit_write(m->exit_fd, status,
                         status == STATUS_LOST && cgroup_oom_kills(m->oom_fd) > 0);
    return status;
}
