/* What tables of sockets show (/proc/net, socket diagnosis): asked of the host socket, which the
 * namespace's lock keeps. */
#include "runtime/sentry/net/describe.h"

#include "runtime/sentry/net/inet.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

enum { TCP_ESTABLISHED_STATE = 1 };

bool inet_described(const struct socket *s, int family, int protocol, int type)
{
    return s->family == family && s->type == type && s->host_fd >= 0 && s->ino &&
           (s->protocol == protocol || type == SOCK_RAW);
}

bool inet_describe(const struct socket *s, struct inet_facts *ret)
{
    socklen_t size = sizeof(ret->local.storage);
    bool connected;

    *ret = (struct inet_facts){
        .local = {.storage = {.ss_family = (sa_family_t)s->family}},
        .peer = {.storage = {.ss_family = (sa_family_t)s->family}},
        .state = DESCRIBE_CLOSED,
    };
    (void)getsockname(s->host_fd, &ret->local.sa, &size);
    size = sizeof(ret->peer.storage);
    connected = getpeername(s->host_fd, &ret->peer.sa, &size) == 0;
    if (s->type != SOCK_STREAM)
        ret->state = connected ? TCP_ESTABLISHED_STATE : DESCRIBE_CLOSED;
    else if (inet_tcp_info(s, &ret->info))
        ret->state = ret->info.tcpi_state;
    if (s->type == SOCK_STREAM && ret->state == DESCRIBE_CLOSED)
        return false;
    if (ret->state == DESCRIBE_LISTENING) {
        ret->queued = (int)ret->info.tcpi_unacked;
        ret->backlog = (int)ret->info.tcpi_sacked;
    } else {
        (void)ioctl(s->host_fd, SIOCINQ, &ret->queued);
        (void)ioctl(s->host_fd, SIOCOUTQ, &ret->unsent);
    }
    return true;
}

bool inet_tcp_info(const struct socket *s, struct tcp_info *ret)
{
    socklen_t size = sizeof(*ret);

    *ret = (struct tcp_info){0};
    return s->protocol == IPPROTO_TCP &&
           getsockopt(s->host_fd, IPPROTO_TCP, TCP_INFO, ret, &size) == 0;
}
