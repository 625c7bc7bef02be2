#include "agent/standalone/files.h"

#include "agent/config.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/runner.h"
#include "agent/standalone/source_volume.h"
#include "agent/standalone/volumes.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
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
        r = volume_make(p, v, err);
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
        volume_unmount(p, v);
    }
}

int pod_files_refresh(const struct pod *p, struct error *err)
{
    char dir[PATH_SIZE];
    size_t i;
    json_t *v;
    int r = 0, rc;

    json_array_foreach(get(p->manifest, "spec.volumes"), i, v)
    {
        if (!get(v, "configMap") && !get(v, "secret"))
            continue;
        volume_path(p, v, dir, sizeof(dir));
        rc = source_volume_refresh(p, v, dir, err);
        r = r < 0 ? r : rc;
    }
    return r;
}
