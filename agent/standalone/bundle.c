#include "agent/standalone/bundle.h"

#include "agent/config.h"
#include "agent/monitor.h"
#include "agent/standalone/capabilities.h"
#include "agent/standalone/env.h"
#include "agent/standalone/files.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/rootfs.h"
#include "agent/standalone/runner.h"
#include "agent/standalone/tree.h"
#include "agent/standalone/user.h"
#include "agent/standalone/volumes.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { DELETE_TIMEOUT_S = 20 };

void runtime_prefix(const struct pod *p, const char *ret[RUNTIME_PREFIX_MAX])
{
    const struct config *c = p->runner->config;
    int n = 0;

    ret[n++] = p->sandboxed ? c->berm : c->runc;
    if (p->sandboxed) {
        ret[n++] = "--config";
        ret[n++] = p->runner->berm_config;
    }
    ret[n++] = "--root";
    ret[n++] = p->sandboxed ? c->root : c->runc_root;
    ret[n] = NULL;
}

void runtime_argv(const struct pod *p, const char *const *more, char *ret[RUNTIME_ARGS_MAX])
{
    const char *prefix[RUNTIME_PREFIX_MAX];
    int n = 0;

    runtime_prefix(p, prefix);
    for (int i = 0; prefix[i]; i++)
        ret[n++] = (char *)(uintptr_t)prefix[i];
    for (int i = 0; more[i] && n < RUNTIME_ARGS_MAX - 1; i++)
        ret[n++] = (char *)(uintptr_t)more[i];
    ret[n] = NULL;
}

static const char standard_mounts[] =
    "[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
    "\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":"
    "[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
    "{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
    "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}]";

static const char masked_paths[] =
    "[\"/proc/asound\",\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\","
    "\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/sched_debug\",\"/proc/scsi\","
    "\"/sys/firmware\",\"/sys/devices/virtual/powercap\"]";
static const char readonly_paths[] =
    "[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]";

static json_t *literal(const char *text)
{
    return json_loads(text, 0, NULL);
}

static void add_bind(json_t *mounts, const char *destination, const char *source, bool read_only)
{
    (void)json_array_append_new(mounts,
                                json_pack("{s:s, s:s, s:s, s:[s,s,s]}", "destination", destination,
                                          "type", "bind", "source", source, "options", "rbind",
                                          "rprivate", read_only ? "ro" : "rw"));
}

static bool root_is_readonly(const struct container *c)
{
    return get_bool(c->spec, "securityContext.readOnlyRootFilesystem", false);
}

static json_t *make_mounts(const struct container *c)
{
    static const char *const etc[] = {"hosts", "hostname", "resolv.conf"};
    json_t *mounts = literal(standard_mounts), *v;
    char source[PATH_MAX], destination[PATH_MAX];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(etc); i++) {
        (void)snprintf(source, sizeof(source), "%s/etc/%s", c->pod->dir, etc[i]);
        (void)snprintf(destination, sizeof(destination), "/etc/%s", etc[i]);
        add_bind(mounts, destination, source, !c->spec || root_is_readonly(c));
    }
    (void)snprintf(source, sizeof(source), "%s/shm", c->pod->dir);
    add_bind(mounts, "/dev/shm", source, false);
    json_array_foreach(get(c->spec, "volumeMounts"), i, v)
    {
        const json_t *volume = podspec_volume(c->pod->manifest, get_string(v, "name", ""));

        volume_path(c->pod, volume, source, sizeof(source));
        add_bind(mounts, get_string(v, "mountPath", ""), source,
                 get_bool(v, "readOnly", false) || get(volume, "configMap") ||
                     get(volume, "secret"));
    }
    return mounts;
}

static json_t *make_annotations(const struct container *c)
{
    const struct pod *p = c->pod;
    const struct container *sandbox = pod_sandbox((struct pod *)(uintptr_t)p);
    json_t *a = json_object();
    const char *key;
    json_t *v;

    /* Those of the pod itself that CRI passes on: the sandbox's own. */
    json_object_foreach(get(p->manifest, "metadata.annotations"), key,
                        v) if (strncmp(key, "dev.gvisor.", 11) == 0 ||
                               strncmp(key, "dev.berm.", 9) == 0)(void) json_object_set(a, key, v);
    (void)json_object_set_new(a, "io.kubernetes.cri.container-type",
                              json_string(c->spec ? "container" : "sandbox"));
    (void)json_object_set_new(a, "io.kubernetes.cri.sandbox-id",
                              json_string(sandbox ? sandbox->id : p->uid));
    (void)json_object_set_new(a, "io.kubernetes.cri.sandbox-name", json_string(p->name));
    (void)json_object_set_new(a, "io.kubernetes.cri.sandbox-namespace", json_string(p->ns));
    (void)json_object_set_new(a, "io.kubernetes.cri.sandbox-uid", json_string(p->uid));
    if (c->spec) {
        (void)json_object_set_new(a, "io.kubernetes.cri.container-name", json_string(c->name));
        (void)json_object_set_new(a, "io.kubernetes.cri.image-name",
                                  json_string(get_string(c->spec, "image", "")));
    } else {
        (void)json_object_set_new(a, "io.kubernetes.cri.sandbox-log-directory",
                                  json_string(p->log_dir));
        (void)json_object_del(a, "dev.berm.internal.pause");
        (void)json_object_set_new(a, "dev.berm.internal.pause", json_string("true"));
    }
    return a;
}

static int64_t limit_of(const struct container *c, const char *what)
{
    const json_t *v = json_object_get(get(c->spec, "resources.limits"), what);
    int64_t milli = 0;

    if (json_is_number(v))
        return (int64_t)(json_number_value(v) * 1000);
    return json_is_string(v) && quantity_milli(json_string_value(v), &milli) ? milli : 0;
}

static json_t *make_resources(const struct container *c)
{
    json_t *r = json_pack("{s:[{s:b, s:s}]}", "devices", "allow", 0, "access", "rwm");
    int64_t cpu = limit_of(c, "cpu"), memory = limit_of(c, "memory") / 1000;

    if (cpu > 0)
        (void)json_object_set_new(r, "cpu",
                                  json_pack("{s:I, s:I}", "quota", (json_int_t)MAX(cpu * 100, 1000),
                                            "period", (json_int_t)100000));
    else if (!c->spec)
        (void)json_object_set_new(r, "cpu", json_pack("{s:i}", "shares", 2));
    if (memory > 0)
        (void)json_object_set_new(r, "memory", json_pack("{s:I}", "limit", (json_int_t)memory));
    return r;
}

static json_t *make_linux(const struct container *c)
{
    const struct pod *p = c->pod;
    bool privileged = get_bool(c->spec, "securityContext.privileged", false);
    json_t *l = json_pack("{s:[{s:s}, {s:s}, {s:s}, {s:s}, {s:s, s:s}], s:o}", "namespaces", "type",
                          "pid", "type", "ipc", "type", "uts", "type", "mount", "type", "network",
                          "path", p->netns, "resources", make_resources(c));

    (void)json_object_set_new(l, "cgroupsPath", json_sprintf("/berm/pod%s/%s", p->uid, c->id));
    if (!privileged) {
        (void)json_object_set_new(l, "maskedPaths", literal(masked_paths));
        (void)json_object_set_new(l, "readonlyPaths", literal(readonly_paths));
    }
    return l;
}

static int append_expanded(json_t *args, const json_t *list, const json_t *env)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i,
                       v) if (json_is_string(v) &&
                              json_array_append_new(args, env_expand(json_string_value(v), env)) <
                                  0) return -ENOMEM;
    return 0;
}

/* command replaces Entrypoint and, unless args are given, Cmd too. */
static int make_args(const struct container *c, const struct image *image, const json_t *env,
                     json_t **ret, struct error *err)
{
    const json_t *command = get(c->spec, "command"), *args = get(c->spec, "args");
    json_t *all = json_array();
    int r;

    r = append_expanded(all, command ? command : get(image->config, "Entrypoint"), env);
    if (r == 0)
        r = append_expanded(all, args || command ? args : get(image->config, "Cmd"), env);
    if (r == 0 && json_array_size(all) == 0)
        r = error_set(err, -EINVAL, "neither the manifest nor the image says what to run");
    if (r < 0) {
        json_decref(all);
        return r == -ENOMEM ? error_errno(err, r, "arguments") : r;
    }
    *ret = all;
    return 0;
}

static int make_process(const struct container *c, const struct image *image, json_t **ret,
                        struct error *err)
{
    json_t *env = NULL, *args = NULL, *user = NULL, *capabilities = NULL;
    const char *cwd =
        get_string(c->spec, "workingDir", get_string(image->config, "WorkingDir", ""));
    int r = env_make(c, image, &env, err);

    if (r == 0)
        r = make_args(c, image, env, &args, err);
    if (r == 0)
        r = user_make(c, image, &user, err);
    if (r == 0)
        r = capabilities_make(get(c->spec, "securityContext"), &capabilities, err);
    if (r < 0) {
        json_decref(env);
        json_decref(args);
        json_decref(user);
        return r;
    }
    *ret =
        json_pack("{s:o, s:o, s:o, s:s, s:o, s:b}", "user", user, "args", args, "env", env, "cwd",
                  *cwd == '/' ? cwd : "/", "capabilities", capabilities, "noNewPrivileges",
                  !get_bool(c->spec, "securityContext.allowPrivilegeEscalation", true));
    return *ret ? 0 : error_errno(err, -ENOMEM, "process");
}

/* The sandbox holds no program: berm pauses by itself for this shape (see the annotation). */
static json_t *pause_process(void)
{
    return json_pack("{s:{s:i, s:i}, s:[s], s:[s], s:s, s:b}", "user", "uid", 65535, "gid", 65535,
                     "args", "/pause", "env", "PATH=/", "cwd", "/", "noNewPrivileges", 1);
}

static int write_json(const char *dir, const char *name, json_t *json, struct error *err)
{
    CLEANUP(free_ptr) char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return text ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err)
                : error_errno(err, -ENOMEM, "write '%s'", name);
}

static int write_config(const struct container *c, const struct image *image, struct error *err)
{
    json_t *process = NULL, *config;
    int r = 0;

    if (c->spec)
        r = make_process(c, image, &process, err);
    else
        process = pause_process();
    if (r < 0)
        return r;
    config = json_pack("{s:s, s:o, s:{s:s, s:b}, s:o, s:o, s:o}", "ociVersion", "1.0.2", "process",
                       process, "root", "path", "rootfs", "readonly",
                       !c->spec || root_is_readonly(c), "mounts", make_mounts(c), "annotations",
                       make_annotations(c), "linux", make_linux(c));
    if (config && (!c->spec || !c->pod->sandboxed))
        (void)json_object_set_new(config, "hostname", json_string(pod_hostname(c->pod)));
    r = write_json(c->bundle, "config.json", config, err);
    json_decref(config);
    return r;
}

static int write_monitor(const struct container *c, struct error *err)
{
    const char *prefix[RUNTIME_PREFIX_MAX];
    json_t *runtime = json_array(), *m;
    char dir[PATH_MAX];
    int r;

    runtime_prefix(c->pod, prefix);
    for (int i = 0; prefix[i]; i++)
        (void)json_array_append_new(runtime, json_string(prefix[i]));
    (void)snprintf(dir, sizeof(dir), "%s/%s", c->pod->log_dir, c->name);
    r = mkdir_parents(dir, 0755);
    if (r < 0)
        return error_errno(err, r, "create '%s'", dir);
    m = json_pack("{s:o, s:s, s:s, s:o, s:I}", "runtime", runtime, "id", c->id, "bundle", c->bundle,
                  "log", json_sprintf("%s/%u.log", dir, c->attempt), "logMax",
                  (json_int_t)c->pod->runner->config->log_max);
    r = write_json(c->bundle, MONITOR_FILE, m, err);
    json_decref(m);
    return r;
}

int bundle_make(const struct container *c, struct error *err)
{
    struct image image = {0};
    char path[PATH_MAX];
    int r = mkdir_parents(c->bundle, 0711);

    if (r < 0)
        return error_errno(err, r, "create '%s'", c->bundle);
    if (c->spec) {
        (void)snprintf(path, sizeof(path), "%s/images", c->pod->runner->config->state_dir);
        r = image_resolve(get_string(c->spec, "image", ""), path, &image, err);
        if (r == 0)
            r = rootfs_mount(&image, c->bundle, err);
    } else {
        (void)snprintf(path, sizeof(path), "%s/rootfs", c->bundle);
        r = mkdir(path, 0755) < 0 && errno != EEXIST ? error_errno(err, -errno, "create '%s'", path)
                                                     : 0;
    }
    if (r == 0)
        r = write_config(c, &image, err);
    if (r == 0)
        r = write_monitor(c, err);
    image_fini(&image);
    return r;
}

static void remove_cgroups(const struct container *c)
{
    CLEANUP(close_dir) DIR *dir = opendir("/sys/fs/cgroup");
    struct dirent *d;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/berm/pod%s/%s", c->pod->uid, c->id);
    (void)rmdir(path);
    while (dir && (d = readdir(dir))) {
        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/berm/pod%s/%s", d->d_name,
                       c->pod->uid, c->id);
        (void)rmdir(path);
    }
}

int bundle_clean(const struct container *c, struct error *err)
{
    char *argv[RUNTIME_ARGS_MAX], path[PATH_MAX];
    struct error ignored = ERROR_INIT;
    int r, r2;

    if (access(c->bundle, F_OK) < 0)
        return 0;
    runtime_argv(c->pod, (const char *const[]){"delete", "--force", c->id, NULL}, argv);
    (void)worker_run(argv, DELETE_TIMEOUT_S, &ignored);
    remove_cgroups(c);
    rootfs_unmount(c->bundle);
    (void)snprintf(path, sizeof(path), "%s/rootfs", c->bundle);
    r = tree_remove(AT_FDCWD, path, err);
    (void)snprintf(path, sizeof(path), "%s/rw", c->bundle);
    r2 = tree_remove(AT_FDCWD, path, err);
    return r < 0 ? r : r2;
}
