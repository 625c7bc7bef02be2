/*
 * SIOCGIF*: questions about interfaces, on sockets of any family, answered by the host about the
 * pod's namespace, or made up for an isolated one (loopback only). Changes are EPERM.
 */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/net/socket.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

enum { CONF_MAX = 256, LO_INDEX = 1, LO_MTU = 65536 };

/* Any host socket will do for asking. */
static int ask(unsigned cmd, void *arg)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

static void set_in(struct sockaddr *sa, uint32_t addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(addr)}};

    memcpy(sa, &in, sizeof(*sa));
}

static int ask_isolated(const struct netns *ns, unsigned cmd, struct ifreq *r)
{
    if (cmd == SIOCGIFNAME) {
        if (r->ifr_ifindex != LO_INDEX)
            return -ENODEV;
        (void)strcpy(r->ifr_name, "lo");
        return 0;
    }
    if (strcmp(r->ifr_name, "lo") != 0)
        return -ENODEV;
    switch (cmd) {
    case SIOCGIFINDEX:
        r->ifr_ifindex = LO_INDEX;
        return 0;
    case SIOCGIFFLAGS:
        r->ifr_flags = (short)(IFF_LOOPBACK | (ns->lo_up ? IFF_UP | IFF_RUNNING : 0));
        return 0;
    case SIOCGIFMTU:
        r->ifr_mtu = LO_MTU;
        return 0;
    case SIOCGIFHWADDR:
        r->ifr_hwaddr = (struct sockaddr){.sa_family = ARPHRD_LOOPBACK};
        return 0;
    case SIOCGIFADDR:
    case SIOCGIFNETMASK:
        if (!ns->lo_addr4)
            return -EADDRNOTAVAIL;
        set_in(&r->ifr_addr, cmd == SIOCGIFADDR ? INADDR_LOOPBACK : 0xff000000);
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

static long interface_list(struct task *t, struct socket *s, gaddr_t arg)
{
    struct { /* struct ifconf with the guest's pointer */
        int32_t size, pad;
        uint64_t buffer;
    } guest;
    struct ifreq rows[CONF_MAX];
    struct ifconf conf = {.ifc_len = sizeof(rows), .ifc_req = rows};
    int r;

    if (copy_in(t, &guest, arg, sizeof(guest)) < 0)
        return -EFAULT;
    if (guest.size < 0)
        return -EINVAL;
    memset(rows, 0, sizeof(rows));
    if (s->netns->isolated) {
        conf.ifc_len = s->netns->lo_addr4 ? (int)sizeof(rows[0]) : 0;
        (void)strcpy(rows[0].ifr_name, "lo");
        set_in(&rows[0].ifr_addr, INADDR_LOOPBACK);
    } else {
        r = ask(SIOCGIFCONF, &conf);
        if (r < 0)
            return r;
    }
    if (guest.buffer) {
        guest.size -= guest.size % (int)sizeof(rows[0]);
        conf.ifc_len = MIN(conf.ifc_len, guest.size);
        if (copy_out(t, guest.buffer, rows, (size_t)conf.ifc_len) < 0)
            return -EFAULT;
    }
    return copy_out(t, arg, &conf.ifc_len, sizeof(int));
}

static long interface_get(struct task *t, struct socket *s, unsigned cmd, gaddr_t arg)
{
    struct ifreq req;
    int r;

    if (copy_in(t, &req, arg, sizeof(req)) < 0)
        return -EFAULT;
    req.ifr_name[IFNAMSIZ - 1] = '\0';
    r = s->netns->isolated ? ask_isolated(s->netns, cmd, &req) : ask(cmd, &req);
    return r < 0 ? r : copy_out(t, arg, &req, sizeof(req));
}

/* `ip link set lo up` the old way, in one's own namespace. */
static long set_flags(struct task *t, struct socket *s, gaddr_t arg)
{
    struct ifreq req;

    if (copy_in(t, &req, arg, sizeof(req)) < 0)
        return -EFAULT;
    if (!s->netns->isolated || !cred_capable_in(t->cred, s->netns->userns, CAP_NET_ADMIN))
        return -EPERM;
    if (strncmp(req.ifr_name, "lo", IFNAMSIZ) != 0)
        return -ENODEV;
    mutex_lock(&s->netns->lock);
    s->netns->lo_up = req.ifr_flags & IFF_UP;
    s->netns->lo_addr4 |= s->netns->lo_up;
    s->netns->lo_addr6 |= s->netns->lo_up;
    mutex_unlock(&s->netns->lock);
    return 0;
}

long socket_interface_ioctl(struct task *t, struct socket *s, unsigned cmd, gaddr_t arg)
{
    switch (cmd) {
    case SIOCGIFCONF:
        return interface_list(t, s, arg);
    case SIOCGIFNAME:
    case SIOCGIFINDEX:
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFTXQLEN:
    case SIOCGIFMAP:
        return interface_get(t, s, cmd, arg);
    case SIOCSIFFLAGS:
        return set_flags(t, s, arg);
    case SIOCSIFADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCSIFNAME:
    case SIOCSIFTXQLEN:
    case SIOCADDRT:
    case SIOCDELRT:
    case SIOCSARP:
    case SIOCDARP:
        return -EPERM;
    case SIOCETHTOOL:
    case SIOCGIFSLAVE:
    case SIOCGMIIPHY:
        return -EOPNOTSUPP;
    default:
        return -ENOTTY;
    }
}
