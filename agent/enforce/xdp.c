/*
 * Programs of others on a device's XDP hook: they run before any tcx program, and may redirect or
 * rewrite what the pod sends before it is judged. Ours have no place before them, so they are taken
 * off. Those attached by netlink are told of by a notification; links are found by the sweep.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>

enum { LINK_XDP = 6 };

/* A link keeps others from detaching its program by the device. */
static int detach_links(int ifindex)
{
    uint32_t id = 0;
    int detached = 0;

    while (bpf_link_get_next_id(id, &id) == 0) {
        CLEANUP(close_fd) int fd = bpf_link_get_fd_by_id(id);
        struct bpf_link_info info = {0};
        uint32_t size = sizeof(info);

        if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 ||
            info.type != (enum bpf_link_type)LINK_XDP || (int)info.xdp.ifindex != ifindex)
            continue;
        if (bpf_link_detach(fd) < 0)
            return -errno;
        detached++;
    }
    return detached;
}

static int detach_one(const struct device *device, uint32_t mode)
{
    int r = bpf_xdp_detach(device->ifindex, mode, NULL);

    if (r == -EBUSY)
        r = detach_links(device->ifindex);
    return r < 0 ? r : 0;
}

int xdp_remove(struct enforce *e, struct device *device, const struct netdev *dev,
               struct error *err)
{
    static const uint32_t modes[NETDEV_XDP_MAX] = {[NETDEV_XDP_DRIVER] = XDP_FLAGS_DRV_MODE,
                                                   [NETDEV_XDP_GENERIC] = XDP_FLAGS_SKB_MODE,
                                                   [NETDEV_XDP_HARDWARE] = XDP_FLAGS_HW_MODE};
    int removed = 0;

    for (size_t i = 0; i < NETDEV_XDP_MAX; i++) {
        int r = dev->xdp[i] ? detach_one(device, modes[i]) : 0;

        if (r < 0)
            return error_errno(err, r, "device %s: take XDP program %u off", device->name,
                               (unsigned)dev->xdp[i]);
        if (!dev->xdp[i])
            continue;
        incident(e, ENFORCE_XDP_FOREIGN, device, "XDP program %u ran before ours",
                 (unsigned)dev->xdp[i]);
        removed++;
    }
    return removed;
}

int xdp_verify(struct enforce *e, struct device *device, struct error *err)
{
    struct netdev dev;
    int r = netdev_host(device->ifindex, &dev, err);

    return r < 0 ? r : xdp_remove(e, device, &dev, err);
}
