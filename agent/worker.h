#pragma once
/*
 * Work that may take long (unpacking, running a program) in a forked child, so that the loop never
 * waits. The child sees memory as it was at the fork, and dies with the agent.
 */
#include "agent/loop.h"
#include "common/error.h"

struct worker {
    struct loop_child child;
    struct loop_fd output;
    int pipe_fd;
    char text[512];
    size_t size;
    void (*done)(void *ctx, int code, const char *message);
    void *ctx;
};

bool worker_busy(const struct worker *w);
/* Runs fn(arg) in a child; its error text comes back. done gets 0, or a negative errno. */
int worker_start(struct loop *l, struct worker *w, int (*fn)(void *arg, struct error *err),
                 void *arg, void (*done)(void *ctx, int code, const char *message), void *ctx);
/* Kills it; done is not called. */
void worker_cancel(struct worker *w);

/* In a worker: replaces the process by argv; its stderr is the error text. Returns only on failure.
 */
int worker_exec(char *const argv[], struct error *err);
/* In a worker: runs argv and waits, at most timeout_s; what it wrote to stderr becomes the error.
 */
int worker_run(char *const argv[], unsigned timeout_s, struct error *err);
/* After fork: default signal dispositions, nothing blocked. */
void child_reset_signals(void);
