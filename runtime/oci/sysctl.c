#include "runtime/oci/sysctl.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { KEY_MAX = 256 };

/* The sentry's own tree has these, a pod's each (runtime/sentry/fs/proc/sysctl.c). */
static const char *const of_the_pod[] = {"kernel/shm", "kernel/msg", "kernel/sem", "fs/mqueue/",
                                         "kernel/domainname"};

/* The host's value stays open to all, for the sentry has no capabilities; the sentry checks. */
static const char *const of_the_sentry[] = {"net/ipv4/ip_unprivileged_port_start",
                                            "net/ipv4/ping_group_range"};

/* "net.ipv4.conf.eth0/1.rp_filter" and "net/ipv4/conf/eth0.1/rp_filter" are the same name: the
 * first separator says which one separates. */
static int path_of(const char *key, char *path, struct error *err)
{
    const char *first = strpbrk(key, "./");
    size_t n = strlen(key);

    if (n >= KEY_MAX || !first)
        return error_set(err, -EINVAL, "config.json: linux.sysctl: '%.64s' is no name", key);
    (void)strcpy(path, key);
    for (char *p = path; *p && *first == '.'; p++)
        *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
    if (path[0] == '/' || strstr(path, "//") || strstr(path, "../"))
        return error_set(err, -EINVAL, "config.json: linux.sysctl: '%.64s' is no name", key);
    return 0;
}

static bool is_net(const char *path)
{
    return strncmp(path, "net/", 4) == 0;
}

int sysctl_check(const struct oci_spec *spec, enum net_kind net, struct error *err)
{
    char path[KEY_MAX];
    const char *key;
    json_t *value;

    json_object_foreach(spec->linux_.sysctl, key, value)
    {
        bool known = false;
        int r = path_of(key, path, err);

        if (r < 0)
            return r;
        if (!json_is_string(value))
            return error_set(err, -EINVAL, "config.json: linux.sysctl: %.64s: must be a string",
                             key);
        if (is_net(path) && net == NET_HOST)
            return error_set(err, -EINVAL,
                             "sysctl \"%s\" is not allowed in the host's network namespace", key);
        for (size_t i = 0; i < ARRAY_SIZE(of_the_pod); i++)
            known |= strncmp(path, of_the_pod[i], strlen(of_the_pod[i])) == 0;
        if (!known && !is_net(path))
            return error_set(err, -EINVAL, "sysctl \"%s\" is not in a separate kernel namespace",
                             key);
    }
    return 0;
}

int sysctl_apply_net(const struct oci_spec *spec, struct error *err)
{
    char path[KEY_MAX], file[KEY_MAX + 16];
    const char *key;
    json_t *value;

    json_object_foreach(spec->linux_.sysctl, key, value)
    {
        bool ours = false;
        int r = path_of(key, path, err);

        for (size_t i = 0; i < ARRAY_SIZE(of_the_sentry); i++)
            ours |= strcmp(path, of_the_sentry[i]) == 0;
        if (r == 0 && is_net(path) && !ours) {
            (void)snprintf(file, sizeof(file), "/proc/sys/%s", path);
            r = file_write(AT_FDCWD, file, json_string_value(value), err);
        }
        if (r < 0)
            return error_wrap(err, "sysctl \"%s\"", key);
    }
    return 0;
}
