#include "agent/config.h"
#include "agent/standalone/bundle.h"
#include "agent/standalone/files.h"
#include "agent/standalone/pod_internal.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/tree.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

enum { POD_JSON_MAX = 8 << 20, VERSION = 1 };

int runner_pod_save(const struct pod *p, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:s, s:O, s:I, s:s, s:I}", "version", VERSION, "uid", p->uid,
                  "namespace", p->ns, "name", p->name, "manifest", p->manifest, "number",
                  (json_int_t)p->number, "ifname", p->ifname, "started", (json_int_t)p->started);

    text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    json_decref(json);
    if (!text)
        return error_errno(err, -ENOMEM, "pod.json");
    (void)snprintf(path, sizeof(path), "%s/pod.json", p->dir);
    return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

int pod_mark_ready(const struct pod *p, struct error *err)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/ready", p->dir);
    return file_write_atomic(AT_FDCWD, path, "", 0, 0600, err);
}

static int from_json(struct runner *r, const json_t *json, const char *uid, struct pod **ret,
                     struct error *err)
{
    struct schema_error e = {.err = ERROR_INIT};
    const char *ns = get_string(json, "namespace", ""), *name = get_string(json, "name", "");
    json_t *manifest = get(json, "manifest");
    uint32_t number = (uint32_t)get_int(json, "number", 0);
    struct pod *p;
    int rc;

    if (get_int(json, "version", 0) != VERSION || strcmp(get_string(json, "uid", ""), uid) != 0 ||
        !name_is_label(ns) || !name_is_subdomain(name) || podspec_check(manifest, &e) < 0)
        return error_set(err, -EINVAL, "pod.json is damaged, or of another version");
    rc = network_claim(&r->network, number);
    if (rc < 0)
        return error_errno(err, rc, "address number %u", number);
    p = runner_pod_new(r, ns, name, manifest, uid);
    if (!p) {
        network_release(&r->network, number);
        return error_errno(err, -ENOMEM, "pod");
    }
    p->number = number;
    network_address(&r->network, number, &p->address);
    p->started = (time_t)get_int(json, "started", 0);
    *ret = p;
    return 0;
}

int runner_pod_load(struct runner *r, const char *uid, struct pod **ret, bool *ret_ready,
                    struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];
    json_error_t je;
    json_t *json;
    int rc;

    (void)snprintf(path, sizeof(path), "%s/pods/%s/pod.json", r->config->state_dir, uid);
    rc = file_read_all(AT_FDCWD, path, POD_JSON_MAX, &text, NULL, err);
    if (rc < 0)
        return rc;
    json = json_loads(text, 0, &je);
    if (!json)
        return error_set(err, -EINVAL, "'%s': %s", path, je.text);
    rc = from_json(r, json, uid, ret, err);
    json_decref(json);
    (void)snprintf(path, sizeof(path), "%s/pods/%s/ready", r->config->state_dir, uid);
    *ret_ready = access(path, F_OK) == 0;
    return rc;
}

static void remove_pod_cgroup(const struct pod *p)
{
    CLEANUP(close_dir) DIR *dir = opendir("/sys/fs/cgroup");
    struct dirent *d;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/berm/pod%s", p->uid);
    (void)rmdir(path);
    while (dir && (d = readdir(dir))) {
        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/berm/pod%s", d->d_name, p->uid);
        (void)rmdir(path);
    }
}

/* Bundles of attempts that no container in memory stands for (an interrupted run). */
static void erase_bundles(const struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++) {
        struct container c = p->containers[i];
        CLEANUP(close_dir) DIR *dir = NULL;
        struct error ignored = ERROR_INIT;
        char path[PATH_MAX];
        struct dirent *d;

        (void)snprintf(path, sizeof(path), "%s/c/%s", p->dir, c.name);
        dir = opendir(path);
        while (dir && (d = readdir(dir))) {
            if (d->d_name[0] == '.')
                continue;
            (void)snprintf(c.bundle, sizeof(c.bundle), "%s/c/%s/%.20s", p->dir, c.name, d->d_name);
            (void)snprintf(c.id, sizeof(c.id), "%.13s-%.63s-%.20s", p->uid, c.name, d->d_name);
            (void)bundle_clean(&c, &ignored);
        }
    }
}

int runner_pod_erase(const struct pod *p, struct error *err)
{
    struct error ignored = ERROR_INIT;
    int r;

    erase_bundles(p);
    pod_files_unmount(p);
    remove_pod_cgroup(p);
    r = tree_remove(AT_FDCWD, p->dir, err);
    if (p->deleted)
        (void)tree_remove(AT_FDCWD, p->log_dir, &ignored);
    return r;
}
