#pragma once
/* clang-format off */
/*
 * Where the OCI side ends and the application kernel begins.
 *
 * `berm create` of a sandbox forks the sentry, confines it (security/), and calls sentry_main
 * there. Everything else reaches the sentry through its control socket: SOCK_SEQPACKET, path
 * STATE_DIR/control.sock, bound and listening before confinement; one JSON object a packet (<=
 * SENTRY_PACKET_MAX bytes), descriptors by SCM_RIGHTS; one answer a request, {"ok":true,...} or
 * {"ok":false,"error":TEXT,"errno":N}. Several requests may follow each other on one connection; a
 * "wait" blocks its connection only.
 *
 *  op        members | descriptors | answer
 *  create    id, spec (the whole OCI config.json), rootReadonly, rootOverlay, mounts (see below), tty, sandbox, foreground (bools) [, pidNamespaceOf]
 *            | gofer, zygote, stdin, stdout, stderr | -
 *            scratch (bool): the gofer has a scratch directory; upperLimit: bytes that the root file system's
 *            writable layer may hold, 0: the built-in default
 *            pidNamespaceOf: id of the container whose pid namespace it joins; absent: a new one
 *            foreground: a person waits for it: signals end its first process as they would end any other,
 *            though it is the init of its pid namespace
 *  start     id | | pid (in the container)
 *  exec      id, exec (name), process (OCI process), tty | stdin, stdout, stderr | pid
 *  wait      id [, exec] [, lease] | | status (0..255, 128+n by signal), oom (bool)
 *            lease (bool): the connection stands for the monitor; if it ends before the answer was sent, all of that
 *            container (or that exec'ed process and its session) is killed with SIGKILL
 *  kill      id [, exec], signal, all (bool) | | -
 *  ps        id | | processes [{pid, ppid, uid, comm, args, threads}]
 *  state     id | | status created|running|paused|stopped, pid
 *  pause, resume, delete    id | | -
 *  stats     id | | pids, memory, cpu usage
 *  update    id, resources (OCI linux.resources; what is absent stays) | | -
 *  winch     id [, exec] | | -   (the terminal's size changed)
 *  shutdown  | | -   (ends the sandbox)
 *
 * With tty, the one descriptor given three times is the host pty's slave: the sentry keeps it raw
 * and runs its own line discipline on it. Errors of exec'ing the entrypoint (ENOENT, EACCES,
 * ENOEXEC) are found at `create` (and at `exec`), with the text "exec: \"NAME\": no such file or
 * directory" and the like.
 *
 * The gofer serves numbered mounts: 0 is the rootfs; every bind mount of the spec has a number,
 * given in `mounts`:
 * [{"destination":PATH,"type":"bind","gofer":N,"readonly":bool,"exclusive":bool,"file":bool},
 * {"destination":PATH,"type":"tmpfs"|"proc"|"sysfs"|"devpts"|"mqueue"|"cgroup"|"dev","options":[...]}],
 * in the order in which they are mounted. "exclusive": nobody else changes it (rootfs, private
 * volumes): cache without asking. Mount number 0 with rootOverlay true: writes stay in the sandbox
 * (upper layer in sentry memory).
 */
/* clang-format on */
#include <stdbool.h>

enum { SENTRY_PACKET_MAX = 262144, SENTRY_FDS_MAX = 8 };

struct sentry_boot {
    int control_sock;         /* listening */
    const char *first_create; /* the JSON of the first "create", or NULL */
    int fds[SENTRY_FDS_MAX];  /* its descriptors, in the order above */
    unsigned n_fds;
    int ready_fd;    /* gets the answer to first_create as one line of JSON, then is closed */
    int log_fd;      /* for log_write, -1 if none */
    bool net;        /* the network namespace has (or will have) more than loopback */
    bool net_raw;    /* the pod was granted NET_RAW */
    int broker_sock; /* opens raw sockets and low ports for the sentry; -1: there is none */
    bool data_plane_direct; /* runtime configuration data-plane: direct */
    bool strace;            /* log every guest system call (debug) */
};

/* Runs the sandbox in the calling (single-threaded, confined) process; returns its exit status when
 * the sandbox has ended. */
int sentry_main(const struct sentry_boot *boot);

/* Rows of the host system calls that the sentry makes, for security/: see sentry/host_calls.def. */
