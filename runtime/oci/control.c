#include "runtime/oci/control.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/sentry/boot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* By way of the directory's descriptor: ROOT/ID may be longer than a socket's address can hold. */
static void address(int dirfd, struct sockaddr_un *addr)
{
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/control.sock", dirfd);
}

static int new_socket(void)
{
    /* A full queue of connections (the sentry is stopped) ends after this. */
    const struct timeval patience = {.tv_usec = CONTROL_ASK_MS * 1000};
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), size = 2 * SENTRY_PACKET_MAX;

    if (sock < 0)
        return -errno;
    (void)setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    /* A packet must fit as a whole. Only root may exceed wmem_max; where that fails, small ones
     * still work. */
    if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return sock;
}

int control_listen(int dirfd, struct error *err)
{
    struct sockaddr_un addr;
    CLEANUP(close_fd) int sock = new_socket();

    address(dirfd, &addr);
    (void)unlink(addr.sun_path);
    if (sock < 0 || bind(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        chmod(addr.sun_path, 0600) < 0 || listen(sock, 64) < 0)
        return error_errno(err, -errno, "control socket");
    return TAKE_FD(sock);
}

int control_connect(int dirfd, struct error *err)
{
    struct sockaddr_un addr;
    CLEANUP(close_fd) int sock = new_socket();

    address(dirfd, &addr);
    if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "connect to the sentry");
    return TAKE_FD(sock);
}

int control_send(int sock, json_t *request, const int *fds, unsigned n_fds, struct error *err)
{
    CLEANUP(free_ptr) char *text = json_dumps(request, JSON_COMPACT);
    int r;

    json_decref(request);
    if (!text)
        return error_errno(err, -ENOMEM, "request to the sentry");
    if (strlen(text) > SENTRY_PACKET_MAX)
        return error_set(err, -E2BIG, "request to the sentry is larger than %d bytes",
                         SENTRY_PACKET_MAX);
    r = fd_send(sock, text, strlen(text), fds, n_fds);
    return r < 0 ? error_errno(err, r, "send to the sentry") : 0;
}

int control_parse(const char *text, size_t size, json_t **ret, struct error *err)
{
    json_t *j = json_loadb(text, size, 0, NULL);
    const char *why;
    json_int_t code;

    if (json_is_true(json_object_get(j, "ok"))) {
        if (ret)
            *ret = j;
        else
            json_decref(j);
        return 0;
    }
    why = json_string_value(json_object_get(j, "error"));
    code = json_integer_value(json_object_get(j, "errno"));
    /* Either sign is understood; anything absurd becomes EIO. */
    code = code > 0 ? -code : code;
    if (code >= 0 || code < -4095)
        code = -EIO;
    (void)error_set(err, (int)code, "%.400s", why ? why : "the sentry's answer is malformed");
    json_decref(j);
    return (int)code;
}

int control_receive(int sock, json_t **ret, struct error *err)
{
    CLEANUP(free_ptr) char *text = malloc(SENTRY_PACKET_MAX);
    ssize_t n;

    if (!text)
        return error_errno(err, -ENOMEM, "answer of the sentry");
    n = fd_recv(sock, text, SENTRY_PACKET_MAX, NULL, 0);
    if (n == 0 || n == -ECONNRESET)
        return error_set(err, -EPIPE, "the sentry is gone");
    if (n < 0)
        return error_errno(err, (int)n, "receive from the sentry");
    return control_parse(text, (size_t)n, ret, err);
}

int control_call_within(int sock, json_t *request, const int *fds, unsigned n_fds, int timeout_ms,
                        json_t **ret, struct error *err)
{
    struct pollfd pfd = {.fd = sock, .events = POLLIN};
    int r = control_send(sock, request, fds, n_fds, err), n;

    if (r < 0)
        return r;
    while ((n = poll(&pfd, 1, timeout_ms)) < 0 && errno == EINTR)
        ;
    if (n == 0)
        return error_set(err, -ETIMEDOUT, "the sentry does not answer");
    return control_receive(sock, ret, err);
}

int control_call(int sock, json_t *request, const int *fds, unsigned n_fds, json_t **ret,
                 struct error *err)
{
    return control_call_within(sock, request, fds, n_fds, CONTROL_CALL_MS, ret, err);
}
