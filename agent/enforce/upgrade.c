/*
 * From one layout of the maps to another: links of the old layout stay beside the new ones (a frame
 * passes only if both let it) until the pod's rules are in force in the new one. Names of pins say
 * which device a link is for, in every layout; nothing else of an old layout is ever read.
 */
#include "agent/enforce/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

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

void upgrade_retire(struct enforce *e, const struct pod *pod)
{
    CLEANUP(close_dir) DIR *dir = opendir(e->pin_dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == 'v' && strcmp(entry->d_name, strrchr(e->dir, '/') + 1) != 0)
            retire(e, entry->d_name, pod);
    }
    e->upgrading = upgrade_pending(e);
}
