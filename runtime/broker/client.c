#include "runtime/broker/client.h"

#include "common/fdio.h"
#include "runtime/broker/proto.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct broker {
    pthread_mutex_t lock; /* one request and its reply */
    int sock;             /* immutable */
};

struct broker *broker_new(int sock)
{
    struct broker *b = calloc(1, sizeof(*b));

    if (!b) {
        (void)close(sock);
        return NULL;
    }
    (void)pthread_mutex_init(&b->lock, NULL);
    b->sock = sock;
    return b;
}

/* fd < 0: the request carries none. ret_fd: what came back, may be NULL. */
static int call(struct broker *b, const struct broker_request *head, int fd, const void *data,
                size_t size, int *ret_fd)
{
    char packet[sizeof(*head) + BROKER_DATA_MAX];
    struct broker_reply reply;
    int r;

    if (size > BROKER_DATA_MAX)
        return -EINVAL;
    memcpy(packet, head, sizeof(*head));
    if (size)
        memcpy(packet + sizeof(*head), data, size);
    (void)pthread_mutex_lock(&b->lock);
    r = fd_send(b->sock, packet, sizeof(*head) + size, &fd, fd >= 0);
    if (r == 0 && fd_recv(b->sock, &reply, sizeof(reply), ret_fd, ret_fd != NULL) != sizeof(reply))
        r = -EIO;
    (void)pthread_mutex_unlock(&b->lock);
    return r < 0 ? -EIO : reply.result;
}

int broker_socket(struct broker *b, int family, int type, int protocol)
{
    struct broker_request head = {BROKER_SOCKET, family, type, protocol};
    int fd = -1, r = call(b, &head, -1, NULL, 0, &fd);

    if (r < 0 && fd >= 0)
        (void)close(fd);
    return r < 0 ? r : fd < 0 ? -EIO : fd;
}

int broker_option(struct broker *b, int fd, int level, int name, const void *value, size_t size)
{
    struct broker_request head = {BROKER_OPTION, level, name, 0};

    return call(b, &head, fd, value, size, NULL);
}

int broker_bind(struct broker *b, int fd, const struct sockaddr *addr, socklen_t size)
{
    struct broker_request head = {BROKER_BIND, 0, 0, 0};

    return call(b, &head, fd, addr, size, NULL);
}
