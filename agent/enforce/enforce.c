/*
 * The handle: opening (first start or taking over), closing, the two switches, and what there is to
 * read. The pin folder holds one folder per layout of the maps (v1/maps, v1/links) and is locked by
 * the process that manages it.
 */
#include "agent/enforce/enforce.h"

#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

static int make_dirs(struct enforce *e, struct error *err)
{
    static const char *const parts[] = {"", "/links", "/maps"};
    int r = sys_bpffs(e->pin_dir);

    if (r < 0)
        return error_errno(err, r, "%s is not on a bpf file system", e->pin_dir);
    if (mkdir(e->pin_dir, 0700) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "create %s", e->pin_dir);
    e->lock_fd = lock_take(e->pin_dir, err);
    if (e->lock_fd < 0)
        return e->lock_fd;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        char path[256];

        (void)snprintf(path, sizeof(path), "%s%s", e->dir, parts[i]);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return error_errno(err, -errno, "create %s", path);
    }
    return 0;
}

/* A switch as the last process left it, also one with other maps; else everything on. */
static void open_switch(const struct enforce *e, enum enforce_map map, struct berm_config *now,
                        struct berm_config *expected)
{
    *expected = *now;
    if (!expected->generation || expected->mode > BERM_MODE_ALL) {
        int before = upgrade_mode(e, map);

        expected->mode = before >= 0 ? (uint32_t)before : BERM_MODE_ALL;
        expected->generation++;
        now->generation = expected->generation;
        __atomic_store_n(&now->mode, expected->mode, __ATOMIC_SEQ_CST);
    }
}

/* Counters for frames on devices that no pod owns. */
static int unknown_counters(struct enforce *e, struct error *err)
{
    int cpus = libbpf_num_possible_cpus();
    CLEANUP(free_ptr) struct berm_stats *zero = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*zero));
    uint32_t slot = UINT32_MAX;

    if (!zero)
        return error_set(err, -ENOMEM, "out of memory");
    (void)bpf_map_update_elem(e->maps[MAP_G_STATS], &slot, zero, BPF_NOEXIST);
    (void)bpf_map_update_elem(e->maps[MAP_P_STATS], &slot, zero, BPF_NOEXIST);
    return 0;
}

static int load_pods(struct enforce *e, struct error *err)
{
    for (uint32_t slot = 0; slot < BERM_PODS_MAX; slot++) {
        struct berm_record record;
        struct pod *pod;
        int r;

        if (bpf_map_lookup_elem(e->maps[MAP_RECORDS], &slot, &record) < 0)
            return error_errno(err, -errno, "read record of slot %u", slot);
        if (!*record.uid)
            continue;
        r = pod_load(e, slot, &record, &pod, err);
        if (r == 0)
            upgrade_load(e, pod);
        if (r == 0)
            r = sources_write(e, pod, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int watch(struct enforce *e, int fd, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? error_errno(err, -errno, "epoll")
                                                                 : 0;
}

static int open_watches(struct enforce *e, struct error *err)
{
    int r;

    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (e->epoll_fd < 0 || e->inotify_fd < 0)
        return error_errno(err, -errno, "epoll, inotify");
    for (int i = 0; i < 2; i++) {
        char path[256];

        (void)snprintf(path, sizeof(path), "%s/%s", e->dir, i ? "maps" : "links");
        if (inotify_add_watch(e->inotify_fd, path, IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF) < 0)
            return error_errno(err, -errno, "watch %s", path);
    }
    e->watch_fd = netdev_watch(err);
    if (e->watch_fd < 0)
        return e->watch_fd;
    r = events_open(e, err);
    if (r == 0)
        r = watch(e, ring_buffer__epoll_fd(e->rings), err);
    if (r == 0)
        r = watch(e, e->inotify_fd, err);
    return r < 0 ? r : watch(e, e->watch_fd, err);
}

/* Without it two planes are left: said, and no reason to have none. */
static int open_nft(struct enforce *e, struct error *err)
{
    struct error why = ERROR_INIT;

    if (e->config.no_nft)
        return 0;
    if (nft_open(e, &why) < 0) {
        incident(e, ENFORCE_REPAIR_FAILED, NULL, "no plane in nftables: %s", why.msg);
        return 0;
    }
    return watch(e, nft_fd(e), err);
}

/* The same: Services are then judged by their own addresses. */
static void open_translated(struct enforce *e)
{
    struct error why = ERROR_INIT;

    if (e->config.no_translated)
        translated_remove(e);
    else if (translated_open(e, &why) < 0)
        incident(e, ENFORCE_REPAIR_FAILED, NULL, "no policy behind translation: %s", why.msg);
}

static int open_all(struct enforce *e, struct error *err)
{
    int r = make_dirs(e, err);

    if (r == 0)
        r = load_open(e, err);
    if (r < 0)
        return r;
    e->tcx = !e->config.force_clsact && sys_has_tcx();
    e->totals.tcx = e->tcx;
    e->upgrading = upgrade_pending(e);
    open_switch(e, MAP_G_CONFIG, e->guard_config, &e->guard_expected);
    open_switch(e, MAP_P_CONFIG, e->policy_config, &e->policy_expected);
    r = guard_open(e, err);
    if (r == 0)
        r = unknown_counters(e, err);
    if (r == 0)
        r = nodes_refresh(e, err);
    if (r == 0)
        r = load_pods(e, err);
    if (r == 0)
        r = flows_prepare(e, err);
    if (r == 0) /* before the devices: their new programs must know what happens meanwhile */
        r = open_watches(e, err);
    if (r == 0)
        r = device_adopt(e, err);
    if (r == 0)
        r = guard_open_pods(e, err);
    if (r == 0)
        r = open_nft(e, err);
    if (r < 0)
        return r;
    open_translated(e);
    (void)netns_default(e, false);
    netns_collect(e);
    r = rules_collect_orphans(e, err);
    counts_settle(e);
    return r;
}

int enforce_open(const struct enforce_config *config, struct enforce **ret, struct error *err)
{
    struct enforce *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return error_set(err, -ENOMEM, "out of memory");
    e->config = *config;
    e->lock_fd = e->epoll_fd = e->inotify_fd = e->watch_fd = -1;
    for (int i = 0; i < MAP_MAX; i++)
        e->maps[i] = -1;
    for (int kind = 0; kind < HOOK_MAX; kind++)
        e->prog_fds[1][kind] = -1;
    list_init(&e->stale);
    (void)snprintf(e->pin_dir, sizeof(e->pin_dir), "%s",
                   config->pin_dir ? config->pin_dir : ENFORCE_PIN_DIR);
    (void)snprintf(e->dir, sizeof(e->dir), "%s/v%d", e->pin_dir, BERM_LAYOUT);
    r = open_all(e, err);
    if (r < 0) {
        enforce_close(e);
        return r;
    }
    *ret = e;
    return 0;
}

void enforce_close(struct enforce *e)
{
    if (!e)
        return;
    /* Stale entries that are not deleted here are orphans to the next process. */
    while (!list_empty(&e->stale)) {
        struct stale *stale = list_first(&e->stale, struct stale, list);

        bpf_tables_fini(&stale->tables);
        list_remove(&stale->list);
        free(stale);
    }
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i])
            pod_drop(e, e->slots[i]);
    }
    hashmap_fini(&e->pods);
    events_close(e);
    nft_close(e);
    translated_close(e);
    parent_close(e);
    guard_close(e);
    load_close(e);
    close_fd(&e->epoll_fd);
    close_fd(&e->inotify_fd);
    close_fd(&e->watch_fd);
    close_fd(&e->lock_fd);
    free(e->nodes);
    free(e->own);
    free(e->frontends);
    free(e);
}

static int switch_set(struct berm_config *now, struct berm_config *expected, enum berm_mode mode,
                      struct error *err)
{
    if ((unsigned)mode > BERM_MODE_ALL)
        return error_set(err, -EINVAL, "mode %d is none of none, sandboxed, all", (int)mode);
    expected->mode = mode;
    __atomic_store_n(&now->mode, (uint32_t)mode, __ATOMIC_SEQ_CST);
    return 0;
}

int enforce_guard_set(struct enforce *e, enum berm_mode mode, struct error *err)
{
    int r = switch_set(e->guard_config, &e->guard_expected, mode, err);

    if (r < 0)
        return r;
    nft_stale(e);
    return nft_refresh(e, err);
}

int enforce_policy_set(struct enforce *e, enum berm_mode mode, struct error *err)
{
    return switch_set(e->policy_config, &e->policy_expected, mode, err);
}

enum berm_mode enforce_guard_get(const struct enforce *e)
{
    return e->guard_expected.mode;
}

enum berm_mode enforce_policy_get(const struct enforce *e)
{
    return e->policy_expected.mode;
}

int enforce_poll_fd(const struct enforce *e)
{
    return e->epoll_fd;
}
