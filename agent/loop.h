#pragma once
/*
 * One-thread event loop: descriptors (epoll), timers, child processes (pidfd), signals (signalfd).
 * Sources are embedded in their owner and may be removed at any time, also from their own callback.
 */
#include "common/list.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop {
    int epoll_fd;
    struct list timers; /* of struct loop_timer, soonest first */
    bool stop;
};

/* 0 or negative errno. */
int loop_init(struct loop *l);
void loop_fini(struct loop *l);
/* Runs callbacks until loop_stop. 0 or negative errno (epoll itself failed). */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);

struct loop_fd {
    struct loop *loop; /* NULL: not added */
    int fd;            /* borrowed */
    void (*fn)(void *ctx, uint32_t events);
    void *ctx;
};

int loop_fd_add(struct loop *l, struct loop_fd *s, int fd, uint32_t events,
                void (*fn)(void *ctx, uint32_t events), void *ctx);
int loop_fd_modify(struct loop_fd *s, uint32_t events);
void loop_fd_remove(struct loop_fd *s); /* fine if not added */

struct loop_timer {
    struct list link; /* zero-filled or linked */
    uint64_t at_ms;   /* CLOCK_BOOTTIME */
    void (*fn)(void *ctx);
    void *ctx;
};

uint64_t loop_now_ms(void);
/* (Re)arms t to fire once in delay_ms. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms, void (*fn)(void *ctx),
                    void *ctx);
void loop_timer_cancel(struct loop_timer *t); /* fine if not armed */

/* A process whose end is awaited: a child (reaped, status as of waitpid) or any other process
 * (status -1: it is gone, its status is written elsewhere). */
struct loop_child {
    struct loop_fd source;
    pid_t pid; /* 0: not watched */
    int pidfd; /* -1 if not watched */
    void (*fn)(void *ctx, int status);
    void *ctx;
};

int loop_child_add(struct loop *l, struct loop_child *c, pid_t pid,
                   void (*fn)(void *ctx, int status), void *ctx);
void loop_child_remove(struct loop_child *c); /* stops watching; does not kill */
/* Signal by pidfd: never hits a process that took over the number. 0 or -errno. */
int loop_child_signal(const struct loop_child *c, int sig);

/* Blocks the signals and delivers them to fn. */
struct loop_signals {
    struct loop_fd source;
    int fd;
    void (*fn)(void *ctx, int sig);
    void *ctx;
};

int loop_signals_add(struct loop *l, struct loop_signals *s, const int *signals, size_t n,
                     void (*fn)(void *ctx, int sig), void *ctx);
