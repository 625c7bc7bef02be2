#include "agent/standalone/files.h"

#include "agent/config.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/runner.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { PATH_SIZE = 1024, RESOLV_MAX = 65536 };

const char *pod_hostname(const struct pod *p)
{
    static char name[64];

    (void)snprintf(name, sizeof(name), "%s", get_string(p->manifest, "spec.hostname", p->name));
    return name;
}

static int write_file(const struct pod *p, const char *name, const struct buf *b, struct error *err)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s/etc/%s", p->dir, name);
    return file_write_atomic(AT_FDCWD, path, b->data ? b->data : "", b->size, 0644, err);
}

static int make_hosts(const struct pod *p, struct error *err)
{
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    const char *name = pod_hostname(p);

    if (buf_printf(&b,
                   "# made by berm\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"
                   "%s\t%s\n%s\t%s\n",
                   p->address.text4, name, p->address.text6, name) < 0)
        return error_errno(err, -ENOMEM, "hosts");
    return write_file(p, "hosts", &b, err);
}

static int make_hostname(const struct pod *p, struct error *err)
{
    CLEANUP(buf_fini) struct buf b = BUF_INIT;

    if (buf_printf(&b, "%s\n", pod_hostname(p)) < 0)
        return error_errno(err, -ENOMEM, "hostname");
    return write_file(p, "hostname", &b, err);
}

static int make_resolv(const struct pod *p, struct error *err)
{
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    CLEANUP(free_ptr) char *text = NULL;
    const char *server = p->runner->config->nameserver;
    int r;

    if (*server)
        r = buf_printf(&b, "nameserver %s\n", server);
    else if (file_read_all(AT_FDCWD, "/etc/resolv.conf", RESOLV_MAX, &text, NULL, err) == 0)
        r = buf_puts(&b, text);
    else
        r = buf_puts(&b, "# this machine has no /etc/resolv.conf\n");
    return r < 0 ? error_errno(err, r, "resolv.conf") : write_file(p, "resolv.conf", &b, err);
}

static int decode_base64(const char *text, char **ret, size_t *ret_size)
{
    size_t n = strlen(text), padding = 0;
    CLEANUP(free_ptr) char *out = malloc(n / 4 * 3 + 4);
    int got;

    if (!out)
        return -ENOMEM;
    while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
        padding++;
    got = n % 4 || n > (1 << 24)
              ? -1
              : EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    if (got < 0 || (size_t)got < padding)
        return -EINVAL;
    *ret_size = (size_t)got - padding;
    out[*ret_size] = 0;
    *ret = TAKE_PTR(out);
    return 0;
}

/* Plain text members win over encoded ones, as with stringData. */
static int value_of(const json_t *object, bool secret, const char *key, char **ret_data,
                    size_t *ret_size)
{
    const char *plain = json_string_value(
        json_object_get(json_object_get(object, secret ? "stringData" : "data"), key));
    const char *encoded = json_string_value(
        json_object_get(json_object_get(object, secret ? "data" : "binaryData"), key));

    if (plain) {
        *ret_data = strdup(plain);
        *ret_size = strlen(plain);
        return *ret_data ? 0 : -ENOMEM;
    }
    return encoded ? decode_base64(encoded, ret_data, ret_size) : -ENOENT;
}

static const json_t *source_object(const struct pod *p, bool secret, const char *name)
{
    const struct object *o =
        objects_get(p->runner->objects, secret ? OBJECT_SECRET : OBJECT_CONFIG_MAP, p->ns, name);

    return o ? o->json : NULL;
}

int source_value(const struct pod *p, bool secret, const char *name, const char *key,
                 char **ret_data, size_t *ret_size, struct error *err)
{
    const char *kind = secret ? "Secret" : "ConfigMap";
    const json_t *object = source_object(p, secret, name);
    int r;

    if (!object)
        return error_set(err, -ENOENT, "%s '%s/%s' is not there", kind, p->ns, name);
    r = value_of(object, secret, key, ret_data, ret_size);
    if (r == -ENOENT)
        return error_set(err, r, "%s '%s/%s' has no key '%s'", kind, p->ns, name, key);
    return r < 0 ? error_errno(err, r, "%s '%s/%s' key '%s'", kind, p->ns, name, key) : 0;
}

void volume_path(const struct pod *p, const json_t *volume, char *ret, size_t size)
{
    if (get(volume, "hostPath"))
        (void)snprintf(ret, size, "%s", get_string(volume, "hostPath.path", "/"));
    else
        (void)snprintf(ret, size, "%s/volumes/%s", p->dir, get_string(volume, "name", ""));
}

static int write_key(const struct pod *p, bool secret, const char *name, const char *key,
                     const char *dir, const char *file, mode_t mode, struct error *err)
{
    CLEANUP(free_ptr) char *data = NULL;
    char path[2 * PATH_SIZE];
    size_t size = 0;
    int r = source_value(p, secret, name, key, &data, &size, err);

    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, file);
    r = file_write_atomic(AT_FDCWD, path, data, size, mode, err);
    if (r == 0 && chmod(path, mode) < 0)
        r = error_errno(err, -errno, "chmod '%s'", path);
    return r;
}

static int write_all_keys(const struct pod *p, bool secret, const char *name, const char *dir,
                          mode_t mode, struct error *err)
{
    const char *const members[] = {"data", secret ? "stringData" : "binaryData"};
    const json_t *object = source_object(p, secret, name);

    for (size_t i = 0; i < 2; i++) {
        const char *key;
        json_t *v;

        json_object_foreach(json_object_get(object, members[i]), key, v)
        {
            int r = write_key(p, secret, name, key, dir, key, mode, err);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int make_source_volume(const struct pod *p, const json_t *v, bool secret, const char *dir,
                              struct error *err)
{
    const json_t *source = json_object_get(v, secret ? "secret" : "configMap");
    const char *name = get_string(source, secret ? "secretName" : "name", "");
    const json_t *items = get(source, "items");
    mode_t mode = (mode_t)get_int(source, "defaultMode", 0644);
    size_t i;
    json_t *item;
    int r;

    if (secret && mount("tmpfs", dir, "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, "mode=0755") < 0)
        return error_errno(err, -errno, "mount tmpfs at '%s'", dir);
    if (!source_object(p, secret, name))
        return get_bool(source, "optional", false)
                   ? 0
                   : error_set(err, -ENOENT, "volume '%s': %s '%s/%s' is not there",
                               get_string(v, "name", ""), secret ? "Secret" : "ConfigMap", p->ns,
                               name);
    if (!items)
        return write_all_keys(p, secret, name, dir, mode, err);
    json_array_foreach(items, i, item)
    {
        r = write_key(p, secret, name, get_string(item, "key", ""), dir,
                      get_string(item, "path", ""), (mode_t)get_int(item, "mode", mode), err);
        if (r < 0)
            return r;
    }
    return 0;
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

static int make_volume(const struct pod *p, const json_t *v, struct error *err)
{
    char dir[PATH_SIZE];

    if (get(v, "hostPath"))
        return check_host_path(v, err);
    volume_path(p, v, dir, sizeof(dir));
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "create '%s'", dir);
    if (get(v, "configMap"))
        return make_source_volume(p, v, false, dir, err);
    if (get(v, "secret"))
        return make_source_volume(p, v, true, dir, err);
    return make_empty_dir(p, v, dir, err);
}

int pod_files_make(const struct pod *p, struct error *err)
{
    static const char *const dirs[] = {"etc", "volumes", "c", "shm"};
    char path[PATH_SIZE];
    size_t i;
    json_t *v;
    int r;

    for (i = 0; i < ARRAY_SIZE(dirs); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", p->dir, dirs[i]);
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return error_errno(err, -errno, "create '%s'", path);
    }
    if (mount("shm", path, "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, "mode=1777,size=65536k") < 0)
        return error_errno(err, -errno, "mount tmpfs at '%s'", path);
    if ((r = make_hosts(p, err)) < 0 || (r = make_hostname(p, err)) < 0 ||
        (r = make_resolv(p, err)) < 0)
        return r;
    json_array_foreach(get(p->manifest, "spec.volumes"), i, v)
    {
        r = make_volume(p, v, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void pod_files_unmount(const struct pod *p)
{
    char path[PATH_SIZE];
    size_t i;
    json_t *v;

    (void)snprintf(path, sizeof(path), "%s/shm", p->dir);
    while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        continue;
    json_array_foreach(get(p->manifest, "spec.volumes"), i, v)
    {
        if (get(v, "hostPath"))
            continue;
        volume_path(p, v, path, sizeof(path));
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            continue;
    }
}
