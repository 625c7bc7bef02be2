/* Route netlink dumps for /proc/net and /sys/class/net: one short-lived host socket for each. */
#include "runtime/sentry/net/dump.h"

#include "common/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { BUFFER = 32768, PATIENCE_MS = 1000 };

struct dump {
    int answer;
    size_t header_size;
    net_dump_fn *fn;
    void *arg;
    bool done;
};

static int handle_message(struct dump *d, const struct nlmsghdr *h)
{
    struct rtattr *attrs[NET_DUMP_ATTRS] = {NULL};
    size_t header = NLMSG_ALIGN(d->header_size);
    size_t left;

    if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
        d->done = true;
        return h->nlmsg_type == NLMSG_ERROR ? -EIO : 0;
    }
    if (h->nlmsg_type != d->answer || h->nlmsg_len < NLMSG_LENGTH(header))
        return 0;
    left = h->nlmsg_len - NLMSG_LENGTH(header);
    for (struct rtattr *a = (void *)((char *)NLMSG_DATA(h) + header); RTA_OK(a, left);
         a = RTA_NEXT(a, left))
        if ((a->rta_type & NLA_TYPE_MASK) < NET_DUMP_ATTRS)
            attrs[a->rta_type & NLA_TYPE_MASK] = a;
    return d->fn(d->arg, NLMSG_DATA(h), attrs);
}

static int handle_datagram(struct dump *d, const char *data, size_t left)
{
    int r = 0;

    for (const struct nlmsghdr *h = (const void *)data; !r && !d->done && NLMSG_OK(h, left);
         h = NLMSG_NEXT(h, left))
        r = handle_message(d, h);
    return r;
}

int net_dump(int question, int answer, int family, size_t header_size, net_dump_fn *fn, void *arg)
{
    CLEANUP(close_fd)
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    CLEANUP(free_ptr) char *data = malloc(BUFFER);
    struct {
        struct nlmsghdr h;
        char body[32];
    } q = {.h = {.nlmsg_len = (uint32_t)NLMSG_LENGTH(header_size),
                 .nlmsg_type = (uint16_t)question,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    struct dump d = {answer, header_size, fn, arg, false};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int r = 0;

    if (fd < 0)
        return -EIO;
    if (!data)
        return -ENOMEM;
    q.body[0] = (char)family;
    if (sendto(fd, &q, q.h.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -EIO;
    while (!r && !d.done) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = recv(fd, data, BUFFER, MSG_DONTWAIT);

        if (n >= 0)
            r = handle_datagram(&d, data, (size_t)n);
        else if (errno != EAGAIN && errno != EINTR)
            r = -EIO;
        else if (poll(&p, 1, PATIENCE_MS) == 0)
            r = -EIO;
    }
    return r;
}
