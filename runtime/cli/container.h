#pragma once
/* What create, run and do share: from a parsed spec to a container in state "created", and its end.
 */
#include "runtime/cli/cli.h"
#include "runtime/oci/launch.h"
#include "runtime/oci/monitor.h"

/* What is killed is gone within milliseconds, however many of them: the limit is for a machine that
 * is too busy to let it die. */
enum { CONTAINER_KILL_MS = 10000 };

struct container {
    struct cli *cli;
    const char *id, *bundle;
    struct oci_spec spec;
    struct mount_set mounts;
    struct net net;
    struct cgroup cgroup, leaf; /* leaf: see launch.h */
    struct launch launch;
    char rootfs[4096], sandbox[129], pidns_of[129];
    int dirfd;         /* ROOT/ID, locked */
    int sandbox_dirfd; /* ROOT/SANDBOX: the same, or the one that is joined */
    int console;       /* pty slave, or -1 */
    bool cri;          /* part of a pod: the sentry outlives this container */
    bool host_root;  /* in: the root is this machine's own: without its mounts, never written to */
    bool foreground; /* in: the caller is the monitor; a terminal is the caller's own */
};

/* Checks id and spec (already in c->spec), makes the state directory, opens mounts, network,
 * control socket and console (console_socket may be NULL). On failure nothing is left. */
int container_prepare(struct container *c, struct cli *cli, const char *id, const char *bundle,
                      const char *console_socket, struct error *err);
/* In the monitor-to-be: makes the processes, writes the state, opens the monitor. */
int container_launch(struct container *c, struct monitor *m, struct error *err);
/* Frees memory and descriptors. */
void container_fini(struct container *c);
/* Removes what container_prepare made on disk, and the cgroups. */
void container_discard(struct container *c);

/* A container by its id: state loaded; returns ROOT/ID's descriptor (locked). Goes on in the
 * program that made it, if that is another (program.h). */
int container_open(struct cli *cli, const char *id, struct state *ret, struct error *err);
/* Connection to its sentry. */
int container_connect(struct cli *cli, const struct state *s, struct error *err);
/* "creating", "created", "running", "paused" or "stopped". */
const char *container_status(struct cli *cli, int dirfd, const struct state *s);
/* A request with only an id. ret may be NULL. */
int container_call(struct cli *cli, const struct state *s, const char *op, json_t **ret,
                   struct error *err);
/* The same with another patience. */
int container_call_within(struct cli *cli, const struct state *s, const char *op, int timeout_ms,
                          json_t **ret, struct error *err);
/* Ends and removes a container, whatever its state; with a pod's sandbox its containers, and what
 * others left behind for whose end nobody will ask any more. (delete.c) */
int container_delete(struct cli *cli, int dirfd, const struct state *s, struct error *err);
/* SIGKILL without the sentry's help, for when it does not answer: the container's guest processes
 * and its monitor; for a sandbox all of it. (delete.c) */
void container_kill_hard(const struct state *s);
/* Runs host hooks whose failures are only logged. */
void container_hooks(const struct state *s, const char *name, const char *status);
/* The state as hooks get it. */
json_t *container_state_json(const struct state *s, const char *status);
/* Starts a created container, with the hooks that belong to that; dirfd is ROOT/ID. (start.c) */
int container_start(struct cli *cli, int dirfd, const struct state *s, struct error *err);
/* Writes a pid as text, atomically. */
int container_pid_file(const char *path, int pid, struct error *err);
/* In the foreground: launches, starts, waits, deletes unless it is to be kept. Returns the
 * workload's status. c is used up. (verb_create.c) */
int container_run(struct container *c, const char *pid_file, bool keep, struct error *err);
