#pragma once
/*
 * A monitor: the host process that stands for one container or one exec'ed process. It forwards
 * signals and window sizes, and ends with the workload's status. If it is killed, the sentry sees
 * its connection end, and kills the workload ("lease").
 */
#include "common/error.h"

#include <stdbool.h>
#include <termios.h>

struct monitor {
    const char *id, *exec; /* exec: NULL for the container's own process */
    int wait_sock;         /* connection that waits */
    int call_sock;         /* connection for signals and sizes */
    int signals;           /* signalfd */
    int exit_fd;           /* where the status is recorded, or -1 */
    int oom_fd;            /* cgroup_oom_open's, or -1 */
    int terminal;          /* the caller's own terminal, kept raw, or -1 */
    int sentry_pid;        /* the child to be reaped and explained, or 0 */
    bool ends_sandbox;     /* kill the sentry at the end */
    struct termios saved;
};

#define MONITOR_INIT                                                                               \
    {                                                                                              \
        .wait_sock = -1, .call_sock = -1, .signals = -1, .exit_fd = -1, .oom_fd = -1,              \
        .terminal = -1                                                                             \
    }

/* Blocks the signals that are forwarded, and connects; dirfd: directory of the sandbox. An exec'ed
 * process is then started by wait_sock, and ends with it. */
int monitor_connect(struct monitor *m, int sandbox_dirfd, struct error *err);
/* Asks to wait. */
int monitor_wait_begin(struct monitor *m, struct error *err);
/* Puts the terminal into raw mode until the end. */
void monitor_take_terminal(struct monitor *m, int fd);
/* Gives up privileges; nothing but waiting is left. */
int monitor_confine(struct monitor *m, struct error *err);
/* Returns the status: 0..255, 128+n for death by signal n. */
int monitor_wait(struct monitor *m);
/* The sentry ended without an answer: says why, as far as its parent can know. Returns -EPIPE. */
int monitor_explain(struct monitor *m, struct error *err);
