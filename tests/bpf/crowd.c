#include "tests/bpf/crowd.h"

#include "agent/standalone/netlink.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void must(int r, const char *what, const struct error *err)
{
    if (r >= 0)
        return;
    printf("not ok - crowd: %s: %s\n", what, *err->msg ? err->msg : strerror(-r));
    exit(EXIT_FAILURE);
}

static int fresh_netns(void)
{
    CLEANUP(close_fd) int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int fd;

    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (setns(home, CLONE_NEWNET) < 0)
        abort();
    return fd;
}

void crowd_add(struct crowd *c, size_t i)
{
    struct crowd_pod *p = &c->pods[i];
    struct veth_end host = {.name = p->device, .mac = {2, 0x80}, .ns_fd = -1},
                    pod = {.name = "eth0", .mac = {2, 0x81}};
    struct error err = ERROR_INIT;
    struct netlink nl, inner;

    *p = (struct crowd_pod){.netns_fd = fresh_netns()};
    must(p->netns_fd, "namespace", &err);
    snprintf(p->uid, sizeof(p->uid), "crowd-%zu", i);
    snprintf(p->device, sizeof(p->device), "bc%zu", i);
    host.mac[4] = pod.mac[4] = (uint8_t)(i >> 8);
    host.mac[5] = pod.mac[5] = (uint8_t)i;
    pod.ns_fd = p->netns_fd;
    memcpy(p->mac, pod.mac, 6);
    memcpy(p->addr[0], (uint8_t[16]){[10] = 0xff, [11] = 0xff, 10, 80}, 16);
    memcpy(p->addr[1], (uint8_t[16]){0xfd, 0x80}, 16);
    for (int k = 0; k < 2; k++) {
        p->addr[k][14] = (uint8_t)((i + 256) >> 8);
        p->addr[k][15] = (uint8_t)i;
    }
    must(netlink_open(&nl, -1, &err), "netlink", &err);
    must(netlink_open(&inner, p->netns_fd, &err), "netlink", &err);
    must(link_add_veth(&nl, &host, &pod, 1500, &err), "veth", &err);
    p->ifindex = link_index(&nl, p->device, &err);
    must(p->ifindex, "index", &err);
    must(link_set_master(&nl, p->ifindex, c->bridge, &err), "bridge", &err);
    must(link_set_up(&nl, p->ifindex, &err), "up", &err);
    must(link_set_up(&inner, link_index(&inner, "lo", &err), &err), "up", &err);
    must(link_set_up(&inner, link_index(&inner, "eth0", &err), &err), "up", &err);
    for (int k = 0; k < 2; k++) {
        struct ip_address a = {.family = k ? AF_INET6 : AF_INET, .prefix = k ? 64 : 16};

        memcpy(a.addr, p->addr[k] + (k ? 0 : 12), k ? 16 : 4);
        must(address_add(&inner, link_index(&inner, "eth0", &err), &a, &err), "address", &err);
    }
    netlink_close(&inner);
    netlink_close(&nl);
}

void crowd_remove(struct crowd *c, size_t i)
{
    struct error err = ERROR_INIT;
    struct netlink nl;

    must(netlink_open(&nl, -1, &err), "netlink", &err);
    must(link_delete(&nl, c->pods[i].device, &err), "delete device", &err);
    netlink_close(&nl);
    close_fd(&c->pods[i].netns_fd);
}

void crowd_open(struct crowd *c, size_t n)
{
    static const uint8_t mac[6] = {2, 0x80, 1};
    struct error err = ERROR_INIT;
    struct netlink nl;

    *c = (struct crowd){.pods = calloc(n, sizeof(*c->pods)), .n = n};
    if (!c->pods)
        abort();
    must(netlink_open(&nl, -1, &err), "netlink", &err);
    c->bridge = link_add_bridge(&nl, "bcrowd", mac, 1500, &err);
    must(c->bridge, "bridge", &err);
    if (c->bridge <= 0)
        c->bridge = link_index(&nl, "bcrowd", &err);
    must(link_set_up(&nl, c->bridge, &err), "bridge", &err);
    netlink_close(&nl);
    for (size_t i = 0; i < n; i++)
        c->pods[i].netns_fd = -1;
}

void crowd_close(struct crowd *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->pods[i].netns_fd >= 0)
            crowd_remove(c, i);
    }
    free(c->pods);
    c->pods = NULL;
}

int crowd_arm(struct crowd *c, struct enforce *e, size_t i, struct error *err)
{
    struct crowd_pod *p = &c->pods[i];
    struct enforce_pod pod = {.uid = p->uid,
                              .netns_fd = p->netns_fd,
                              .sandboxed = i & 1,
                              .addrs = (const uint8_t(*)[16])p->addr,
                              .n_addrs = 2,
                              .exceptions = ENFORCE_EXCEPTIONS_DEFAULT};

    memcpy(pod.mac, p->mac, 6);
    return enforce_arm(e, &pod, err);
}
