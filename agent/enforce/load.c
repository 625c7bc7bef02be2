/*
 * Programs and maps: the first start creates and pins, later ones use the pinned maps again, so
 * that nothing that is in force changes while the new programs are loaded and put in place.
 *
 * Programs are not pinned: links hold them. Every map is, under its own name.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "common/log.h"
#include "guard.skel.h"
#include "policy.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
    const char *name;
    bool guard, policy;
} map_table[MAP_MAX] = {
    [MAP_G_IFACES] = {"g_ifaces", true, false},
    [MAP_G_CONFIG] = {"g_config", true, false},
    [MAP_G_ROWS] = {"g_rows", true, false},
    [MAP_G_EXCEPTIONS] = {"g_exceptions", true, false},
    [MAP_G_NODES] = {"g_nodes", true, false},
    [MAP_G_STATS] = {"g_stats", true, false},
    [MAP_G_EVENTS] = {"g_events", true, false},
    [MAP_P_IFACES] = {"p_ifaces", false, true},
    [MAP_P_CONFIG] = {"p_config", false, true},
    [MAP_P_CONTROL] = {"p_control", false, true},
    [MAP_P_NODES] = {"p_nodes", false, true},
    [MAP_P_STATS] = {"p_stats", false, true},
    [MAP_P_EVENTS] = {"p_events", false, true},
    [MAP_P_FLOWS] = {"p_flows", false, true},
    [MAP_P_HOSTS] = {"p_hosts", false, true},
    [MAP_P_CIDRS] = {"p_cidrs", false, true},
    [MAP_G_SOURCES] = {"g_sources", true, false},
    [MAP_G_NETNS] = {"g_netns", true, false},
    [MAP_P_PORTS] = {"p_ports", false, true},
    [MAP_P_FRONTENDS] = {"p_frontends", false, true},
    [MAP_P_BACKENDS] = {"p_backends", false, true},
    [MAP_P_SOURCES] = {"p_sources", false, true},
    [MAP_RECORDS] = {"records", false, false},
    [MAP_TWINS] = {"twins", false, false},
};

const char *load_map_name(enum enforce_map map)
{
    return map_table[map].name;
}

static void map_path(const struct enforce *e, const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/maps/%s", e->dir, name);
}

__attribute__((format(printf, 2, 0))) static int on_libbpf(enum libbpf_print_level level,
                                                           const char *format, va_list args)
{
    char line[512];

    if (level == LIBBPF_DEBUG)
        return 0;
    (void)vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("libbpf: %s", line);
    return 0;
}

/* An earlier process may have been given other sizes: its maps stay as they are. */
static void adopt_size(struct enforce *e, struct bpf_map *map, uint32_t wanted)
{
    struct bpf_map_info info = {0};
    uint32_t size = sizeof(info);
    char path[256];
    int fd;

    map_path(e, bpf_map__name(map), path, sizeof(path));
    fd = bpf_obj_get(path);
    if (fd >= 0) {
        if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
            wanted = info.max_entries;
        (void)close(fd);
    }
    if (wanted)
        (void)bpf_map__set_max_entries(map, wanted);
}

static int prepare(struct enforce *e, struct bpf_object *object, struct error *err)
{
    struct bpf_map *map;
    char path[256];
    int r;

    bpf_object__for_each_map(map, object)
    {
        const char *name = bpf_map__name(map);

        for (int i = 0; i < MAP_MAX; i++) {
            if (strcmp(name, map_table[i].name) != 0)
                continue;
            if (i == MAP_P_CIDRS || i == MAP_P_HOSTS || i == MAP_P_PORTS)
                adopt_size(e, map,
                           i == MAP_P_CIDRS   ? e->config.max_cidrs
                           : i == MAP_P_HOSTS ? e->config.max_hosts
                                              : e->config.max_ports);
            map_path(e, name, path, sizeof(path));
            r = bpf_map__set_pin_path(map, path);
            if (r < 0)
                return error_errno(err, r, "map %s", name);
        }
    }
    return 0;
}

int load_share_maps(struct enforce *e, struct bpf_object *object, struct error *err)
{
    struct bpf_map *map;

    bpf_object__for_each_map(map, object)
    {
        for (int i = 0; i < MAP_MAX; i++) {
            int r = strcmp(bpf_map__name(map), map_table[i].name) != 0
                        ? 0
                        : bpf_map__reuse_fd(map, e->maps[i]);

            if (r < 0)
                return error_errno(err, r, "map %s", bpf_map__name(map));
        }
    }
    return 0;
}

static int remember(struct enforce *e, struct error *err)
{
    struct bpf_program *programs[HOOK_MAX] = {
        [HOOK_GUARD_FROM_POD] = e->guard->progs.guard_from_pod,
        [HOOK_GUARD_TO_POD] = e->guard->progs.guard_to_pod,
        [HOOK_POLICY_FROM_POD] = e->policy->progs.policy_from_pod,
        [HOOK_POLICY_TO_POD] = e->policy->progs.policy_to_pod,
    };

    for (int i = 0; i < HOOK_MAX; i++) {
        int fd = bpf_program__fd(programs[i]);
        int r = sys_prog_id(fd, &e->prog_ids[0][i]);

        if (r < 0)
            return error_errno(err, r, "program %s", bpf_program__name(programs[i]));
        e->prog_fds[0][i] = fd;
        watch_program(e, e->prog_ids[0][i], false);
    }
    return 0;
}

static int load_programs(struct enforce *e, struct error *err)
{
    int r;

    e->guard = guard_bpf__open();
    e->policy = policy_bpf__open();
    if (!e->guard || !e->policy)
        return error_set(err, -ENOMEM, "open BPF objects");
    r = prepare(e, e->guard->obj, err);
    if (r == 0)
        r = prepare(e, e->policy->obj, err);
    if (r < 0)
        return r;
    r = guard_bpf__load(e->guard);
    if (r < 0)
        return error_errno(err, r, "load the guard's programs and maps (%s)", e->dir);
    r = policy_bpf__load(e->policy);
    if (r < 0)
        return error_errno(err, r, "load the policy engine's programs and maps (%s)", e->dir);
    return remember(e, err);
}

static int find_maps(struct enforce *e, struct error *err)
{
    for (int i = 0; i < MAP_MAX; i++) {
        struct bpf_object *object = map_table[i].guard    ? e->guard->obj
                                    : map_table[i].policy ? e->policy->obj
                                                          : NULL;
        struct bpf_map *map;

        if (!object)
            continue;
        map = bpf_object__find_map_by_name(object, map_table[i].name);
        if (!map)
            return error_set(err, -ENOENT, "BPF object without map %s", map_table[i].name);
        e->maps[i] = bpf_map__fd(map);
    }
    return 0;
}

/* A map that no object of ours names; *ret_fresh: it was not there. */
static int open_own(struct enforce *e, enum enforce_map map, enum bpf_map_type type,
                    uint32_t value_size, uint32_t entries, bool *ret_fresh, struct error *err)
{
    char path[256], name[BPF_OBJ_NAME_LEN];
    int fd, r;

    map_path(e, map_table[map].name, path, sizeof(path));
    fd = bpf_obj_get(path);
    *ret_fresh = fd < 0;
    if (fd < 0) {
        (void)snprintf(name, sizeof(name), "berm_%s", map_table[map].name);
        fd = bpf_map_create(type, name, sizeof(uint32_t), value_size, entries, NULL);
        if (fd < 0)
            return error_errno(err, fd, "create map %s", name);
        r = bpf_obj_pin(fd, path);
        if (r < 0) {
            (void)close(fd);
            return error_errno(err, r, "pin %s", path);
        }
    }
    e->maps[map] = fd;
    return 0;
}

static int open_own_maps(struct enforce *e, struct error *err)
{
    bool fresh;
    int r =
        open_own(e, MAP_TWINS, BPF_MAP_TYPE_PROG_ARRAY, sizeof(uint32_t), HOOK_MAX, &fresh, err);

    return r < 0 ? r
                 : open_own(e, MAP_RECORDS, BPF_MAP_TYPE_ARRAY, sizeof(struct berm_record),
                            BERM_PODS_MAX, &e->fresh, err);
}

static void *map_words(int fd, size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

static size_t control_size(void)
{
    return BERM_PODS_MAX * sizeof(struct berm_control);
}

int load_open(struct enforce *e, struct error *err)
{
    int r;

    (void)libbpf_set_print(on_libbpf);
    watch_open(e);
    r = load_programs(e, err);
    if (r == 0)
        r = find_maps(e, err);
    if (r == 0)
        r = open_own_maps(e, err);
    if (r < 0)
        return r;
    e->guard_config = map_words(e->maps[MAP_G_CONFIG], sizeof(*e->guard_config));
    e->policy_config = map_words(e->maps[MAP_P_CONFIG], sizeof(*e->policy_config));
    e->control = map_words(e->maps[MAP_P_CONTROL], control_size());
    if (!e->guard_config || !e->policy_config || !e->control)
        return error_errno(err, -errno, "map control words");
    counts_open(e);
    tally_open(e);
    return 0;
}

void load_close(struct enforce *e)
{
    if (e->guard_config)
        (void)munmap(e->guard_config, sizeof(*e->guard_config));
    if (e->policy_config)
        (void)munmap(e->policy_config, sizeof(*e->policy_config));
    if (e->control)
        (void)munmap(e->control, control_size());
    cgroup_close(e);
    watch_close(e);
    counts_close(e);
    tally_close(e);
    twins_close(e);
    if (e->guard)
        guard_bpf__destroy(e->guard);
    if (e->policy)
        policy_bpf__destroy(e->policy);
    close_fd(&e->maps[MAP_TWINS]);
    close_fd(&e->maps[MAP_RECORDS]);
}
