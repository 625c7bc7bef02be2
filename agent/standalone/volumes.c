#include "agent/standalone/volumes.h"

#include "agent/standalone/podspec.h"
#include "agent/standalone/source_volume.h"
#include "common/fdio.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { PATH_SIZE = 1024 };

void volume_path(const struct pod *p, const json_t *volume, char *ret, size_t size)
{
    if (get(volume, "hostPath"))
        (void)snprintf(ret, size, "%s", get_string(volume, "hostPath.path", "/"));
    else
        (void)snprintf(ret, size, "%s/volumes/%s", p->dir, get_string(volume, "name", ""));
}

static int make_empty_dir(const struct pod *p, const json_t *v, const char *dir, struct error *err)
{
    const json_t *limit = get(v, "emptyDir.sizeLimit");
    int64_t group = get_int(p->manifest, "spec.securityContext.fsGroup", -1), milli = 0;
    char options[64] = "mode=0777";

    if (strcmp(get_string(v, "emptyDir.medium", ""), "Memory") == 0) {
        if (limit &&
            (json_is_integer(limit) ||
             quantity_milli(json_string_value(limit) ? json_string_value(limit) : "", &milli)))
            (void)snprintf(options, sizeof(options), "mode=0777,size=%lld",
                           json_is_integer(limit) ? (long long)json_integer_value(limit)
                                                  : (long long)(milli / 1000));
        if (mount("tmpfs", dir, "tmpfs", MS_NODEV | MS_NOSUID, options) < 0)
            return error_errno(err, -errno, "mount tmpfs at '%s'", dir);
    }
    if (group >= 0 && chown(dir, (uid_t)-1, (gid_t)group) < 0)
        return error_errno(err, -errno, "chown '%s'", dir);
    return chmod(dir, group >= 0 ? 02777 : 0777) < 0 ? error_errno(err, -errno, "chmod '%s'", dir)
                                                     : 0;
}

static int check_host_path(const json_t *v, struct error *err)
{
    static const struct {
        const char *type;
        mode_t mode;
        bool create;
    } types[] = {{"Directory", S_IFDIR, false}, {"DirectoryOrCreate", S_IFDIR, true},
                 {"File", S_IFREG, false},      {"FileOrCreate", S_IFREG, true},
                 {"Socket", S_IFSOCK, false},   {"", 0, false}};
    const char *path = get_string(v, "hostPath.path", ""),
               *type = get_string(v, "hostPath.type", "");
    struct stat st;

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i].type, type) != 0)
            continue;
        if (types[i].create && types[i].mode == S_IFDIR)
            (void)mkdir_parents(path, 0755);
        else if (types[i].create)
            (void)mknod(path, S_IFREG | 0644, 0);
        if (stat(path, &st) < 0)
            return error_errno(err, -errno, "hostPath '%s'", path);
        if (types[i].mode && (st.st_mode & S_IFMT) != types[i].mode)
            return error_set(err, -EINVAL, "hostPath '%s' is no %s", path, type);
        return 0;
    }
    return error_set(err, -EINVAL, "hostPath '%s': type '%s' is not known", path, type);
}

int volume_make(const struct pod *p, const json_t *v, struct error *err)
{
    char dir[PATH_SIZE];

    if (get(v, "hostPath"))
        return check_host_path(v, err);
    volume_path(p, v, dir, sizeof(dir));
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "create '%s'", dir);
    if (get(v, "configMap") || get(v, "secret"))
        return source_volume_make(p, v, dir, err);
    return make_empty_dir(p, v, dir, err);
}

void volume_unmount(const struct pod *p, const json_t *v)
{
    char path[PATH_SIZE];

    if (get(v, "hostPath"))
        return;
    volume_path(p, v, path, sizeof(path));
    while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        continue;
}
