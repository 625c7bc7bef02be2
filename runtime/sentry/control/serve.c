/*
 * The control socket: a service thread for each connection, small packets, one answer a request.
 * Peers are our own runtime outside of the sandbox; packets are bounded and parsed strictly all the
 * same.
 */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/guard.h"
#include "runtime/sentry/control/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 512 << 10 };

static void answer_error(json_t *answer, int code, const struct error *err)
{
    (void)json_object_clear(answer);
    (void)json_object_set_new(answer, "ok", json_false());
    (void)json_object_set_new(answer, "errno", json_integer(-code));
    (void)json_object_set_new(answer, "error",
                              json_string(err->msg[0] ? err->msg : strerrorname_np(-code)));
}

static int send_answer(int sock, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    int r = text ? fd_send(sock, text, strlen(text), NULL, 0) : -ENOMEM;

    free(text);
    return r;
}

/* "wait" keeps its connection busy until the end, or, with a lease, until the peer goes. */
static void handle_wait(int sock, const json_t *json, json_t *answer)
{
    const char *id = json_string_value(json_object_get(json, "id"));
    const char *exec = json_string_value(json_object_get(json, "exec"));
    bool lease = json_is_true(json_object_get(json, "lease"));
    struct error err = ERROR_INIT;
    struct container *c = sandbox_container_get(id);
    int status = 0, r;

    if (!c) {
        answer_error(answer, -ENOENT, &err);
        return;
    }
    r = sandbox_container_wait(c, exec, sock, &status);
    if (r == -ECANCELED && lease && !exec &&
        GUARDED(CALLER_DEATH)) /* an exec ends with its own connection */
        (void)sandbox_container_kill(c, NULL, SIGKILL, true);
    container_put(c);
    if (r < 0) {
        answer_error(answer, r, &err);
        return;
    }
    (void)json_object_set_new(answer, "status", json_integer(status));
}

/* exec: the process that belongs to this connection. */
static bool handle_packet(int sock, char *packet, size_t size, int *fds, struct exec_process **exec)
{
    struct error err = ERROR_INIT;
    json_error_t je;
    json_t *json = json_loadb(packet, size, JSON_REJECT_DUPLICATES, &je);
    json_t *answer = json_pack("{s:b}", "ok", 1);
    const char *op = json_string_value(json_object_get(json, "op"));
    struct control_request r = {.json = json, .exec = exec, .fds = fds};
    bool go_on = true;
    int e;

    while (r.n_fds < SENTRY_FDS_MAX && fds[r.n_fds] >= 0)
        r.n_fds++;
    if (!json) {
        (void)error_set(&err, -EINVAL, "request is not JSON: %s", je.text);
        answer_error(answer, -EINVAL, &err);
    } else if (op && strcmp(op, "wait") == 0) {
        handle_wait(sock, json, answer);
    } else if (op && strcmp(op, "shutdown") == 0) {
        (void)send_answer(sock, answer);
        _exit(0);
    } else {
        e = control_handle(&r, answer, &err);
        if (e < 0)
            answer_error(answer, e, &err);
    }
    if (send_answer(sock, answer) < 0)
        go_on = false;
    json_decref(answer);
    json_decref(json);
    return go_on;
}

static void *connection_main(void *arg)
{
    CLEANUP(close_fd) int sock = (int)(intptr_t)arg;
    char *packet = malloc(SENTRY_PACKET_MAX);
    struct exec_process *exec = NULL;
    int fds[SENTRY_FDS_MAX];
    bool go_on = packet != NULL;

    while (go_on) {
        ssize_t n = fd_recv(sock, packet, SENTRY_PACKET_MAX, fds, SENTRY_FDS_MAX);

        if (n <= 0)
            break;
        go_on = handle_packet(sock, packet, (size_t)n, fds, &exec);
        for (int i = 0; i < SENTRY_FDS_MAX; i++)
            close_fd(&fds[i]);
    }
    sandbox_exec_end(exec);
    free(packet);
    return NULL;
}

/* Where guests have taken all of the cgroup's pids no thread can be had. One is there from the
 * start and serves what comes then, one connection after the other: `state` and `kill` must not
 * fail. */
static struct {
    sem_t given;
    int sock;
    bool busy; /* atomic */
} g_spare;

static void *spare_main(void *arg)
{
    for (;;) {
        while (sem_wait(&g_spare.given) < 0)
            ;
        (void)connection_main((void *)(intptr_t)g_spare.sock);
        __atomic_store_n(&g_spare.busy, false, __ATOMIC_RELEASE);
    }
    return arg;
}

static void pause_a_little(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* Waits for a thread of its own or the spare one; others wait to be accepted meanwhile. */
static void serve(int sock, const pthread_attr_t *attr)
{
    pthread_t thread;

    while (pthread_create(&thread, attr, connection_main, (void *)(intptr_t)sock) != 0) {
        if (!__atomic_load_n(&g_spare.busy, __ATOMIC_ACQUIRE)) {
            g_spare.busy = true;
            g_spare.sock = sock;
            (void)sem_post(&g_spare.given);
            return;
        }
        pause_a_little();
    }
}

int control_serve(int listen_sock)
{
    pthread_attr_t attr;
    pthread_t spare;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)sem_init(&g_spare.given, 0, 0);
    if (pthread_create(&spare, &attr, spare_main, NULL) != 0)
        g_spare.busy = true; /* for good */
    for (;;) {
        int sock = accept4(listen_sock, NULL, NULL, SOCK_CLOEXEC);

        if (sock >= 0)
            serve(sock, &attr);
        else if (errno == EMFILE || errno == ENFILE)
            pause_a_little();
        else if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}
