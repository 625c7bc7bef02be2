/*
 * From one layout of the maps to another: links of the old layout stay beside the new ones (a frame
 * passes only if both let it) until the pod's rules are in force in the new one. Till then the new
 * guard binds, and the new policy engine watches: what the old one allowed goes on.
 *
 * What is read of another layout, and so is the same in each: names of pins, which say which device
 * a link is for, and the first word of the two switches.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Calls fn for each entry of FOLDER of each other layout, until it returns non-zero. */
typedef int (*entry_fn)(void *ctx, const char *path, const char *name);
static int each_entry(const struct enforce *e, const char *folder, entry_fn fn, void *ctx)
{
    CLEANUP(close_dir) DIR *root = opendir(e->pin_dir);
    struct dirent *version, *entry;
    int r = 0;

    while (root && r == 0 && (version = readdir(root))) {
        CLEANUP(close_dir) DIR *dir = NULL;
        char path[700];
        size_t n;

        if (version->d_name[0] != 'v' || !strcmp(version->d_name, strrchr(e->dir, '/') + 1))
            continue;
        n = (size_t)snprintf(path, sizeof(path), "%s/%s/%s", e->pin_dir, version->d_name, folder);
        dir = opendir(path);
        while (dir && r == 0 && (entry = readdir(dir))) {
            if (entry->d_name[0] == '.')
                continue;
            (void)snprintf(path + n, sizeof(path) - n, "/%s", entry->d_name);
            r = fn(ctx, path, entry->d_name);
        }
    }
    return r;
}

/* -- switches ---------------------------------------------------------------------------- */

struct mode_search {
    const char *name;
    int mode;
};

static int note_mode(void *ctx, const char *path, const char *name)
{
    struct mode_search *search = ctx;
    CLEANUP(close_fd) int fd = strcmp(name, search->name) != 0 ? -1 : bpf_obj_get(path);
    struct bpf_map_info info = {0};
    uint32_t size = sizeof(info), zero = 0, words[16] = {0};

    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
        info.value_size <= sizeof(words) && bpf_map_lookup_elem(fd, &zero, words) == 0 &&
        words[0] <= BERM_MODE_ALL && (int)words[0] > search->mode)
        search->mode = (int)words[0];
    return 0;
}

int upgrade_mode(const struct enforce *e, enum enforce_map config)
{
    struct mode_search search = {load_map_name(config), -ENOENT};

    (void)each_entry(e, "maps", note_mode, &search);
    return search.mode;
}

/* -- who judges -------------------------------------------------------------------------- */

enum { POLICY_FROM = 1, POLICY_TO = 2, POLICY_BOTH = 3 };

/* Devices with policy links of another layout. */
struct judged {
    struct judged_device {
        int ifindex, links;
    } * list;
    size_t n;
};

static int add_judged(struct judged *j, int ifindex, int link)
{
    struct judged_device *grown;

    for (size_t i = j->n; i-- > 0;) {
        if (j->list[i].ifindex == ifindex) {
            j->list[i].links |= link;
            return 0;
        }
    }
    grown = realloc(j->list, (j->n + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    j->list = grown;
    j->list[j->n++] = (struct judged_device){ifindex, link};
    return 0;
}

static int note_link(void *ctx, const char *path, const char *name)
{
    struct sys_link_info info = {0};
    char kind[32];
    unsigned slot;
    int at, link;

    if (sscanf(name, "%u-%d-%31s", &slot, &at, kind) != 3)
        return 0;
    link = !strcmp(kind, "policy-from") ? POLICY_FROM : !strcmp(kind, "policy-to") ? POLICY_TO : 0;
    if (!link)
        return 0;
    CLEANUP(close_fd) int fd = bpf_obj_get(path);

    return fd >= 0 && sys_link_info(fd, &info) == 0 && info.ifindex == at
               ? add_judged(ctx, at, link)
               : 0;
}

static bool is_judged(const struct judged *j, int ifindex)
{
    for (size_t i = 0; i < j->n; i++) {
        if (j->list[i].ifindex == ifindex)
            return j->list[i].links == POLICY_BOTH;
    }
    return false;
}

bool upgrade_judges(const struct enforce *e, const int *ifindexes, size_t n)
{
    struct judged judged = {0};
    bool all = n > 0;

    (void)each_entry(e, "links", note_link, &judged);
    for (size_t i = 0; all && i < n; i++)
        all = is_judged(&judged, ifindexes[i]);
    free(judged.list);
    return all;
}

void upgrade_load(const struct enforce *e, struct pod *pod)
{
    uint32_t key, *from = NULL;
    int ifindexes[NETDEV_MAX];
    size_t n = 0;

    if (!e->upgrading || BERM_CONTROL_STATE(pod->control) != BERM_POD_UNKNOWN)
        return;
    while (n < ARRAY_SIZE(ifindexes) &&
           bpf_map_get_next_key(e->maps[MAP_P_IFACES], from, &key) == 0) {
        struct berm_iface iface;

        if (bpf_map_lookup_elem(e->maps[MAP_P_IFACES], &key, &iface) == 0 &&
            iface.slot == pod->slot)
            ifindexes[n++] = (int)key;
        from = &key;
    }
    pod->inherited = upgrade_judges(e, ifindexes, n);
}

static bool stands(const struct pod *pod, const struct judged *judged)
{
    const struct device *device;

    list_for_each_entry (device, &pod->devices, siblings) {
        if (!is_judged(judged, device->ifindex))
            return false;
    }
    return true;
}

int upgrade_verify(struct enforce *e)
{
    struct judged judged = {0};
    bool looked = false;
    int lost = 0;

    for (size_t i = 0; e->upgrading && i < BERM_PODS_MAX; i++) {
        struct pod *pod = e->slots[i];

        if (!pod || !pod->inherited)
            continue;
        if (!looked)
            (void)each_entry(e, "links", note_link, &judged);
        looked = true;
        if (stands(pod, &judged))
            continue;
        upgrade_take_over(e, pod);
        incident(e, ENFORCE_LINK_LOST, NULL,
                 "pod %s: links of another layout are gone before its rules are known",
                 pod->record.uid);
        lost++;
    }
    free(judged.list);
    return lost;
}

/* -- the end of the other layout --------------------------------------------------------- */

/* Removes a folder's entries for this device (0: all); the number of links left. */
static size_t clear_dir(int parent, const char *name, int ifindex)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    size_t left = 0;

    if (!dir) {
        close_fd(&fd);
        return 0;
    }
    while ((entry = readdir(dir))) {
        unsigned slot;
        int at;

        if (entry->d_name[0] == '.')
            continue;
        if (ifindex && (sscanf(entry->d_name, "%u-%d-", &slot, &at) != 2 || at != ifindex))
            left++;
        else if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            left++;
    }
    return left;
}

/* Links whose device is gone would keep their layout's folder for ever. */
static size_t clear_dead(int parent)
{
    int fd = openat(parent, "links", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    size_t left = 0;

    if (!dir) {
        close_fd(&fd);
        return 0;
    }
    while ((entry = readdir(dir))) {
        struct netdev dev;
        unsigned slot;
        int at;

        if (sscanf(entry->d_name, "%u-%d-", &slot, &at) != 2)
            continue;
        if (netdev_host(at, &dev, NULL) < 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        else
            left++;
    }
    return left;
}

static void retire(const struct enforce *e, const char *version, const struct pod *pod)
{
    CLEANUP(close_fd) int root = open(e->pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_fd) int dir = -1;
    const struct device *device;

    if (root >= 0)
        dir = openat(root, version, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    list_for_each_entry (device, &pod->devices, siblings)
        (void)clear_dir(dir, "links", device->ifindex);
    if (clear_dead(dir) > 0)
        return;
    (void)clear_dir(dir, "links", 0); /* those on cgroups */
    (void)unlinkat(dir, "links", AT_REMOVEDIR);
    (void)clear_dir(dir, "maps", 0);
    (void)unlinkat(dir, "maps", AT_REMOVEDIR);
    (void)unlinkat(root, version, AT_REMOVEDIR);
}

bool upgrade_pending(const struct enforce *e)
{
    CLEANUP(close_dir) DIR *dir = opendir(e->pin_dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == 'v' && strcmp(entry->d_name, strrchr(e->dir, '/') + 1) != 0)
            return true;
    }
    return false;
}

static void retire_all(struct enforce *e, const struct pod *pod)
{
    CLEANUP(close_dir) DIR *dir = opendir(e->pin_dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == 'v' && strcmp(entry->d_name, strrchr(e->dir, '/') + 1) != 0)
            retire(e, entry->d_name, pod);
    }
    e->upgrading = upgrade_pending(e);
}

void upgrade_take_over(struct enforce *e, struct pod *pod)
{
    struct error err = ERROR_INIT;

    if (!e->upgrading)
        return;
    if (pod->inherited) {
        pod->inherited = false;
        if (guard_spread(e, pod, &err) < 0) /* the sweep finds it, and tries again */
            incident(e, ENFORCE_REPAIR_FAILED, NULL, "%s", err.msg);
    }
    if (BERM_CONTROL_STATE(pod->control) == BERM_POD_RULES)
        retire_all(e, pod);
}
