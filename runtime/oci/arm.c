#include "runtime/oci/arm.h"

#include "agent/arm/proto.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { TIMEOUT_SECONDS = 10, DISARM_TIMEOUT_SECONDS = 1 };

static int connect_agent(const struct runtime_config *config, int timeout_seconds)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = timeout_seconds};
    CLEANUP(close_fd) int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (sock < 0)
        return -errno;
    (void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    _Static_assert(sizeof(addr.sun_path) == sizeof(config->agent_socket), "one size");
    memcpy(addr.sun_path, config->agent_socket, sizeof(addr.sun_path));
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    return TAKE_FD(sock);
}

static json_t *build(const struct arm_request *req)
{
    static const char *const names[][2] = {
        {"namespace", "io.kubernetes.cri.sandbox-namespace"},
        {"pod", "io.kubernetes.cri.sandbox-name"},
        {"uid", "io.kubernetes.cri.sandbox-uid"},
    };
    json_t *j =
        json_pack("{s:s,s:i,s:s,s:s,s:s}", "op", "arm", "version", ARM_VERSION, "id", req->id,
                  "sandbox", req->sandbox, "cgroup", req->cgroup >= 0 ? req->cgroup_path : "");

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *v = oci_annotation(req->spec, names[i][1]);

        (void)json_object_set_new(j, names[i][0], json_string(v ? v : ""));
    }
    if (req->spec->annotations)
        (void)json_object_set(j, "annotations", req->spec->annotations);
    return j;
}

static int exchange(int sock, const struct arm_request *req, struct arm_answer *ret,
                    struct error *err)
{
    CLEANUP(free_ptr) char *answer = malloc(ARM_PACKET_MAX);
    CLEANUP(free_ptr) char *text = NULL;
    int fds[3] = {req->netns, req->pidfd, req->cgroup};
    json_t *j = build(req);
    ssize_t n;
    int r;

    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    if (!text || !answer)
        return error_errno(err, -ENOMEM, "arm");
    r = fd_send(sock, text, strlen(text), fds, req->cgroup >= 0 ? 3 : 2);
    if (r < 0)
        return error_errno(err, r, "send to the agent");
    n = fd_recv(sock, answer, ARM_PACKET_MAX, NULL, 0);
    if (n == -EAGAIN)
        return error_set(err, -ETIMEDOUT, "the agent did not answer within %d s", TIMEOUT_SECONDS);
    if (n <= 0)
        return error_errno(err, n < 0 ? (int)n : -ECONNRESET, "the agent did not answer");
    j = json_loadb(answer, (size_t)n, 0, NULL);
    if (json_is_true(json_object_get(j, "ok"))) {
        const char *plane = json_string_value(json_object_get(j, "dataPlane"));

        ret->armed = true;
        ret->net_raw = json_is_true(json_object_get(j, "netRaw"));
        ret->direct = plane && strcmp(plane, "direct") == 0;
        r = 0;
    } else {
        const char *why = json_string_value(json_object_get(j, "error"));

        r = error_set(err, -EPERM, "the agent refused: %.300s", why ? why : "no reason given");
    }
    json_decref(j);
    return r;
}

int arm(const struct runtime_config *config, const struct arm_request *req, struct arm_answer *ret,
        struct error *err)
{
    CLEANUP(close_fd) int sock = connect_agent(config, TIMEOUT_SECONDS);
    int r;

    *ret = (struct arm_answer){0};
    if (sock < 0 && !config->require_agent) {
        log_warn("sandbox %s runs WITHOUT network guard and policy: no agent at %s, and the "
                 "configuration does not require one",
                 req->sandbox, config->agent_socket);
        return 0;
    }
    if (sock < 0)
        return error_set(
            err, sock,
            "network of the sandbox cannot be guarded: no agent at %s (%s); start bermd, or use a "
            "network namespace without a path",
            config->agent_socket, strerror(-sock));
    r = exchange(sock, req, ret, err);
    return r < 0 ? error_wrap(err, "network of the sandbox cannot be guarded") : 0;
}

void disarm(const struct runtime_config *config, const char *sandbox)
{
    CLEANUP(close_fd) int sock = connect_agent(config, DISARM_TIMEOUT_SECONDS);
    CLEANUP(free_ptr) char *text = NULL;
    char answer[512];
    json_t *j;

    if (sock < 0)
        return;
    j = json_pack("{s:s,s:i,s:s}", "op", "disarm", "version", ARM_VERSION, "sandbox", sandbox);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    if (text && fd_send(sock, text, strlen(text), NULL, 0) == 0)
        (void)fd_recv(sock, answer, sizeof(answer), NULL, 0);
}
