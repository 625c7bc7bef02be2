#pragma once
/* Between the files of tty/. */
#include "runtime/sentry/fs/tty/ldisc.h"
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/poll.h"

#include <sys/ioctl.h>

enum { PTS_MAX = 4096, TTY_MAJOR_PTS = 136 };

struct devpts;

/*
 * Lock order: tasks_lock > tty->lock > wait queues. Signals are sent with neither held. session and
 * foreground are guarded by tasks_lock, as the processes' `tty` is; everything else by tty->lock
 * unless noted.
 */
struct tty {
    struct ref ref; /* files, processes, the host terminal's thread */
    struct mutex lock;
    struct ldisc ld;
    struct winsize size;
    struct termios2 settings_lock;      /* bits of the settings that cannot be changed */
    struct pid *session, *foreground;   /* references; tasks_lock */
    struct waitq read_wait, write_wait; /* of slaves; the master has its own */
    unsigned slaves;                    /* open files */
    bool was_open;                      /* a slave was open once */
    bool hung_up;
    bool exclusive;
    struct devpts *instance; /* atomic; NULL: in none (any more) */
    unsigned index;          /* immutable */
    uint32_t uid, gid;       /* of the node */
    /* Pairs only. */
    bool master_open, locked, packet;
    uint8_t packet_status; /* TIOCPKT_* to be told */
    struct waitq master_wait;
    /* Host terminals only. */
    bool is_host;
    int host_fd, stop_fd; /* stop_fd: eventfd that ends the thread */
    pthread_t thread;
};

struct tty *tty_new(void); /* NULL: out of memory */

/* What receiving characters or changing settings made due: collected under the lock, done after. */
struct tty_due {
    uint32_t signals;
    bool readable, writable, output;
};
void tty_collect_locked(struct tty *tty, struct tty_due *due);
void tty_do_due(struct tty *tty, const struct tty_due *due);
/* Characters from the keyboard's side: how many were taken. Nothing locked. */
size_t tty_receive(struct tty *tty, const char *data, size_t size);
/* The other side is gone for good. Nothing locked. */
void tty_hangup(struct tty *tty);
void tty_signal_foreground(struct tty *tty, int sig);
/* A reference to the foreground group of the terminal behind f, or NULL. */
struct pid *tty_foreground_of(struct file *f);

/* Opens the slave side. 0, -EIO (locked, gone), -EBUSY (exclusive). Takes a reference of its own.
 */
int tty_open_slave(struct task *t, struct tty *tty, struct file *f);
int tty_set_session(struct task *t, struct tty *tty, bool steal); /* TIOCSCTTY */
int tty_leave(struct task *t, struct tty *tty);                   /* TIOCNOTTY */
extern const struct file_ops tty_slave_ops, tty_master_ops;

/* May the current task do this to its terminal from the background? 0, -EIO, -ERESTARTSYS (it was
 * sent sig). */
int tty_check_background(struct task *t, struct tty *tty, int sig);

long tty_ioctl(struct task *t, struct tty *tty, struct file *f, unsigned cmd, gaddr_t arg,
               bool master);
/* The part of it that is about settings; -ENOTTY: not one of these. (settings.c) */
long tty_settings_ioctl(struct task *t, struct tty *tty, unsigned cmd, gaddr_t arg);

/* host.c */
void host_flush_locked(struct tty *tty);
void host_kick(struct tty *tty); /* no-op for pairs */
void host_resized_locked(struct tty *tty);
void host_last_close(struct tty *tty);

/* devpts.c */
/* The instance that f's node lies in, or the oldest one: a reference. NULL: none is mounted. */
struct devpts *devpts_of(const struct file *f);
void devpts_put(struct devpts *d); /* accepts NULL */
/* The number that f's node stands for; `index` if it is no node of devpts. */
unsigned devpts_index(const struct file *f, unsigned index);
/* Gives tty the lowest free number in the instance. 0 or -ENOSPC. */
int devpts_add(struct devpts *d, struct tty *tty);
void devpts_remove(struct tty *tty);
/* The terminal with that number: reference, or NULL. */
struct tty *devpts_find(struct devpts *d, unsigned index);
/* The instance that is t's /dev/pts, and its path (reference): NULL if there is none. */
struct devpts *devpts_of_task(struct task *t, struct path *ret);
