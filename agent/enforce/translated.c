/*
 * Policy behind the node's address translation: one program at four hooks of netfilter, and the two
 * maps that go with it: what the node translates, and pods by their addresses.
 *
 * A link of netfilter cannot be given another program, nor does the kernel say whether it was
 * detached. But one priority takes one program: what can be attached again was gone. A new build
 * attaches at another priority before the old link goes.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "translated.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

enum { HOOKS = 4, PRIORITIES = 10, FRONTENDS_BUDGET = 64 };

/* Postrouting: before the source is rewritten (100). Local-in: after IPVS (98, 99) had its say. */
static const struct {
    struct sys_netfilter at;
    const char *pin;
} hooks[HOOKS] = {
    {{NFPROTO_IPV4, NF_INET_POST_ROUTING, 80}, "translated-postrouting4"},
    {{NFPROTO_IPV6, NF_INET_POST_ROUTING, 80}, "translated-postrouting6"},
    {{NFPROTO_IPV4, NF_INET_LOCAL_IN, 110}, "translated-input4"},
    {{NFPROTO_IPV6, NF_INET_LOCAL_IN, 110}, "translated-input6"},
};

struct translated {
    struct translated_bpf *skel;
    int links[HOOKS];
    struct sys_netfilter at[HOOKS];
    size_t verified; /* where the rolling comparison of frontends stands */
};

static void pin_path(const struct enforce *e, int hook, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/links/%s", e->dir, hooks[hook].pin);
}

/* -- program and links ------------------------------------------------------------------- */

static int load(struct enforce *e, struct translated *t, struct error *err)
{
    struct bpf_map *map;
    int r;

    t->skel = translated_bpf__open();
    if (!t->skel)
        return error_set(err, -ENOMEM, "open BPF object");
    /* libbpf 1.1 does not know the section's name. */
    (void)bpf_program__set_type(t->skel->progs.policy_translated,
                                (enum bpf_prog_type)SYS_PROG_NETFILTER);
    (void)bpf_program__set_expected_attach_type(t->skel->progs.policy_translated,
                                                (enum bpf_attach_type)SYS_ATTACH_NETFILTER);
    bpf_object__for_each_map(map, t->skel->obj)
    {
        for (int i = 0; i < MAP_MAX; i++) {
            if (strcmp(bpf_map__name(map), load_map_name(i)) != 0)
                continue;
            r = bpf_map__reuse_fd(map, e->maps[i]);
            if (r < 0)
                return error_errno(err, r, "map %s", bpf_map__name(map));
        }
    }
    r = translated_bpf__load(t->skel);
    return r < 0 ? error_errno(err, r, "load the policy engine's program for netfilter") : 0;
}

/* At the first priority that is free: an old build's link may have one, for a moment. */
static int attach(struct enforce *e, int hook, struct error *err)
{
    struct translated *t = e->translated;
    int prog = bpf_program__fd(t->skel->progs.policy_translated), fd = -EBUSY, r;
    struct sys_netfilter at = hooks[hook].at;
    char path[320];

    for (int i = 0; fd == -EBUSY && i < PRIORITIES; i++) {
        at.priority = hooks[hook].at.priority + i;
        fd = sys_netfilter_link(prog, &at);
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
    if (t->skel)
        translated_bpf__destroy(t->skel);
    free(t);
    e->translated = NULL;
}

static int verify_link(struct enforce *e, int hook, bool pins)
{
    struct translated *t = e->translated;
    int prog = bpf_program__fd(t->skel->progs.policy_translated);
    int fd = sys_netfilter_link(prog, &t->at[hook]), r = 0;
    char path[320];

    pin_path(e, hook, path, sizeof(path));
    if (fd >= 0) {
        close_fd(&t->links[hook]);
        t->links[hook] = fd;
        r = sys_pin_replace(fd, path);
        incident(e, ENFORCE_LINK_LOST, NULL, "%s was detached from netfilter", hooks[hook].pin);
        return 1;
    }
    if (!pins || access(path, F_OK) == 0)
        return 0;
    r = sys_pin_replace(t->links[hook], path);
    incident(e, r < 0 ? ENFORCE_REPAIR_FAILED : ENFORCE_PIN_LOST, NULL, "%s was removed", path);
    return r == 0;
}

/* -- what the node translates ------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct berm_frontend));
}

/* The list sorted, without doubles, and with the entries that stand for whole addresses. */
static struct berm_frontend *sorted(const struct enforce_frontend *list, size_t n, size_t *ret_n)
{
    struct berm_frontend *all = calloc(n + 1, sizeof(*all));
    size_t kept = 0;

    for (size_t i = 0; all && i < n; i++) {
        memcpy(&all[i].addr, list[i].addr, 16);
        all[i].port = list[i].port;
        all[i].protocol = list[i].protocol;
    }
    if (!all)
        return NULL;
    if (n > 1)
        qsort(all, n, sizeof(*all), compare);
    for (size_t i = 0; i < n; i++) {
        if (!kept || compare(&all[kept - 1], &all[i]) != 0)
            all[kept++] = all[i];
    }
    *ret_n = kept;
    return all;
}

static bool holds(const struct berm_frontend *list, size_t n, const struct berm_frontend *f)
{
    return n && bsearch(f, list, n, sizeof(*f), compare);
}

/* What an earlier process wrote, too. */
static void drop_others(struct enforce *e)
{
    struct berm_frontend key, next;
    void *from = NULL;

    for (size_t n = 0; n < BERM_FRONTENDS_MAX; n++) {
        bool gone = bpf_map_get_next_key(e->maps[MAP_P_FRONTENDS], from, &next) < 0;

        if (from && !holds(e->frontends, e->n_frontends, &key))
            (void)bpf_map_delete_elem(e->maps[MAP_P_FRONTENDS], &key);
        if (gone)
            return;
        key = next;
        from = &key;
    }
}

int enforce_set_frontends(struct enforce *e, const struct enforce_frontend *list, size_t n,
                          struct error *err)
{
    const uint32_t one = 1;
    bool first = !e->frontends;
    struct berm_frontend *now, *before = e->frontends;
    size_t n_now, n_before = e->n_frontends;

    now = sorted(list, e->translated ? n : 0, &n_now);
    if (!now)
        return error_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n_now; i++) {
        if (!holds(before, n_before, &now[i]) &&
            bpf_map_update_elem(e->maps[MAP_P_FRONTENDS], &now[i], &one, BPF_ANY) < 0) {
            int r = -errno;

            free(now);
            return error_errno(err, r, "write translated destinations");
        }
    }
    e->frontends = now;
    e->n_frontends = n_now;
    for (size_t i = 0; !first && i < n_before; i++) {
        if (!holds(now, n_now, &before[i]))
            (void)bpf_map_delete_elem(e->maps[MAP_P_FRONTENDS], &before[i]);
    }
    if (first)
        drop_others(e);
    free(before);
    return 0;
}

static int verify_frontends(struct enforce *e)
{
    struct translated *t = e->translated;
    int repaired = 0;

    for (size_t i = 0; i < MIN((size_t)FRONTENDS_BUDGET, e->n_frontends); i++) {
        const struct berm_frontend *f = &e->frontends[t->verified++ % e->n_frontends];
        uint32_t one = 1, now;

        if (bpf_map_lookup_elem(e->maps[MAP_P_FRONTENDS], f, &now) == 0)
            continue;
        (void)bpf_map_update_elem(e->maps[MAP_P_FRONTENDS], f, &one, BPF_ANY);
        incident(e, ENFORCE_MAP_CHANGED, NULL, "a translated destination was removed");
        repaired++;
    }
    return repaired;
}

/* -- pods by address --------------------------------------------------------------------- */

static struct berm_source source_of(const struct pod *pod)
{
    return (struct berm_source){.slot = pod->slot,
                                .sandboxed = (uint8_t)pod->record.sandboxed,
                                .audit = (uint8_t)pod->record.audit};
}

static bool has_source(const struct pod *pod, const struct berm_addr *addr)
{
    for (uint32_t i = 0; i < pod->n_sources; i++) {
        if (!memcmp(&pod->sources[i], addr, sizeof(*addr)))
            return true;
    }
    return false;
}

/* Unless the address is another pod's by now. If an older pod has it as well, it is found again. */
static void source_delete(struct enforce *e, const struct pod *pod, const struct berm_addr *addr)
{
    struct berm_source now;

    if (bpf_map_lookup_elem(e->maps[MAP_P_SOURCES], addr, &now) < 0 || now.slot != pod->slot)
        return;
    (void)bpf_map_delete_elem(e->maps[MAP_P_SOURCES], addr);
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        const struct pod *other = e->slots[i];

        if (!other || other == pod || !has_source(other, addr))
            continue;
        now = source_of(other);
        (void)bpf_map_update_elem(e->maps[MAP_P_SOURCES], addr, &now, BPF_ANY);
    }
}

int sources_write(struct enforce *e, struct pod *pod, struct error *err)
{
    const struct berm_record *record = &pod->record;
    struct pod before = *pod;
    struct berm_source value = source_of(pod);

    pod->n_sources = MIN(record->n_addrs, (uint32_t)BERM_ADDRS_MAX);
    memcpy(pod->sources, record->addrs, sizeof(pod->sources));
    for (uint32_t i = 0; i < pod->n_sources; i++) {
        if (bpf_map_update_elem(e->maps[MAP_P_SOURCES], &pod->sources[i], &value, BPF_ANY) < 0)
            return error_errno(err, -errno, "write the addresses of pod %s", record->uid);
    }
    for (uint32_t i = 0; i < before.n_sources; i++) {
        if (!has_source(pod, &before.sources[i]))
            source_delete(e, pod, &before.sources[i]);
    }
    return 0;
}

void sources_remove(struct enforce *e, struct pod *pod)
{
    uint32_t n = pod->n_sources;

    pod->n_sources = 0;
    for (uint32_t i = 0; i < n; i++)
        source_delete(e, pod, &pod->sources[i]);
}

static int verify_sources(struct enforce *e, const struct pod *pod)
{
    int repaired = 0;

    for (uint32_t i = 0; i < pod->n_sources; i++) {
        struct berm_source now = {.slot = UINT32_MAX}, want = source_of(pod);
        const struct pod *other;

        (void)bpf_map_lookup_elem(e->maps[MAP_P_SOURCES], &pod->sources[i], &now);
        other = now.slot < BERM_PODS_MAX ? e->slots[now.slot] : NULL;
        if (other && has_source(other, &pod->sources[i]))
            want = source_of(other);
        if (!memcmp(&now, &want, sizeof(now)))
            continue;
        (void)bpf_map_update_elem(e->maps[MAP_P_SOURCES], &pod->sources[i], &want, BPF_ANY);
        incident(e, ENFORCE_MAP_CHANGED, NULL, "the address of pod %s was not as written",
                 pod->record.uid);
        repaired++;
    }
    return repaired;
}

int translated_verify(struct enforce *e, bool pins)
{
    int repaired = 0;

    if (!e->translated)
        return 0;
    for (int hook = 0; hook < HOOKS; hook++)
        repaired += verify_link(e, hook, pins);
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i])
            repaired += verify_sources(e, e->slots[i]);
    }
    return repaired + verify_frontends(e);
}
