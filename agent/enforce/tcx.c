/*
 * Hooks by tcx links: pinned, first in the chain, replaced without a gap.
 *
 * The chain of a device and direction must begin with guard, policy: a program before them, or
 * between them, could redirect packets past us. The kernel refuses the same program twice on a
 * hook, so moving to the front means: link a twin of the program there, then drop the old link.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static int attach_type(enum hook_kind kind)
{
    return kind == HOOK_GUARD_FROM_POD || kind == HOOK_POLICY_FROM_POD ? SYS_TCX_INGRESS
                                                                       : SYS_TCX_EGRESS;
}

bool hook_is_policy(enum hook_kind kind)
{
    return kind == HOOK_POLICY_FROM_POD || kind == HOOK_POLICY_TO_POD;
}

/* Takes fd as the hook's link. */
static int hook_set(struct enforce *e, struct hook *hook, int fd, int variant, enum hook_kind kind)
{
    struct sys_link_info info;
    int r = sys_link_info(fd, &info);

    if (r < 0)
        return r;
    close_fd(&hook->link_fd);
    hook->link_fd = fd;
    hook->link_id = info.id;
    hook->variant = variant;
    hook->prog_id = e->prog_ids[variant][kind];
    return 0;
}

static int hook_create(struct enforce *e, struct device *device, enum hook_kind kind, int variant,
                       struct error *err)
{
    int behind = hook_is_policy(kind) ? device->hooks[kind - 1].link_fd : -1;
    char path[320];
    int r,
        fd = sys_tcx_link(e->prog_fds[variant][kind], device->ifindex, attach_type(kind), behind);

    if (fd < 0)
        return error_errno(err, fd, "device %s: attach program", device->name);
    r = hook_set(e, &device->hooks[kind], fd, variant, kind);
    if (r < 0) {
        (void)close(fd);
        return error_errno(err, r, "device %s: read back link", device->name);
    }
    hook_pin_path(e, device, kind, path, sizeof(path));
    r = sys_pin_replace(fd, path);
    return r < 0 ? error_errno(err, r, "device %s: pin %s", device->name, path) : 0;
}

/* A link that an earlier process pinned: takes it over with our program. false: there is none. */
static bool hook_adopt(struct enforce *e, struct device *device, enum hook_kind kind)
{
    struct hook *hook = &device->hooks[kind];
    struct sys_link_info info;
    char path[320];
    int fd;

    hook_pin_path(e, device, kind, path, sizeof(path));
    fd = bpf_obj_get(path);
    if (fd < 0)
        return false;
    if (sys_link_info(fd, &info) == 0 && info.ifindex == device->ifindex &&
        (int)info.attach_type == attach_type(kind) &&
        bpf_link_update(fd, e->prog_fds[0][kind], NULL) == 0 && hook_set(e, hook, fd, 0, kind) == 0)
        return true;
    (void)close(fd);
    (void)unlink(path);
    return false;
}

bool tcx_adopt(struct enforce *e, struct device *device)
{
    bool all = true;

    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++)
        all = (device->hooks[kind].link_fd >= 0 || hook_adopt(e, device, kind)) && all;
    return all;
}

static int tcx_attach(struct enforce *e, struct device *device, struct error *err)
{
    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        int r;

        if (device->hooks[kind].link_fd >= 0 || hook_adopt(e, device, kind))
            continue;
        r = hook_create(e, device, kind, 0, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void tcx_detach(struct enforce *e, struct device *device)
{
    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        char path[320];

        hook_pin_path(e, device, kind, path, sizeof(path));
        (void)unlink(path);
        close_fd(&device->hooks[kind].link_fd);
    }
}

static int position(const struct sys_chain *chain, uint32_t link_id)
{
    for (uint32_t i = 0; i < chain->n; i++) {
        if (chain->link_ids[i] == link_id)
            return (int)i;
    }
    return -1;
}

/* 1 if the hook was repaired. The chain is as of before. */
static int hook_verify(struct enforce *e, struct device *device, enum hook_kind kind,
                       const struct sys_chain *chain, struct error *err)
{
    struct hook *hook = &device->hooks[kind];
    int at = position(chain, hook->link_id), wanted = hook_is_policy(kind) ? 1 : 0, r;

    if (at == wanted) {
        if (chain->prog_ids[at] == hook->prog_id)
            return 0;
        r = bpf_link_update(hook->link_fd, e->prog_fds[hook->variant][kind], NULL);
        if (r < 0)
            return error_errno(err, r, "device %s: put our program back", device->name);
        incident(e, ENFORCE_LINK_LOST, device, "a foreign program %u was in our link",
                 (unsigned)chain->prog_ids[at]);
        return 1;
    }
    if (at < 0) {
        r = hook_create(e, device, kind, hook->variant, err);
        if (r < 0)
            return r;
        incident(e, ENFORCE_LINK_LOST, device, "link %u was detached", (unsigned)hook->link_id);
        return 1;
    }
    r = twins_load(e, err);
    if (r == 0)
        r = hook_create(e, device, kind, !hook->variant, err);
    if (r < 0)
        return r;
    incident(e, ENFORCE_NOT_FIRST, device, "program %u ran before ours",
             (unsigned)chain->prog_ids[at ? at - 1 : 0]);
    return 1;
}

/* No such device here: deleted, or carried off to another namespace with our links still on it? */
static int gone(const struct device *device, enum hook_kind kind, struct error *err)
{
    struct sys_link_info info = {0};

    if (sys_link_info(device->hooks[kind].link_fd, &info) == 0 && info.ifindex)
        return error_set(err, -EXDEV, "device %s was moved to another namespace; still bound",
                         device->name);
    return -ENODEV;
}

static int direction_verify(struct enforce *e, struct device *device, enum hook_kind guard,
                            struct error *err)
{
    struct sys_chain chain;
    int first, second, r = sys_tcx_chain(device->ifindex, attach_type(guard), &chain);

    if (r == -ENODEV)
        return gone(device, guard, err);
    if (r < 0)
        return error_errno(err, r, "device %s: query programs", device->name);
    first = hook_verify(e, device, guard, &chain, err);
    if (first < 0)
        return first;
    /* If the guard's link changed, the policy's place is judged by a fresh look. */
    if (first > 0) {
        r = sys_tcx_chain(device->ifindex, attach_type(guard), &chain);
        if (r < 0)
            return r;
    }
    second = hook_verify(e, device, guard + 1, &chain, err);
    return second < 0 ? second : first + second;
}

static int tcx_verify(struct enforce *e, struct device *device, struct error *err)
{
    int a = direction_verify(e, device, HOOK_GUARD_FROM_POD, err), b;

    if (a < 0)
        return a;
    b = direction_verify(e, device, HOOK_GUARD_TO_POD, err);
    return b < 0 ? b : a + b;
}

int tcx_verify_pins(struct enforce *e, struct device *device, struct error *err)
{
    int repaired = 0;

    for (enum hook_kind kind = 0; kind < HOOK_MAX; kind++) {
        char path[320];
        int r;

        hook_pin_path(e, device, kind, path, sizeof(path));
        if (device->hooks[kind].link_fd < 0 || access(path, F_OK) == 0)
            continue;
        r = sys_pin_replace(device->hooks[kind].link_fd, path);
        if (r < 0)
            return error_errno(err, r, "device %s: pin %s", device->name, path);
        incident(e, ENFORCE_PIN_LOST, device, "%s was removed", path);
        repaired++;
    }
    return repaired;
}

const struct hook_ops tcx_ops = {tcx_attach, tcx_verify, tcx_detach};
