/* Internet and netlink sockets: what may be opened, options, control messages, isolation. */
#include "runtime/sentry/net/netlink.h"
#include "tests/unit/net/net_task.h"

#include <criterion/criterion.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

static struct task *t;

static void setup(void)
{
    t = net_task(false);
}

TestSuite(inet, .init = setup, .timeout = 20);

Test(inet, only_rows_of_the_table_may_be_opened)
{
    static const struct {
        int family, type, protocol, error;
    } rows[] = {
        {AF_INET, SOCK_STREAM, 0, 0},
        {AF_INET, SOCK_DGRAM, IPPROTO_UDP, 0},
        {AF_INET6, SOCK_STREAM, IPPROTO_TCP, 0},
        {AF_INET, SOCK_STREAM, 262 /* MPTCP */, -EPROTONOSUPPORT},
        {AF_INET, SOCK_DGRAM, 136 /* UDP-Lite */, 0},
        {AF_INET, SOCK_STREAM, IPPROTO_UDP, -EPROTONOSUPPORT},
        {AF_INET, SOCK_DCCP, 33, -ESOCKTNOSUPPORT},
        {AF_INET, SOCK_RAW, IPPROTO_ICMP, -EPERM},
        {AF_INET, SOCK_STREAM, -1, -EINVAL},
        {AF_PACKET, SOCK_RAW, 0, -EPERM},
        {AF_INET, SOCK_PACKET, 0, -EPERM},
        {AF_NETLINK, SOCK_RAW, 12 /* netfilter */, -EPROTONOSUPPORT},
        {AF_NETLINK, SOCK_RAW, 16 /* generic */, -EPROTONOSUPPORT},
        {AF_VSOCK, SOCK_STREAM, 0, -EAFNOSUPPORT},
        {AF_ALG, SOCK_SEQPACKET, 0, -EAFNOSUPPORT},
        {AF_XDP, SOCK_RAW, 0, -EAFNOSUPPORT},
        {-1, SOCK_RAW, 0, -EAFNOSUPPORT},
        {1000, SOCK_RAW, 0, -EAFNOSUPPORT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct file *f = NULL;

        cr_expect_eq(net_open(t, rows[i].family, rows[i].type, rows[i].protocol, &f), rows[i].error,
                     "row %zu", i);
        file_put(f);
    }
}

Test(inet, options_that_lead_around_policy_are_refused)
{
    static const struct {
        int level, name, error;
    } rows[] = {
        {IPPROTO_IP, IP_OPTIONS, -EPERM},
        {IPPROTO_IP, IP_TRANSPARENT, -EPERM},
        {IPPROTO_IPV6, IPV6_RTHDR, -EPERM},
        {IPPROTO_IPV6, IPV6_HOPOPTS, -EPERM},
        {SOL_SOCKET, SO_MARK, -EPERM},
        {SOL_SOCKET, SO_ATTACH_FILTER, -ENOPROTOOPT},
        {SOL_SOCKET, SO_ATTACH_BPF, -ENOPROTOOPT},
        {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, -EOPNOTSUPP},
        {IPPROTO_TCP, TCP_ULP, -ENOPROTOOPT},
        {IPPROTO_TCP, TCP_REPAIR, -EPERM},
        {IPPROTO_TCP, TCP_NODELAY, 0},
        {SOL_SOCKET, SO_KEEPALIVE, 0},
        {999, 1, -ENOPROTOOPT},
    };
    struct file *f;
    int one = 1;

    cr_assert_eq(net_open(t, AF_INET, SOCK_STREAM, 0, &f), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(socket_set_option(t, f->private, rows[i].level, rows[i].name, &one, 4),
                     rows[i].error, "row %zu", i);
    file_put(f);
}

static ssize_t send_control(struct file *f, int level, int type, size_t size)
{
    char control[256] = {0};
    struct cmsghdr h = {.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
    struct uio u;
    struct sockmsg m = {.uio = &u, .control = control, .control_size = CMSG_SPACE(size)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    memcpy(control, &h, sizeof(h));
    memcpy(m.name.bytes, &to, sizeof(to));
    m.name.size = sizeof(to);
    uio_init_kernel(&u, (void *)"x", 1);
    return socket_send(t, f, &m, MSG_NOSIGNAL);
}

Test(inet, control_messages_are_rows_too)
{
    struct file *f;
    struct uio u;
    struct sockmsg m = {.uio = &u};

    cr_assert_eq(net_open(t, AF_INET, SOCK_DGRAM, 0, &f), 0);
    cr_expect_eq(send_control(f, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo)), 1);
    cr_expect_eq(send_control(f, IPPROTO_IP, IP_PKTINFO, 3), -EINVAL);
    cr_expect_eq(send_control(f, IPPROTO_IP, IP_RETOPTS, 8), -EPERM);
    cr_expect_eq(send_control(f, IPPROTO_IPV6, IPV6_RTHDR, 24), -EPERM);
    cr_expect_eq(send_control(f, SOL_SOCKET, SO_MARK, 4), -EPERM);
    cr_expect_eq(send_control(f, SOL_SOCKET, SCM_RIGHTS, 4), 1);
    uio_init_kernel(&u, (void *)"x", 1);
    cr_expect_eq(socket_send(t, f, &m, MSG_FASTOPEN), -EOPNOTSUPP);
    file_put(f);
}

Test(inet, low_ports_need_the_capability)
{
    struct sockname name = {.size = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(81)};
    struct socket *s;
    struct file *f;

    memcpy(name.bytes, &in, sizeof(in));
    cr_assert_eq(net_open(t, AF_INET, SOCK_STREAM, 0, &f), 0);
    s = f->private;
    t->cred->effective = 0;
    cr_expect_eq(s->ops->bind(t, s, &name), -EACCES);
    t->ns->net->unprivileged_port_start = 80;
    cr_expect_neq(s->ops->bind(t, s, &name), -EACCES * (int)(geteuid() == 0));
    file_put(f);
}

Test(inet, an_isolated_namespace_reaches_nothing)
{
    struct sockname name = {.size = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct socket *s;
    struct file *f;

    t = net_task(true);
    memcpy(name.bytes, &in, sizeof(in));
    cr_assert_eq(net_open(t, AF_INET, SOCK_STREAM, 0, &f), 0);
    s = f->private;
    cr_expect_eq(s->ops->connect(t, s, &name, false), -ENETUNREACH);
    cr_expect_eq(s->ops->bind(t, s, &name), -EADDRNOTAVAIL);
    cr_expect_eq(net_send(t, f, "x", 1), -EPIPE);
    file_put(f);
}

static int ask(struct file *f, uint16_t type, uint16_t flags)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg i;
        char extra[32];
    } q = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(q.i)),
                 .nlmsg_type = type,
                 .nlmsg_flags = NLM_F_REQUEST | flags,
                 .nlmsg_seq = 7}};

    return (int)net_send(t, f, &q, q.h.nlmsg_len);
}

/* The first answer's header. */
static struct nlmsghdr answer(struct file *f, int *ret_error)
{
    char data[16384];
    struct nlmsghdr h = {0};

    for (int i = 0; i < 100; i++) {
        ssize_t n = net_recv(t, f, data, sizeof(data), 0);

        if (n >= (ssize_t)sizeof(h)) {
            memcpy(&h, data, sizeof(h));
            *ret_error = 0;
            if (h.nlmsg_type == NLMSG_ERROR)
                memcpy(ret_error, data + sizeof(h), sizeof(int));
            return h;
        }
        (void)poll(NULL, 0, 10);
    }
    return h;
}

Test(inet, netlink_answers_questions_and_refuses_changes)
{
    struct nlmsghdr h;
    struct file *f;
    int error;

    cr_assert_eq(net_open(t, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &f), 0);
    cr_assert_gt(ask(f, RTM_GETLINK, NLM_F_DUMP), 0);
    h = answer(f, &error);
    cr_expect(h.nlmsg_type == RTM_NEWLINK && h.nlmsg_seq == 7);
    file_put(f);
    cr_assert_eq(net_open(t, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &f), 0);
    for (uint16_t type = RTM_BASE; type < RTM_MAX; type++) {
        if ((type & 3) == 2)
            continue;
        cr_assert_gt(ask(f, type, NLM_F_ACK), 0);
        h = answer(f, &error);
        cr_expect_eq(error, -EPERM, "type %u: %d", type, error);
    }
    file_put(f);
}

Test(inet, malformed_netlink_is_dropped)
{
    struct file *f;
    char junk[256];

    cr_assert_eq(net_open(t, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &f), 0);
    for (unsigned seed = 1; seed < 3000; seed++) {
        struct nlmsghdr h = {.nlmsg_len = seed % 300,
                             .nlmsg_type = (uint16_t)(16 + seed % 80),
                             .nlmsg_flags = NLM_F_REQUEST};
        char out[4096];

        for (size_t i = 0; i < sizeof(junk); i++)
            junk[i] = (char)((seed * 2654435761u + i * 40503u) >> 13);
        memcpy(junk, &h, sizeof(h));
        (void)net_send(t, f, junk, seed % sizeof(junk));
        (void)net_recv(t, f, out, sizeof(out), 0);
    }
    file_put(f);
}
