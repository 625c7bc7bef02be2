/*
 * The guard on the parent of all pods' cgroups: there before a pod is, and for those that nobody
 * armed. Links are pinned beside the others; a removed cgroup takes them with it.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "parent_guard.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HOOKS = 6 };

static const struct {
    const char *program, *pin;
    enum bpf_attach_type type;
} hooks[HOOKS] = {
    {"pguard_egress", "parent-egress", BPF_CGROUP_INET_EGRESS},
    {"pguard_ingress", "parent-ingress", BPF_CGROUP_INET_INGRESS},
    {"pguard_connect4", "parent-connect4", BPF_CGROUP_INET4_CONNECT},
    {"pguard_connect6", "parent-connect6", BPF_CGROUP_INET6_CONNECT},
    {"pguard_sendmsg4", "parent-sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {"pguard_sendmsg6", "parent-sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
};

struct parent {
    struct parent_guard_bpf *skel;
    int cgroup_fd, links[HOOKS];
    uint64_t cgroup_id;
};

static void pin_path(const struct enforce *e, int hook, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/links/%s", e->dir, hooks[hook].pin);
}

static int program(const struct parent *p, int hook)
{
    return bpf_program__fd(bpf_object__find_program_by_name(p->skel->obj, hooks[hook].program));
}

static int hook_create(struct enforce *e, int hook, struct error *err)
{
    struct parent *p = e->parent;
    char path[320];
    int r, fd = bpf_link_create(program(p, hook), p->cgroup_fd, hooks[hook].type, NULL);

    if (fd < 0)
        return error_errno(err, fd, "attach %s to the pods' cgroup", hooks[hook].program);
    pin_path(e, hook, path, sizeof(path));
    r = sys_pin_replace(fd, path);
    if (r < 0) {
        (void)close(fd);
        return error_errno(err, r, "pin %s", path);
    }
    close_fd(&p->links[hook]);
    p->links[hook] = fd;
    return 0;
}

/* A link that an earlier process pinned, if it is on this cgroup still. */
static bool hook_adopt(struct enforce *e, int hook)
{
    struct parent *p = e->parent;
    struct sys_cgroup_link info;
    char path[320];
    int fd;

    pin_path(e, hook, path, sizeof(path));
    fd = bpf_obj_get(path);
    if (fd < 0)
        return false;
    if (sys_cgroup_link(fd, &info) == 0 && info.cgroup_id == p->cgroup_id &&
        bpf_link_update(fd, program(p, hook), NULL) == 0) {
        p->links[hook] = fd;
        return true;
    }
    (void)close(fd);
    return false;
}

static int open_parent(struct enforce *e, int cgroup_fd, struct error *err)
{
    struct parent *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return error_set(err, -ENOMEM, "out of memory");
    e->parent = p;
    for (int i = 0; i < HOOKS; i++)
        p->links[i] = -1;
    p->cgroup_fd = fcntl(cgroup_fd, F_DUPFD_CLOEXEC, 3);
    p->skel = parent_guard_bpf__open();
    if (!p->skel || p->cgroup_fd < 0)
        return error_set(err, -ENOMEM, "open BPF object");
    r = load_share_maps(e, p->skel->obj, err);
    if (r < 0)
        return r;
    r = parent_guard_bpf__load(p->skel);
    return r < 0 ? error_errno(err, r, "load the guard's programs for the pods' cgroup") : 0;
}

int enforce_guard_parent(struct enforce *e, int cgroup_fd, struct error *err)
{
    struct stat st;
    int r = 0;

    if (fstat(cgroup_fd, &st) < 0)
        return error_errno(err, -errno, "look at the pods' cgroup");
    if (e->parent && e->parent->cgroup_id == st.st_ino)
        return 0;
    parent_close(e);
    (void)netns_default(e, false); /* before any program asks */
    r = open_parent(e, cgroup_fd, err);
    if (r == 0)
        e->parent->cgroup_id = st.st_ino;
    for (int hook = 0; r == 0 && hook < HOOKS; hook++) {
        if (!hook_adopt(e, hook))
            r = hook_create(e, hook, err);
    }
    if (r < 0)
        parent_close(e);
    e->totals.parent = r == 0;
    return r;
}

void parent_close(struct enforce *e)
{
    struct parent *p = e->parent;

    if (!p)
        return;
    for (int i = 0; i < HOOKS; i++)
        close_fd(&p->links[i]);
    close_fd(&p->cgroup_fd);
    if (p->skel)
        parent_guard_bpf__destroy(p->skel);
    free(p);
    e->parent = NULL;
    e->totals.parent = false;
}

/* The cgroup is gone, and what was on it. */
static void forget(struct enforce *e)
{
    for (int hook = 0; hook < HOOKS; hook++) {
        char path[320];

        pin_path(e, hook, path, sizeof(path));
        (void)unlink(path);
    }
    parent_close(e);
}

int parent_verify(struct enforce *e, bool pins)
{
    struct parent *p = e->parent;
    int repaired = 0;

    for (int hook = 0; p && hook < HOOKS; hook++) {
        struct sys_cgroup_link info = {0};
        bool there = sys_cgroup_link(p->links[hook], &info) == 0 && info.cgroup_id;
        char path[320];

        pin_path(e, hook, path, sizeof(path));
        if (there && (!pins || access(path, F_OK) == 0))
            continue;
        if (!there && hook_create(e, hook, NULL) < 0) {
            forget(e);
            return repaired;
        }
        if (there && sys_pin_replace(p->links[hook], path) < 0)
            continue;
        incident(e, there ? ENFORCE_PIN_LOST : ENFORCE_LINK_LOST, NULL,
                 "%s was %s the pods' cgroup", hooks[hook].program,
                 there ? "unpinned on" : "detached from");
        repaired++;
    }
    return repaired;
}
