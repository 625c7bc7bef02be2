#include "runtime/oci/spec.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/oci/hooks.h"
#include "runtime/oci/spec_fields.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const ns_names[NS_COUNT] = {
    [NS_PID] = "pid", [NS_NETWORK] = "network", [NS_MOUNT] = "mount",   [NS_IPC] = "ipc",
    [NS_UTS] = "uts", [NS_USER] = "user",       [NS_CGROUP] = "cgroup", [NS_TIME] = "time",
};

static bool has_dot_dot(const char *path)
{
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");

        if (n == 2 && p[0] == '.' && p[1] == '.')
            return true;
        p += n + (p[n] == '/');
    }
    return false;
}

static int check_path(struct oci_reader *r, const char *member, const char *path, bool absolute)
{
    if (!*path)
        return oci_read_fail(r, member, "is empty");
    if (strlen(path) >= PATH_MAX)
        return oci_read_fail(r, member, "is longer than a path may be");
    if (absolute && path[0] != '/')
        return oci_read_fail(r, member, "must be an absolute path: '%.100s'", path);
    if (has_dot_dot(path))
        return oci_read_fail(r, member, "must not contain \"..\": '%.100s'", path);
    return 0;
}

static int check_process(struct oci_reader *r, const char *prefix, const struct oci_process *p)
{
    char member[32];

    (void)snprintf(member, sizeof(member), "%sargs", prefix);
    if (p->args.count == 0)
        return oci_read_fail(r, member, "is empty");
    if (!*p->args.items[0]) {
        (void)snprintf(member, sizeof(member), "%sargs[0]", prefix);
        return oci_read_fail(r, member, "is empty");
    }
    (void)snprintf(member, sizeof(member), "%scwd", prefix);
    return p->cwd[0] == '/' ? 0 : oci_read_fail(r, member, "must be an absolute path");
}

static int check_mounts(struct oci_reader *r, const struct oci_spec *spec)
{
    for (unsigned i = 0; i < spec->mounts.count; i++) {
        const struct oci_mount *m = (const struct oci_mount *)spec->mounts.items + i;
        char member[48];
        int ret;

        (void)snprintf(member, sizeof(member), "mounts[%u].destination", i);
        ret = check_path(r, member, m->destination, true);
        if (ret < 0)
            return ret;
        (void)snprintf(member, sizeof(member), "mounts[%u].source", i);
        if (m->source && strlen(m->source) >= PATH_MAX)
            return oci_read_fail(r, member, "is longer than a path may be");
        if (!m->source && m->type && strcmp(m->type, "bind") == 0)
            return oci_read_fail(r, member, "is missing");
    }
    return 0;
}

static int sort_namespaces(struct oci_reader *r, struct oci_spec *spec)
{
    const struct oci_namespace *list = spec->linux_.namespaces.items;

    for (int t = 0; t < NS_COUNT; t++)
        spec->ns[t] = -1;
    for (unsigned i = 0; i < spec->linux_.namespaces.count; i++) {
        char member[40];
        int t = 0;

        (void)snprintf(member, sizeof(member), "linux.namespaces[%u].type", i);
        while (t < NS_COUNT && strcmp(ns_names[t], list[i].type) != 0)
            t++;
        if (t == NS_COUNT)
            return oci_read_fail(r, member, "unknown namespace '%.32s'", list[i].type);
        if (spec->ns[t] >= 0)
            return oci_read_fail(r, member, "'%s' is there twice", list[i].type);
        spec->ns[t] = (int)i;
    }
    return 0;
}

static int joining(const struct oci_spec *spec);

static int check_annotations(struct oci_reader *r, const struct oci_spec *spec)
{
    const char *key, *id = oci_sandbox_id(spec);
    json_t *value;

    json_object_foreach(spec->annotations, key, value) if (!json_is_string(value))
    {
        char member[96];

        (void)snprintf(member, sizeof(member), "annotations[\"%.64s\"]", key);
        return oci_read_fail(r, member, "must be a string");
    }
    if (joining(spec) >= 0 && !id)
        return oci_read_fail(r, "annotations", "a container without the id of its sandbox");
    if (id && oci_id_check(id, NULL) < 0)
        return oci_read_fail(r, "annotations", "sandbox id '%.100s' is not an id", id);
    return 0;
}

static int check_masked(struct oci_reader *r, const struct oci_linux *l)
{
    const struct {
        const char *name;
        const struct oci_strings *paths;
    } lists[] = {{"maskedPaths", &l->masked_paths}, {"readonlyPaths", &l->readonly_paths}};

    for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
        for (unsigned i = 0; i < lists[k].paths->count; i++) {
            char member[48];
            int ret;

            (void)snprintf(member, sizeof(member), "linux.%s[%u]", lists[k].name, i);
            ret = check_path(r, member, lists[k].paths->items[i], true);
            if (ret < 0)
                return ret;
        }
    return 0;
}

static int check_devices(struct oci_reader *r, const struct oci_linux *l)
{
    for (unsigned i = 0; i < l->devices.count; i++) {
        const struct oci_device *d = (const struct oci_device *)l->devices.items + i;
        char member[48];
        int ret;

        (void)snprintf(member, sizeof(member), "linux.devices[%u].path", i);
        ret = check_path(r, member, d->path, true);
        if (ret < 0)
            return ret;
        (void)snprintf(member, sizeof(member), "linux.devices[%u].type", i);
        if (strlen(d->type) != 1 || !strchr("cbup", *d->type))
            return oci_read_fail(r, member, "'%.16s' is none of c, b, u, p", d->type);
    }
    return 0;
}

static bool among(const char *text, const char *const *words, size_t n)
{
    while (n && strcmp(text, words[n - 1]) != 0)
        n--;
    return n > 0;
}

/* Actions and conditions are the sentry's to understand. */
static int check_seccomp(struct oci_reader *r, const struct oci_seccomp *s)
{
    static const char *const flags[] = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
                                        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                                        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"};

    for (unsigned i = 0; i < s->flags.count; i++)
        if (!among(s->flags.items[i], flags, ARRAY_SIZE(flags)))
            return oci_read_fail(r, "linux.seccomp.flags", "'%.64s' is not known",
                                 s->flags.items[i]);
    for (unsigned i = 0; i < s->architectures.count; i++)
        if (strncmp(s->architectures.items[i], "SCMP_ARCH_", 10) != 0)
            return oci_read_fail(r, "linux.seccomp.architectures", "'%.64s' is not known",
                                 s->architectures.items[i]);
    return 0;
}

static int check_linux(struct oci_reader *r, const struct oci_linux *l)
{
    static const char *const propagations[] = {"shared",     "rshared",     "slave",
                                               "rslave",     "private",     "rprivate",
                                               "unbindable", "runbindable", ""};
    int ret = check_masked(r, l);

    if (ret == 0)
        ret = check_devices(r, l);
    if (ret == 0)
        ret = check_seccomp(r, &l->seccomp);
    if (ret == 0 && l->rootfs_propagation &&
        !among(l->rootfs_propagation, propagations, ARRAY_SIZE(propagations)))
        ret = oci_read_fail(r, "linux.rootfsPropagation", "'%.32s' is not known",
                            l->rootfs_propagation);
    if (ret == 0 && l->personality.domain && strcmp(l->personality.domain, "LINUX") != 0)
        ret = oci_read_fail(r, "linux.personality.domain", "'%.32s' is not supported",
                            l->personality.domain);
    return ret;
}

static int check(struct oci_reader *r, struct oci_spec *spec)
{
    int ret;

    if (strncmp(spec->version, "1.", 2) != 0)
        return oci_read_fail(r, "ociVersion", "'%.32s' is not supported (1.x is)", spec->version);
    ret = check_path(r, "root.path", spec->root.path, false);
    if (ret == 0 && spec->has_process)
        ret = check_process(r, "process.", &spec->process);
    if (ret == 0)
        ret = check_mounts(r, spec);
    if (ret == 0)
        ret = sort_namespaces(r, spec);
    if (ret == 0)
        ret = check_annotations(r, spec);
    if (ret == 0 && oci_namespace(spec, NS_USER))
        ret = oci_read_fail(r, "linux.namespaces", "user namespaces are not supported");
    if (ret == 0)
        ret = check_linux(r, &spec->linux_);
    if (ret == 0)
        ret = hooks_check(spec->hooks, r->err);
    if (ret == 0 && spec->hostname && strlen(spec->hostname) > 64)
        ret = oci_read_fail(r, "hostname", "is longer than 64 bytes");
    if (ret == 0 && spec->domainname && strlen(spec->domainname) > 64)
        ret = oci_read_fail(r, "domainname", "is longer than 64 bytes");
    return ret;
}

int oci_spec_from_json(json_t *json, const char *file, struct oci_spec *ret, struct error *err)
{
    struct oci_reader r = {.file = file, .err = err};
    int code;

    *ret = (struct oci_spec){.json = json};
    code = oci_read_fields(&r, json, oci_spec_fields, ret);
    if (code == 0)
        code = check(&r, ret);
    if (code < 0)
        oci_spec_free(ret);
    return code;
}

int oci_spec_parse(const char *text, size_t size, const char *file, struct oci_spec *ret,
                   struct error *err)
{
    json_error_t je;
    json_t *json = oci_json_load(text, size, &je);

    *ret = (struct oci_spec){0};
    if (!json)
        return error_set(err, -EINVAL, "%s: line %d, column %d: %s", file, je.line, je.column,
                         je.text);
    return oci_spec_from_json(json, file, ret, err);
}

int oci_spec_load(const char *bundle, struct oci_spec *ret, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX];
    size_t size;
    int r;

    *ret = (struct oci_spec){0};
    if (snprintf(path, sizeof(path), "%s/config.json", bundle) >= (int)sizeof(path))
        return error_set(err, -ENAMETOOLONG, "bundle '%.64s...': path is too long", bundle);
    r = file_read_all(AT_FDCWD, path, OCI_CONFIG_MAX, &text, &size, err);
    return r < 0 ? r : oci_spec_parse(text, size, "config.json", ret, err);
}

void oci_spec_free(struct oci_spec *spec)
{
    oci_fields_free(oci_spec_fields, spec);
    json_decref(spec->json);
    *spec = (struct oci_spec){0};
}

int oci_process_read(json_t *json, const char *file, struct oci_process *ret, struct error *err)
{
    struct oci_reader r = {.file = file, .err = err};
    int code;

    *ret = (struct oci_process){0};
    code = oci_read_fields(&r, json, oci_process_fields, ret);
    if (code == 0)
        code = check_process(&r, "", ret);
    if (code < 0)
        oci_process_free(ret);
    return code;
}

void oci_process_free(struct oci_process *p)
{
    oci_fields_free(oci_process_fields, p);
}

int oci_resources_read(json_t *json, const char *file, struct oci_resources *ret, struct error *err)
{
    struct oci_reader r = {.file = file, .err = err};
    int code;

    *ret = (struct oci_resources){0};
    code = oci_read_fields(&r, json, oci_resources_fields, ret);
    if (code < 0)
        oci_resources_free(ret);
    return code;
}

void oci_resources_free(struct oci_resources *res)
{
    oci_fields_free(oci_resources_fields, res);
}

bool oci_spec_has_capability(const struct oci_spec *spec, const char *name)
{
    const struct oci_strings *set = &spec->process.capabilities.bounding;

    for (unsigned i = 0; i < set->count; i++)
        if (strcasecmp(set->items[i], name) == 0)
            return true;
    return false;
}

const char *oci_annotation(const struct oci_spec *spec, const char *key)
{
    return json_string_value(json_object_get(spec->annotations, key));
}

/* containerd's names, then CRI-O's. */
static const char *const cri_names[][2] = {
    {"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
    {"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},
};

/* Index in cri_names of what says that this container joins a sandbox, or -1. */
static int joining(const struct oci_spec *spec)
{
    for (size_t i = 0; i < ARRAY_SIZE(cri_names); i++) {
        const char *type = oci_annotation(spec, cri_names[i][0]);

        if (type && strcmp(type, "container") == 0)
            return (int)i;
    }
    return -1;
}

const char *oci_sandbox_id(const struct oci_spec *spec)
{
    int i = joining(spec);

    return i < 0 ? NULL : oci_annotation(spec, cri_names[i][1]);
}

const struct oci_namespace *oci_namespace(const struct oci_spec *spec, enum oci_ns ns)
{
    const struct oci_namespace *list = spec->linux_.namespaces.items;

    return spec->ns[ns] < 0 ? NULL : &list[spec->ns[ns]];
}

bool oci_mount_has(const struct oci_mount *m, const char *option)
{
    for (unsigned i = 0; i < m->options.count; i++)
        if (strcmp(m->options.items[i], option) == 0)
            return true;
    return false;
}

int oci_id_check(const char *id, struct error *err)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.");

    if (!*id || id[n] || n > OCI_ID_MAX || id[0] == '.')
        return error_set(err, -EINVAL,
                         "invalid container id '%.150s': letters, digits, \"_+-.\" only, no dot in "
                         "front, at most %d",
                         id, OCI_ID_MAX);
    return 0;
}
