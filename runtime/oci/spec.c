#include "runtime/oci/spec.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/oci/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ARGS_MAX = 16384,
    MOUNTS_MAX = 1000,
    OPTIONS_MAX = 64,
    NAMESPACES_MAX = 32,
    PATHS_MAX = 1024,
};
#define ID_MAX INT64_C(4294967294) /* (uid_t)-1 means "unchanged" */

#define AT(type, member) .offset = offsetof(type, member)
#define SUB(table)       .fields = (table)
#define ANY              .min = INT64_MIN, .max = INT64_MAX
#define END                                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

static const struct oci_field user_fields[] = {
    {"uid", OCI_INT, AT(struct oci_user, uid), .max = ID_MAX},
    {"gid", OCI_INT, AT(struct oci_user, gid), .max = ID_MAX},
    END,
};

#define CONSOLE_AT(m)                                                                              \
    .offset =                                                                                      \
        offsetof(struct oci_process, console_size.m) - offsetof(struct oci_process, console_size)
static const struct oci_field console_fields[] = {
    {"height", OCI_INT, CONSOLE_AT(height), .max = UINT16_MAX},
    {"width", OCI_INT, CONSOLE_AT(width), .max = UINT16_MAX},
    END,
};

static const struct oci_field process_fields[] = {
    {"consoleSize", OCI_OBJECT, AT(struct oci_process, console_size), SUB(console_fields)},
    {"terminal", OCI_BOOL, AT(struct oci_process, terminal)},
    {"user", OCI_OBJECT, AT(struct oci_process, user), SUB(user_fields)},
    {"args", OCI_STRINGS, AT(struct oci_process, args), .max = ARGS_MAX, .required = true},
    {"env", OCI_STRINGS, AT(struct oci_process, env), .max = ARGS_MAX},
    {"cwd", OCI_STRING, AT(struct oci_process, cwd), .required = true},
    {"noNewPrivileges", OCI_BOOL, AT(struct oci_process, no_new_privs)},
    {"capabilities", OCI_JSON, AT(struct oci_process, capabilities)},
    {"oomScoreAdj", OCI_INT, AT(struct oci_process, oom_score_adj), .min = -1000, .max = 1000,
     .present = offsetof(struct oci_process, has_oom_score_adj)},
    END,
};

static const struct oci_field root_fields[] = {
    {"path", OCI_STRING, AT(struct oci_root, path), .required = true},
    {"readonly", OCI_BOOL, AT(struct oci_root, readonly)},
    END,
};

static const struct oci_field mapping_fields[] = {END};

static const struct oci_field mount_fields[] = {
    {"destination", OCI_STRING, AT(struct oci_mount, destination), .required = true},
    {"type", OCI_STRING, AT(struct oci_mount, type)},
    {"source", OCI_STRING, AT(struct oci_mount, source)},
    {"options", OCI_STRINGS, AT(struct oci_mount, options), .max = OPTIONS_MAX},
    {"uidMappings", OCI_ARRAY, AT(struct oci_mount, uid_mappings), .max = PATHS_MAX,
     SUB(mapping_fields), .size = 1},
    {"gidMappings", OCI_ARRAY, AT(struct oci_mount, gid_mappings), .max = PATHS_MAX,
     SUB(mapping_fields), .size = 1},
    END,
};

static const struct oci_field namespace_fields[] = {
    {"type", OCI_STRING, AT(struct oci_namespace, type), .required = true},
    {"path", OCI_STRING, AT(struct oci_namespace, path)},
    END,
};

#define OPTIONAL_INT(type, name, m)                                                                \
    {                                                                                              \
        name, OCI_INT, AT(type, m), ANY, .present = offsetof(type, has_##m)                        \
    }
static const struct oci_field memory_fields[] = {
    OPTIONAL_INT(struct oci_memory, "limit", limit),
    OPTIONAL_INT(struct oci_memory, "swap", swap),
    OPTIONAL_INT(struct oci_memory, "reservation", reservation),
    END,
};

static const struct oci_field cpu_fields[] = {
    OPTIONAL_INT(struct oci_cpu, "shares", shares), OPTIONAL_INT(struct oci_cpu, "quota", quota),
    OPTIONAL_INT(struct oci_cpu, "period", period), {"cpus", OCI_STRING, AT(struct oci_cpu, cpus)},
    {"mems", OCI_STRING, AT(struct oci_cpu, mems)}, END,
};

static const struct oci_field pids_fields[] = {
    {"limit", OCI_INT, .offset = 0, ANY,
     .present =
         offsetof(struct oci_resources, pids.has_limit) - offsetof(struct oci_resources, pids)},
    END,
};

static const struct oci_field resources_fields[] = {
    {"memory", OCI_OBJECT, AT(struct oci_resources, memory), SUB(memory_fields)},
    {"cpu", OCI_OBJECT, AT(struct oci_resources, cpu), SUB(cpu_fields)},
    {"pids", OCI_OBJECT, AT(struct oci_resources, pids), SUB(pids_fields)},
    {"unified", OCI_JSON, AT(struct oci_resources, unified)},
    END,
};

static const struct oci_field linux_fields[] = {
    {"namespaces", OCI_ARRAY, AT(struct oci_linux, namespaces), .max = NAMESPACES_MAX,
     SUB(namespace_fields), .size = sizeof(struct oci_namespace)},
    {"cgroupsPath", OCI_STRING, AT(struct oci_linux, cgroups_path)},
    {"rootfsPropagation", OCI_STRING, AT(struct oci_linux, rootfs_propagation)},
    {"resources", OCI_OBJECT, AT(struct oci_linux, resources), SUB(resources_fields)},
    {"maskedPaths", OCI_STRINGS, AT(struct oci_linux, masked_paths), .max = PATHS_MAX},
    {"readonlyPaths", OCI_STRINGS, AT(struct oci_linux, readonly_paths), .max = PATHS_MAX},
    {"sysctl", OCI_JSON, AT(struct oci_linux, sysctl)},
    {"seccomp", OCI_JSON, AT(struct oci_linux, seccomp)},
    END,
};

static const struct oci_field spec_fields[] = {
    {"ociVersion", OCI_STRING, AT(struct oci_spec, version), .required = true},
    {"hostname", OCI_STRING, AT(struct oci_spec, hostname)},
    {"process", OCI_OBJECT, AT(struct oci_spec, process), SUB(process_fields),
     .present = offsetof(struct oci_spec, has_process)},
    {"root", OCI_OBJECT, AT(struct oci_spec, root), SUB(root_fields), .required = true},
    {"mounts", OCI_ARRAY, AT(struct oci_spec, mounts), .max = MOUNTS_MAX, SUB(mount_fields),
     .size = sizeof(struct oci_mount)},
    {"linux", OCI_OBJECT, AT(struct oci_spec, linux_), SUB(linux_fields),
     .present = offsetof(struct oci_spec, linux_.present)},
    {"annotations", OCI_JSON, AT(struct oci_spec, annotations)},
    {"hooks", OCI_JSON, AT(struct oci_spec, hooks)},
    END,
};

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
        ret = hooks_check(spec->hooks, r->err);
    if (ret == 0 && spec->hostname && strlen(spec->hostname) > 64)
        ret = oci_read_fail(r, "hostname", "is longer than 64 bytes");
    return ret;
}

int oci_spec_from_json(json_t *json, const char *file, struct oci_spec *ret, struct error *err)
{
    struct oci_reader r = {.file = file, .err = err};
    int code;

    *ret = (struct oci_spec){.json = json};
    code = oci_read_fields(&r, json, spec_fields, ret);
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
    oci_fields_free(spec_fields, spec);
    json_decref(spec->json);
    *spec = (struct oci_spec){0};
}

int oci_process_read(json_t *json, const char *file, struct oci_process *ret, struct error *err)
{
    struct oci_reader r = {.file = file, .err = err};
    int code;

    *ret = (struct oci_process){0};
    code = oci_read_fields(&r, json, process_fields, ret);
    if (code == 0)
        code = check_process(&r, "", ret);
    if (code < 0)
        oci_process_free(ret);
    return code;
}

void oci_process_free(struct oci_process *p)
{
    oci_fields_free(process_fields, p);
}

int oci_resources_read(json_t *json, const char *file, struct oci_resources *ret, struct error *err)
{
    struct oci_reader r = {.file = file, .err = err};

    *ret = (struct oci_resources){0};
    return oci_read_fields(&r, json, resources_fields, ret);
}

bool oci_spec_has_capability(const struct oci_spec *spec, const char *name)
{
    const json_t *set = json_object_get(spec->process.capabilities, "bounding");
    json_t *v;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)set, i, v)
    {
        if (json_is_string(v) && strcasecmp(json_string_value(v), name) == 0)
            return true;
    }
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
