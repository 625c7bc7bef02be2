#pragma once
/* The control socket's verbs (boot.h) and the containers behind them. */
#include "common/error.h"
#include "runtime/sentry/sentry.h"

#include <jansson.h>

struct control_request {
    const json_t *json;
    struct exec_process **exec; /* of this connection; *exec NULL: none yet */
    int *fds;                   /* SENTRY_FDS_MAX; a verb that keeps one sets its entry to -1 */
    unsigned n_fds;
};
/* Handles one request: 0 and members added to `answer`, or -errno with err set. */
int control_handle(struct control_request *r, json_t *answer, struct error *err);

/* Serves the socket until "shutdown". Each connection has a service thread. */
int control_serve(int listen_sock);

/* ---- containers (container_create.c, container_exec.c, container_ops.c) ---- */
struct container *sandbox_container_find(const char *id); /* g_sentry.lock held */
struct container *sandbox_container_get(const char *id);  /* new reference; NULL: none (or no id) */
int sandbox_container_create(struct control_request *r, struct error *err);
/* *r->exec is then the caller's, for sandbox_exec_end. */
int sandbox_container_exec(struct container *c, struct control_request *r, int *ret_pid,
                           struct error *err);
/* Kills what has not ended, and forgets it. NULL: nothing. */
void sandbox_exec_end(struct exec_process *x);
int sandbox_container_start(struct container *c, int *ret_pid, struct error *err);
/* Blocks until c (or its exec, if name) ends; *ret_status: 0..255. hangup_fd: gives up with
 * -ECANCELED when its peer is gone (-1: never). */
int sandbox_container_wait(struct container *c, const char *exec, int hangup_fd, int *ret_status);
int sandbox_container_kill(struct container *c, const char *exec, int sig, bool all);
/* res: OCI linux.resources; what it does not name stays. */
void sandbox_container_set_limits(struct container *c, const json_t *res);
/* For the first task of a container, not yet started; spec NULL or without devices: nothing to do.
 */
int container_make_devices(struct task *t, const json_t *spec, struct error *err);
/* Faults of the sentry's own code end it with a report (failstop.c). */
void failstop_setup(void);
int sandbox_container_delete(struct container *c);
void sandbox_container_set_frozen(struct container *c, bool frozen);
