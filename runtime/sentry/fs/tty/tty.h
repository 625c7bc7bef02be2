#pragma once
/*
 * Terminals: one line discipline (N_TTY) over two kinds of terminal, ptmx/pts pairs of the sandbox
 * and host terminals given as a container's standard streams.
 */
#include "runtime/sentry/vfs/file.h"

struct tty;
struct process;

/* A terminal over a host pty's slave (taken over on success; kept raw by the sentry), and one open
 * file of it. t may be NULL. */
int tty_host_new(struct task *t, int host_fd, struct file **ret);
/* The host terminal's window changed ("winch" of the control socket): SIGWINCH to the foreground.
 */
void tty_host_winch(struct file *f);
/* The terminal of a file, borrowed; NULL if f is none. */
struct tty *tty_of(const struct file *f);
struct tty *tty_get(struct tty *tty);
void tty_put(struct tty *tty); /* accepts NULL */
/* Makes f's terminal the controlling one of p, the leader of its session: first process of a
 * container started with a terminal. p is not running yet. */
void tty_set_controlling(struct process *p, struct file *f);
/* p, a session leader, exits or gives up its terminal: SIGHUP and SIGCONT to the foreground group,
 * the session loses the terminal. */
void tty_disassociate(struct process *p, bool exiting);
/* For /proc/PID/stat: device number (0: none) and foreground group. */
void tty_describe(struct process *p, unsigned *ret_nr, int *ret_pgrp);
/* Opens for vfs and dev: /dev/ptmx, /dev/pts/N, /dev/tty on f, as dev_open. */
int ptmx_open(struct task *t, struct file *f);
int pts_open(struct task *t, struct file *f, unsigned index);
int tty_open_controlling(struct task *t, struct file *f);
int tty_open_console(struct task *t, struct file *f);
