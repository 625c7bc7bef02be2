#include "agent/standalone/source_volume.h"

#include "agent/standalone/podspec.h"
#include "agent/standalone/runner.h"
#include "agent/standalone/source_value.h"
#include "agent/standalone/tree.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { GROUP_MAY_READ = 0440, GROUP_MAY_ENTER = 02750, VERSION_NAME = 32 };

/* One version of a volume's files, being written. */
struct version {
    const struct pod *pod;
    bool secret;
    const json_t *source; /* the volume's configMap or secret member */
    const char *name;     /* of the object that it names */
    const json_t *object; /* NULL: not there */
    int64_t group;        /* fsGroup, -1: none */
    int dir;              /* the volume */
    int root;             /* ..VERSION */
};

static int own(const struct version *v, int fd, mode_t mode)
{
    if (v->group < 0)
        return fchmod(fd, mode) < 0 ? -errno : 0;
    mode |= S_ISDIR(mode) ? GROUP_MAY_ENTER : GROUP_MAY_READ;
    return fchown(fd, (uid_t)-1, (gid_t)v->group) < 0 || fchmod(fd, mode & 07777) < 0 ? -errno : 0;
}

/* The directory that path is in, made where needed; its last component in *ret_name. */
static int open_parent(const struct version *v, const char *path, const char **ret_name)
{
    int at = fcntl(v->root, F_DUPFD_CLOEXEC, 0);

    while (at >= 0 && strchr(path, '/')) {
        char name[NAME_MAX + 1];
        size_t n = strcspn(path, "/");
        int next;

        (void)snprintf(name, sizeof(name), "%.*s", (int)n, path);
        (void)mkdirat(at, name, 0755);
        next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next >= 0 && own(v, next, S_IFDIR | 0755) < 0)
            close_fd(&next);
        (void)close(at);
        at = next;
        path += n + 1;
    }
    *ret_name = path;
    return at >= 0 ? at : -errno;
}

static int link_into_volume(const struct version *v, const char *path)
{
    char name[NAME_MAX + 1], target[NAME_MAX + 16];

    (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(path, "/"), path);
    (void)snprintf(target, sizeof(target), "..data/%s", name);
    return symlinkat(target, v->dir, name) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_file(const struct version *v, const char *path, const char *data, size_t size,
                      mode_t mode, struct error *err)
{
    const char *name = path;
    CLEANUP(close_fd) int dir = open_parent(v, path, &name), fd = -1;
    int r = dir < 0 ? dir : 0;

    if (r == 0 &&
        (fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
        r = -errno;
    if (r == 0)
        r = write_full(fd, data, size);
    if (r == 0)
        r = own(v, fd, mode);
    if (r == 0)
        r = link_into_volume(v, path);
    return r < 0 ? error_errno(err, r, "volume file '%s'", path) : 0;
}

static int write_key(const struct version *v, const char *key, const char *path, mode_t mode,
                     struct error *err)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t size = 0;
    int r = source_value(v->pod, v->secret, v->name, key, &data, &size, err);

    return r < 0 ? r : write_file(v, path, data, size, mode, err);
}

static int write_keys(const struct version *v, mode_t mode, struct error *err)
{
    const char *const members[] = {"data", v->secret ? "stringData" : "binaryData"};
    int r;

    for (size_t i = 0; i < 2; i++) {
        const char *key;
        json_t *value;

        json_object_foreach(json_object_get(v->object, members[i]), key, value)
        {
            if ((r = write_key(v, key, key, mode, err)) < 0)
                return r;
        }
    }
    return 0;
}

static int write_files(const struct version *v, struct error *err)
{
    mode_t mode = (mode_t)get_int(v->source, "defaultMode", 0644);
    const json_t *items = get(v->source, "items");
    size_t i;
    json_t *item;
    int r;

    if (!items)
        return write_keys(v, mode, err);
    json_array_foreach(items, i, item)
    {
        r = write_key(v, get_string(item, "key", ""), get_string(item, "path", ""),
                      (mode_t)get_int(item, "mode", mode), err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Keys that are no more: their links lead nowhere now. */
static void drop_dead_links(const struct version *v)
{
    int fd = openat(v->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (strncmp(d->d_name, "..", 2) != 0 && d->d_type == DT_LNK &&
            faccessat(v->dir, d->d_name, F_OK, 0) < 0 && errno == ENOENT)
            (void)unlinkat(v->dir, d->d_name, 0);
}

static int publish(const struct version *v, const char *name, const char *old, struct error *err)
{
    struct error ignored = ERROR_INIT;

    (void)unlinkat(v->dir, "..new", 0);
    if (symlinkat(name, v->dir, "..new") < 0 || renameat(v->dir, "..new", v->dir, "..data") < 0)
        return error_errno(err, -errno, "volume's link ..data");
    drop_dead_links(v);
    if (*old)
        (void)tree_remove(v->dir, old, &ignored);
    return 0;
}

/* "..VERSION" that ..data leads to; "" if nothing was published yet. */
static void current_version(int dir, char ret[VERSION_NAME])
{
    ssize_t n = readlinkat(dir, "..data", ret, VERSION_NAME - 1);

    ret[n > 0 ? n : 0] = 0;
}

/* Named by what is in it: an agent that starts again sees that nothing has changed. */
static int version_name(const struct version *v, char ret[VERSION_NAME], struct error *err)
{
    json_t *all = json_pack("{s:O?, s:O?, s:O?, s:O}", "data", json_object_get(v->object, "data"),
                            "binary", json_object_get(v->object, "binaryData"), "string",
                            json_object_get(v->object, "stringData"), "source", v->source);
    CLEANUP(free_ptr) char *text = all ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t n = (size_t)snprintf(ret, VERSION_NAME, "..");

    json_decref(all);
    if (!text || EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        return error_errno(err, -ENOMEM, "volume");
    for (size_t i = 0; i < 8; i++)
        n += (size_t)snprintf(ret + n, VERSION_NAME - n, "%02x", digest[i]);
    return 0;
}

static int open_root(struct version *v, const char *name, struct error *err)
{
    int r = tree_remove(v->dir, name, err); /* of a write that was cut off */

    if (r < 0)
        return r;
    if (mkdirat(v->dir, name, 0755) < 0 ||
        (v->root = openat(v->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return error_errno(err, -errno, "volume's directory %s", name);
    if ((r = own(v, v->root, S_IFDIR | 0755)) < 0 || (r = own(v, v->dir, S_IFDIR | 0755)) < 0)
        return error_errno(err, r, "volume's directory %s", name);
    return 0;
}

static int write_version(struct version *v, struct error *err)
{
    char old[VERSION_NAME], name[VERSION_NAME];
    struct error ignored = ERROR_INIT;
    int r = version_name(v, name, err);

    if (r < 0)
        return r;
    current_version(v->dir, old);
    if (strcmp(old, name) == 0)
        return 0;
    r = open_root(v, name, err);
    if (r == 0)
        r = write_files(v, err);
    if (r < 0) {
        (void)tree_remove(v->dir, name, &ignored);
        return r;
    }
    return publish(v, name, old, err);
}

static int missing(const struct version *v, const json_t *volume, struct error *err)
{
    return get_bool(v->source, "optional", false)
               ? 0
               : error_set(err, -ENOENT, "volume '%s': %s '%s/%s' is not there",
                           get_string(volume, "name", ""), v->secret ? "Secret" : "ConfigMap",
                           v->pod->ns, v->name);
}

/* first: what is missing is an error; later it changes nothing. */
static int bring_up_to_date(const struct pod *p, const json_t *volume, const char *dir, bool first,
                            struct error *err)
{
    bool secret = get(volume, "secret") != NULL;
    const json_t *source = json_object_get(volume, secret ? "secret" : "configMap");
    const char *name = get_string(source, secret ? "secretName" : "name", "");
    CLEANUP(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct version v = {.pod = p,
                        .secret = secret,
                        .source = source,
                        .name = name,
                        .object = source_object(p, secret, name),
                        .group = get_int(p->manifest, "spec.securityContext.fsGroup", -1),
                        .dir = fd,
                        .root = -1};
    int r;

    if (fd < 0)
        return error_errno(err, -errno, "open '%s'", dir);
    if (!v.object)
        return first ? missing(&v, volume, err) : 0;
    r = write_version(&v, err);
    close_fd(&v.root);
    return r;
}

int source_volume_make(const struct pod *p, const json_t *volume, const char *dir,
                       struct error *err)
{
    if (get(volume, "secret") &&
        mount("tmpfs", dir, "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, "mode=0755") < 0)
        return error_errno(err, -errno, "mount tmpfs at '%s'", dir);
    return bring_up_to_date(p, volume, dir, true, err);
}

int source_volume_refresh(const struct pod *p, const json_t *volume, const char *dir,
                          struct error *err)
{
    return bring_up_to_date(p, volume, dir, false, err);
}
