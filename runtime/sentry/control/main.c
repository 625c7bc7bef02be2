/* The sentry's start (boot.h): the sandbox's own objects, the first container, then the control
 * socket. */
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/broker/client.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

struct sentry g_sentry;

static void ignore_signal(int sig)
{
    (void)sig;
}

/* Everything is blocked but for the wake signal, which only ppoll lets through. SIGPIPE becomes an
 * error. */
static void setup_signals(void)
{
    struct sigaction wake = {.sa_handler = ignore_signal};
    sigset_t all;

    failstop_setup();
    (void)sigaction(TASK_WAKE_SIGNAL, &wake, NULL);
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGBUS);
    (void)sigdelset(&all, SIGABRT);
    (void)sigdelset(&all, SIGILL);
    (void)sigdelset(&all, SIGFPE);
    (void)sigdelset(&all, SIGSYS);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
}

static int usable_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

static int setup_sandbox(const struct sentry_boot *boot)
{
    struct sysinfo info;

    list_init(&g_sentry.containers);
    g_sentry.boot = boot;
    g_sentry.boot_monotonic = time_monotonic();
    g_sentry.boot_realtime = time_realtime();
    g_sentry.host_cpus = (unsigned)MAX(usable_cpus(), 1);
    if (sysinfo(&info) == 0)
        g_sentry.host_memory = (uint64_t)info.totalram * info.mem_unit;
    g_sentry.uts = utsns_new(NULL);
    g_sentry.pidns = pidns_new(NULL);
    g_sentry.ipc = ipcns_new();
    g_sentry.net = netns_new(false);
    if (boot->broker_sock >= 0 && !(g_sentry.broker = broker_new(boot->broker_sock)))
        return -ENOMEM;
    if (!g_sentry.uts || !g_sentry.pidns || !g_sentry.ipc || !g_sentry.net)
        return -ENOMEM;
    (void)strcpy(g_sentry.uts->nodename, "berm");
    (void)strcpy(g_sentry.uts->domainname, "(none)");
    return 0;
}

static int first_create(const struct sentry_boot *boot, json_t *answer, struct error *err)
{
    json_error_t je;
    json_t *json = json_loads(boot->first_create, JSON_REJECT_DUPLICATES, &je);
    int fds[SENTRY_FDS_MAX], r;
    struct control_request request = {.json = json, .fds = fds, .n_fds = boot->n_fds};

    if (!json)
        return error_set(err, -EINVAL, "first request is not JSON: %s", je.text);
    memcpy(fds, boot->fds, sizeof(fds));
    r = control_handle(&request, answer, err);
    for (unsigned i = 0; i < boot->n_fds; i++)
        close_fd(&fds[i]);
    json_decref(json);
    return r;
}

static void report_ready(const struct sentry_boot *boot, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT), *line = NULL;

    /* One write: the monitor takes the first line of what several processes may tell. */
    if (text && asprintf(&line, "%s\n", text) > 0)
        (void)write_full(boot->ready_fd, line, strlen(line));
    free(line);
    free(text);
    (void)close(boot->ready_fd);
}

int sentry_main(const struct sentry_boot *boot)
{
    struct error err = ERROR_INIT;
    json_t *answer = json_pack("{s:b}", "ok", 1);
    int r;

    /* One arena: hundreds of sandboxes a node, each with its own heap, must stay small. */
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
    setup_signals();
    r = setup_sandbox(boot);
    if (r == 0 && boot->first_create)
        r = first_create(boot, answer, &err);
    if (r < 0) {
        (void)json_object_clear(answer);
        (void)json_object_set_new(answer, "ok", json_false());
        (void)json_object_set_new(answer, "errno", json_integer(-r));
        (void)json_object_set_new(answer, "error",
                                  json_string(err.msg[0] ? err.msg : strerrorname_np(-r)));
    }
    report_ready(boot, answer);
    json_decref(answer);
    if (r < 0)
        return 1;
    return control_serve(boot->control_sock) < 0 ? 1 : 0;
}
