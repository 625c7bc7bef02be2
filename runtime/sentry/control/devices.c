/* linux.devices of a config: nodes for devices that every container has, in other places too. */
#include "common/cleanup.h"
#include "common/log.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/fs/dev/dev.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/ops.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static bool is_known(const json_t *d)
{
    json_int_t major = json_integer_value(json_object_get(d, "major")),
               minor = json_integer_value(json_object_get(d, "minor"));
    const char *type = json_string_value(json_object_get(d, "type"));

    for (unsigned i = 0; i < g_n_dev_nodes && type && (*type == 'c' || *type == 'u'); i++)
        if (S_ISCHR(g_dev_nodes[i].mode) && g_dev_nodes[i].major == major &&
            g_dev_nodes[i].minor == minor)
            return true;
    return false;
}

static void make_parents(struct task *t, const char *path)
{
    char part[PATH_MAX];

    for (const char *p = path; (p = strchr(p + 1, '/'));) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
        (void)vfs_mkdir(t, AT_FDCWD, part, 0755);
    }
}

static int make_device(struct task *t, const json_t *d, const char *path)
{
    const json_t *mode = json_object_get(d, "fileMode");
    uint64_t rdev = makedev((unsigned)json_integer_value(json_object_get(d, "major")),
                            (unsigned)json_integer_value(json_object_get(d, "minor")));
    uint32_t bits = mode ? (uint32_t)json_integer_value(mode) & 0777 : 0666;
    struct path p;
    int r;

    make_parents(t, path);
    r = vfs_mknod(t, AT_FDCWD, path, S_IFCHR | bits, rdev);
    if (r < 0)
        return r == -EEXIST ? 0 : r;
    r = path_lookup(t, AT_FDCWD, path, 0, &p);
    if (r < 0)
        return r;
    r = vfs_chmod(t, &p, bits);
    if (r == 0)
        r = vfs_chown(t, &p, (uint32_t)json_integer_value(json_object_get(d, "uid")),
                      (uint32_t)json_integer_value(json_object_get(d, "gid")));
    path_put(&p);
    return r;
}

/* The machine's devices have no place in a sandbox: their nodes are not made, and the log says so
 * (a privileged pod's list names all of them). */
int container_make_devices(struct task *t, const json_t *spec, struct error *err)
{
    const json_t *list = json_object_get(json_object_get(spec, "linux"), "devices");
    struct cred *own = t->cred;
    size_t i;
    json_t *d;
    int r = 0;

    if (!json_array_size(list))
        return 0;
    t->cred = cred_new();
    if (!t->cred) {
        t->cred = own;
        return error_errno(err, -ENOMEM, "linux.devices");
    }
    t->cred->effective = t->cred->permitted = CAP_ALL;
    json_array_foreach((json_t *)(uintptr_t)list, i, d)
    {
        const char *path = json_string_value(json_object_get(d, "path"));

        if (!path || *path != '/')
            r = error_set(err, -EINVAL, "linux.devices[%zu].path: must be an absolute path", i);
        else if (!is_known(d))
            log_warn("linux.devices[%zu]: '%s' is left out: a sandbox has none of the machine's "
                     "devices",
                     i, path);
        else if ((r = make_device(t, d, path)) < 0)
            (void)error_errno(err, r, "linux.devices[%zu]: '%s'", i, path);
        if (r < 0)
            break;
    }
    cred_put(t->cred);
    t->cred = own;
    return r;
}
