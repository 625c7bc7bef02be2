#pragma once
/*
 * What is on disk about a container: ROOT/ID/ with state.json (written atomically), exit.json
 * (written by the monitor at the end), control.sock (a sandbox's). A container's directory is
 * locked by flock while a verb changes it.
 */
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* A process that we may meet again by pid: the start time tells it from a later one with the same
 * number. */
struct process_ref {
    pid_t pid;
    unsigned long long start; /* field 22 of /proc/PID/stat */
};

struct state {
    char id[129], sandbox[129]; /* sandbox: the id of the container that made the sentry; its own
                                   for a sandbox */
    char bundle[4096], rootfs[4096], cgroups[4096], created[40], version[16];
    char program[4096]; /* what made the sandbox, all links followed */
    struct process_ref monitor, sentry, gofer;
    unsigned uid; /* of the sandbox on the host */
    bool armed, standalone, tty;
    json_t *annotations, *hooks; /* owned, may be NULL */
};

/* Start time of a live process; 0 if there is none (or it is a zombie). */
unsigned long long process_start_time(pid_t pid);
bool process_alive(const struct process_ref *p);
/* SIGKILL, and waits up to timeout_ms for its end. True if it is gone. */
bool process_kill(const struct process_ref *p, int timeout_ms);
/* SIGKILL alone. */
void process_signal_kill(const struct process_ref *p);
/* SIGCONT: goes on if it was stopped. */
void process_wake(const struct process_ref *p);
/* Waits up to timeout_ms for its end. True if it is gone. */
bool process_await(const struct process_ref *p, int timeout_ms);

/* Makes ROOT/ID, locked. -EEXIST "container with id exists" unless what lies there is left over
 * from a run that is dead: then that is removed first. Returns the directory's descriptor (holding
 * the lock). */
int state_create(const char *root, const char *id, struct error *err);
/* Opens and locks; -ENOENT: "container \"ID\" does not exist". */
int state_open(const char *root, const char *id, struct error *err);
/* The same for what a killed run left behind: -EBUSY while a verb is at it or its monitor lives.
 * Asks locks, not pids: the run may be one of another pid namespace. */
int state_open_dead(const char *root, const char *id);
int state_load(int dirfd, const char *id, struct state *ret, struct error *err);
int state_save(int dirfd, const struct state *s, struct error *err);
void state_free(struct state *s);
/* Removes everything in the directory and itself. */
void state_remove(const char *root, const char *id);

/* The exit status as the monitor left it; -EAGAIN if it has not ended, -ENOENT if there is no
 * record. */
int state_exit_status(int dirfd, int *ret_status, bool *ret_oom);
/* Creates the (empty) record, locked; the monitor keeps the descriptor, and with it the lock, while
 * it lives. */
int state_exit_open(int dirfd, struct error *err);
void state_exit_write(int fd, int status, bool oom);
