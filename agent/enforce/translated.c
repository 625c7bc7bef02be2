/*
 * Guard and policy engine behind the node's address translation: a program of each at four hooks of
 * netfilter. They share no program, map or link here either.
 *
 * A link of netfilter cannot be given another program, nor does the kernel say whether it was
 * detached. But one priority takes one program: what can be attached again was gone. A new build
 * attaches at another priority before the old link goes.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "guard_translated.skel.h"
#include "policy_translated.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOOKS = 8,
    PRIORITIES = 10,
    GUARD_OUT = 70,
    POLICY_OUT = 80,
    GUARD_IN = 110,
    POLICY_IN = 120
};

/* Postrouting: before the source is rewritten (100). Local-in: after IPVS (98, 99) had its say. */
static const struct {
    enum berm_engine engine;
    struct sys_netfilter at;
    const char *pin;
} hooks[HOOKS] = {
    {BERM_ENGINE_GUARD,
     {NFPROTO_IPV4, NF_INET_POST_ROUTING, GUARD_OUT},
     "translated-guard-postrouting4"},
    {BERM_ENGINE_GUARD,
     {NFPROTO_IPV6, NF_INET_POST_ROUTING, GUARD_OUT},
     "translated-guard-postrouting6"},
    {BERM_ENGINE_GUARD, {NFPROTO_IPV4, NF_INET_LOCAL_IN, GUARD_IN}, "translated-guard-input4"},
    {BERM_ENGINE_GUARD, {NFPROTO_IPV6, NF_INET_LOCAL_IN, GUARD_IN}, "translated-guard-input6"},
    {BERM_ENGINE_POLICY,
     {NFPROTO_IPV4, NF_INET_POST_ROUTING, POLICY_OUT},
     "translated-policy-postrouting4"},
    {BERM_ENGINE_POLICY,
     {NFPROTO_IPV6, NF_INET_POST_ROUTING, POLICY_OUT},
     "translated-policy-postrouting6"},
    {BERM_ENGINE_POLICY, {NFPROTO_IPV4, NF_INET_LOCAL_IN, POLICY_IN}, "translated-policy-input4"},
    {BERM_ENGINE_POLICY, {NFPROTO_IPV6, NF_INET_LOCAL_IN, POLICY_IN}, "translated-policy-input6"},
};

struct translated {
    struct guard_translated_bpf *guard;
    struct policy_translated_bpf *policy;
    int links[HOOKS];
    struct sys_netfilter at[HOOKS];
};

static void pin_path(const struct enforce *e, int hook, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/links/%s", e->dir, hooks[hook].pin);
}

static int program(const struct translated *t, int hook)
{
    return bpf_program__fd(hooks[hook].engine == BERM_ENGINE_GUARD
                               ? t->guard->progs.guard_translated
                               : t->policy->progs.policy_translated);
}

/* libbpf 1.1 does not know the section's name. */
static int prepare(struct enforce *e, struct bpf_object *object, struct bpf_program *program,
                   struct error *err)
{
    (void)bpf_program__set_type(program, (enum bpf_prog_type)SYS_PROG_NETFILTER);
    (void)bpf_program__set_expected_attach_type(program,
                                                (enum bpf_attach_type)SYS_ATTACH_NETFILTER);
    return load_share_maps(e, object, err);
}

static int load(struct enforce *e, struct translated *t, struct error *err)
{
    int r;

    t->guard = guard_translated_bpf__open();
    t->policy = policy_translated_bpf__open();
    if (!t->guard || !t->policy)
        return error_set(err, -ENOMEM, "open BPF objects");
    r = prepare(e, t->guard->obj, t->guard->progs.guard_translated, err);
    if (r == 0)
        r = prepare(e, t->policy->obj, t->policy->progs.policy_translated, err);
    if (r < 0)
        return r;
    r = guard_translated_bpf__load(t->guard);
    if (r < 0)
        return error_errno(err, r, "load the guard's program for netfilter");
    r = policy_translated_bpf__load(t->policy);
    return r < 0 ? error_errno(err, r, "load the policy engine's program for netfilter") : 0;
}

/* At the first priority that is free: an old build's link may have one, for a moment. */
static int attach(struct enforce *e, int hook, struct error *err)
{
    struct translated *t = e->translated;
    struct sys_netfilter at = hooks[hook].at;
    int fd = -EBUSY, r;
    char path[320];

    for (int i = 0; fd == -EBUSY && i < PRIORITIES; i++) {
        at.priority = hooks[hook].at.priority + i;
        fd = sys_netfilter_link(program(t, hook), &at);
    }
    if (fd < 0)
        return error_errno(err, fd, "attach %s", hooks[hook].pin);
    pin_path(e, hook, path, sizeof(path));
    r = sys_pin_replace(fd, path);
    if (r < 0) {
        (void)close(fd);
        return error_errno(err, r, "pin %s", path);
    }
    close_fd(&t->links[hook]);
    t->links[hook] = fd;
    t->at[hook] = at;
    return 0;
}

int translated_open(struct enforce *e, struct error *err)
{
    struct translated *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return error_set(err, -ENOMEM, "out of memory");
    e->translated = t;
    for (int i = 0; i < HOOKS; i++)
        t->links[i] = -1;
    r = load(e, t, err);
    for (int i = 0; r == 0 && i < HOOKS; i++)
        r = attach(e, i, err);
    e->totals.translated = r == 0;
    if (r < 0) {
        translated_close(e);
        (void)enforce_set_frontends(e, NULL, 0, NULL); /* nobody would judge what is deferred */
    }
    return r;
}

void translated_close(struct enforce *e)
{
    struct translated *t = e->translated;

    if (!t)
        return;
    for (int i = 0; i < HOOKS; i++)
        close_fd(&t->links[i]);
    if (t->guard)
        guard_translated_bpf__destroy(t->guard);
    if (t->policy)
        policy_translated_bpf__destroy(t->policy);
    free(t);
    e->translated = NULL;
}

void translated_remove(struct enforce *e)
{
    for (int hook = 0; hook < HOOKS; hook++) {
        char path[320];

        pin_path(e, hook, path, sizeof(path));
        (void)unlink(path);
    }
}

/* 1: repaired */
static int verify_link(struct enforce *e, int hook, bool pins)
{
    struct translated *t = e->translated;
    int fd = sys_netfilter_link(program(t, hook), &t->at[hook]), r;
    bool lost = fd >= 0;
    char path[320];

    pin_path(e, hook, path, sizeof(path));
    if (!lost && (!pins || access(path, F_OK) == 0))
        return 0;
    if (lost) {
        close_fd(&t->links[hook]);
        t->links[hook] = fd;
        incident(e, ENFORCE_LINK_LOST, NULL, "%s was detached from netfilter", hooks[hook].pin);
    }
    r = sys_pin_replace(t->links[hook], path);
    if (r < 0)
        incident(e, ENFORCE_REPAIR_FAILED, NULL, "pin %s: %s", path, strerror(-r));
    else if (!lost)
        incident(e, ENFORCE_PIN_LOST, NULL, "%s was removed", path);
    return lost || r == 0;
}

int translated_verify(struct enforce *e, bool pins)
{
    int repaired = 0;

    for (int hook = 0; e->translated && hook < HOOKS; hook++)
        repaired += verify_link(e, hook, pins);
    return repaired;
}
