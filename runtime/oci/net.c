#include "runtime/oci/net.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool same_namespace(int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat("/proc/self/ns/net", &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

int net_open(struct net *net, const struct oci_spec *spec, struct error *err)
{
    const struct oci_namespace *ns = oci_namespace(spec, NS_NETWORK);

    *net = (struct net){.kind = NET_HOST, .fd = -1};
    if (!ns)
        return 0;
    if (!ns->path || !*ns->path) {
        net->kind = NET_FRESH;
        return 0;
    }
    net->fd = open(ns->path, O_RDONLY | O_CLOEXEC);
    if (net->fd < 0)
        return error_errno(err, -errno, "config.json: linux.namespaces: open '%s'", ns->path);
    net->kind = same_namespace(net->fd) ? NET_HOST : NET_GIVEN;
    return 0;
}

void net_close(struct net *net)
{
    close_fd(&net->fd);
}

static int loopback_up(struct error *err)
{
    CLEANUP(close_fd) int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

    if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
        return error_errno(err, -errno, "bring loopback up");
    return 0;
}

/* The sentry has no capabilities here; who may bind low ports, it checks against the guest's own.
 */
static void open_up(void)
{
    static const struct {
        const char *path, *value;
    } values[] = {
        {"/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
        {"/proc/sys/net/ipv4/ping_group_range", "0 2147483647"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        struct error err = ERROR_INIT;

        if (file_write(AT_FDCWD, values[i].path, values[i].value, &err) < 0)
            log_warn("%s", err.msg);
    }
}

int net_enter(const struct net *net, struct error *err)
{
    switch (net->kind) {
    case NET_HOST:
        return 0;
    case NET_GIVEN:
        if (setns(net->fd, CLONE_NEWNET) < 0)
            return error_errno(err, -errno, "join the network namespace");
        open_up();
        return 0;
    case NET_FRESH:
        break;
    }
    if (unshare(CLONE_NEWNET) < 0)
        return error_errno(err, -errno, "make a network namespace");
    open_up();
    return loopback_up(err);
}
