#include "runtime/oci/roles.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/gofer/run.h"
#include "runtime/guard.h"
#include "runtime/platform/platform.h"
#include "runtime/security/confine.h"
#include "runtime/security/filter.h"
#include "runtime/sentry/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Tells the monitor why this child gives up. */
static _Noreturn void fail(int ready, const struct error *err)
{
    json_t *j = json_pack("{s:b,s:s,s:i}", "ok", 0, "error", err->msg, "errno", -err->code);
    CLEANUP(free_ptr) char *text = json_dumps(j, JSON_COMPACT);
    char line[1024];

    /* One write: others may be telling their reasons at the same time. */
    (void)snprintf(line, sizeof(line), "%s\n", text ? text : "{}");
    (void)write_full(ready, line, strlen(line));
    _exit(1);
}

/* Children of a monitor start with what it blocked or ignored; they want neither. */
static void reset_signals(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void raise_limits(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int wait_for(int fd, void *data, size_t size, struct error *err)
{
    ssize_t n = read_full(fd, data, size);

    if (n != (ssize_t)size)
        return error_set(err, -ECANCELED, "the monitor gave up");
    return 0;
}

static int sentry_namespaces(struct channels *c, struct error *err)
{
    char byte;
    int r = wait_for(c->go[0], &byte, 1, err); /* the id maps are written */

    if (r == 0)
        r = confine_become(CONFINE_UID_INSIDE, err);
    if (r == 0)
        r = GUARDED(SENTRY_ROOT) ? confine_root_begin(0, err) : 0;
    if (r == 0 && GUARDED(SENTRY_ROOT))
        r = confine_root_finish(err);
    if (r == 0 && write(c->up[1], "u", 1) != 1)
        r = error_errno(err, -errno, "report to the monitor");
    return r;
}

static int sentry_confine(struct launch *l, struct error *err)
{
    int r = confine_capabilities(0, err);

    if (r == 0)
        r = confine_no_new_privs(err);
    if (r == 0)
        r = confine_undumpable(err);
    confine_no_core();
    /* After the last change of credentials, which clears it. */
    if (r == 0 && l->die_with_caller && GUARDED(CALLER_DEATH) &&
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        r = error_errno(err, -errno, "set the parent's death signal");
    return r < 0 ? r : filter_install(FILTER_SENTRY, err);
}

_Noreturn void role_sentry(struct launch *l, struct channels *c, const char *request)
{
    /* Copies: the sentry's own 0, 1 and 2 become /dev/null, and a terminal is the same descriptor
     * three times. */
    int in = fcntl(l->stdio[0], F_DUPFD_CLOEXEC, 3), out = fcntl(l->stdio[1], F_DUPFD_CLOEXEC, 3),
        errors = fcntl(l->stdio[2], F_DUPFD_CLOEXEC, 3);
    int keep[] = {l->control, c->gofer[0], c->zygote[0], c->broker[0], in,       out,
                  errors,     c->go[0],    c->up[1],     c->ready[1],  l->log_fd};
    struct sentry_boot boot = {
        .control_sock = l->control,
        .first_create = request,
        .fds = {c->gofer[0], c->zygote[0], in, out, errors},
        .n_fds = 5,
        .ready_fd = c->ready[1],
        .log_fd = l->log_fd,
        .net = l->net->kind != NET_FRESH,
        .strace = l->strace,
    };
    struct error err = ERROR_INIT;
    struct go go;
    int r;

    (void)setsid();
    reset_signals();
    raise_limits();
    if (in < 0 || out < 0 || errors < 0)
        r = error_set(&err, -EBADF, "standard descriptors are not open");
    else
        r = confine_descriptors(keep, ARRAY_SIZE(keep), &err);
    if (r == 0)
        r = confine_stdio(&err);
    if (r == 0)
        r = sentry_namespaces(c, &err);
    if (r == 0)
        r = wait_for(c->go[0], &go, sizeof(go), &err);
    (void)close(c->go[0]);
    (void)close(c->up[1]);
    if (r == 0) {
        boot.net_raw = go.net_raw;
        boot.broker_sock = go.broker ? c->broker[0] : -1;
        if (!go.broker)
            (void)close(c->broker[0]);
        boot.data_plane_direct = go.direct;
        r = sentry_confine(l, &err);
    }
    if (r < 0) {
        (void)error_wrap(&err, "sentry");
        fail(c->ready[1], &err);
    }
    _exit(sentry_main(&boot));
}

_Noreturn void role_gofer(struct launch *l, struct channels *c)
{
    const struct mount_set *set = l->mounts;
    CLEANUP(free_ptr) struct gofer_tree *trees = calloc(set->n_trees, sizeof(*trees));
    struct gofer_process p = {
        .sock = c->gofer[1],
        .trees = trees,
        .n_trees = set->n_trees,
        .scratch = set->scratch,
        .hidden = set->hidden,
        .ready_fd = c->ready[1],
    };
    struct error err = ERROR_INIT;

    (void)setsid();
    reset_signals();
    for (unsigned i = 0; trees && i < set->n_trees; i++)
        trees[i] =
            (struct gofer_tree){set->trees[i].fd, set->trees[i].readonly, set->trees[i].slave,
                                set->trees[i].directory, set->trees[i].connect};
    if (!trees)
        (void)error_errno(&err, -ENOMEM, "gofer");
    else if (gofer_run(&p, &err) == 0)
        _exit(0);
    fail(c->ready[1], &err);
}

_Noreturn void role_broker(const struct broker_grants *grants, struct channels *c)
{
    struct error err = ERROR_INIT;

    (void)setsid();
    reset_signals();
    if (broker_run(grants, c->broker[1], c->ready[1], &err) == 0)
        _exit(0);
    fail(c->ready[1], &err);
}

/* Pid 1 of a pid namespace of its own, in the sentry's user namespace, with nothing but one socket.
 */
static _Noreturn void zygote(struct channels *c)
{
    struct error err = ERROR_INIT;
    int r = confine_become(CONFINE_UID_INSIDE, &err);

    if (r == 0)
        r = confine_capabilities(0, &err);
    if (r == 0)
        r = confine_no_new_privs(&err);
    confine_no_core();
    if (r == 0) {
        r = plat_zygote_exec(c->zygote[1]);
        (void)error_errno(&err, r < 0 ? r : -EIO, "start");
    }
    (void)error_wrap(&err, "zygote");
    fail(c->ready[1], &err);
}

/*
 * When the pod as a whole runs out of memory, a guest process dies, not the sentry, which is the
 * largest of many small ones (thousands of forks made it a tenth of 512 MB): guests are at least
 * this much above it, in thousandths of the limit.
 */
enum { OOM_SCORE_GAP = 300, OOM_SCORE_MAX = 1000 };

static int read_oom_score(const char *path, int *ret)
{
    CLEANUP(free_ptr) char *text = NULL;
    int r = file_read_all(AT_FDCWD, path, 64, &text, NULL, NULL);

    return r < 0 ? r : sscanf(text, "%d", ret) == 1 ? 0 : -EINVAL;
}

static void prefer_to_sentry(pid_t sentry)
{
    int own, other;
    char text[40];

    (void)snprintf(text, sizeof(text), "/proc/%d/oom_score_adj", (int)sentry);
    if (read_oom_score("/proc/self/oom_score_adj", &own) < 0 || read_oom_score(text, &other) < 0 ||
        own >= other + OOM_SCORE_GAP)
        return;
    (void)snprintf(text, sizeof(text), "%d", MIN(other + OOM_SCORE_GAP, OOM_SCORE_MAX));
    (void)file_write(AT_FDCWD, "/proc/self/oom_score_adj", text, NULL);
}

_Noreturn void role_zygote_parent(struct launch *l, struct channels *c, int sentry_pidfd)
{
    int keep[] = {c->zygote[1], c->ready[1], sentry_pidfd};
    struct error err = ERROR_INIT;
    long pid;

    (void)setsid();
    reset_signals();
    prefer_to_sentry(l->sentry.pid);
    /* At once: from here on it lives among what the sentry can see. */
    if (confine_descriptors(keep, ARRAY_SIZE(keep), &err) < 0 || confine_stdio(&err) < 0)
        fail(c->ready[1], &err);
    /* The user namespace comes first in the kernel's order, and gives the right to the others. */
    if (setns(sentry_pidfd, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0) {
        (void)error_errno(&err, -errno, "zygote: join the sandbox's namespaces");
        fail(c->ready[1], &err);
    }
    pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, NULL, NULL, 0);
    if (pid == 0)
        zygote(c);
    if (pid < 0) {
        (void)error_errno(&err, -errno, "zygote: fork");
        fail(c->ready[1], &err);
    }
    /* Its child outlives it, and becomes the sentry's. */
    _exit(0);
}
