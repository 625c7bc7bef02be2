/*
 * From a "create" request to a container whose first process stands before its first instruction:
 * zygote, gofer, namespaces, mount tree, descriptors, credentials, image. A failure undoes all of
 * it.
 */
#include "common/log.h"
#include "runtime/gofer/client.h"
#include "runtime/platform/platform.h"
#include "runtime/sentry/container_spec.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/control/first_task.h"
#include "runtime/sentry/control/seccomp_profile.h"
#include "runtime/sentry/fs/proc/proc.h"
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/task/container.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FD_GOFER, FD_ZYGOTE, FD_STDIN };

static void container_free(struct container *c)
{
    if (c->plat)
        plat_free(c->plat);
    if (c->mntns && !c->gone)
        mntns_put(c->mntns);
    gofer_put(c->gofer);
    file_put(c->stdio);
    process_put(c->init);
    pidns_put(c->pidns);
    seccomp_put(c->seccomp);
    free(c->id);
    free(c);
}

struct container *container_get(struct container *c)
{
    ref_get(&c->ref);
    return c;
}

void container_put(struct container *c)
{
    if (c && ref_put(&c->ref))
        container_free(c);
}

struct container *sandbox_container_find(const char *id)
{
    struct container *c;

    list_for_each_entry (c, &g_sentry.containers, link)
        if (strcmp(c->id, id) == 0)
            return c;
    return NULL;
}

struct container *sandbox_container_get(const char *id)
{
    struct container *c;

    mutex_lock(&g_sentry.lock);
    c = id ? sandbox_container_find(id) : NULL;
    if (c)
        (void)container_get(c);
    mutex_unlock(&g_sentry.lock);
    return c;
}

static void set_limit(const json_t *group, const char *name, uint64_t *value)
{
    const json_t *v = json_object_get(group, name);

    /* Absent: unchanged. -1: none. */
    if (json_is_integer(v))
        __atomic_store_n(value, json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0,
                         __ATOMIC_RELAXED);
}

void sandbox_container_set_limits(struct container *c, const json_t *res)
{
    const json_t *cpu = json_object_get(res, "cpu"), *quota_json = json_object_get(cpu, "quota");
    int64_t quota = json_integer_value(quota_json), n = g_sentry.host_cpus;
    int64_t period = json_integer_value(json_object_get(cpu, "period"));

    set_limit(json_object_get(res, "memory"), "limit", &c->memory_limit);
    set_limit(json_object_get(res, "pids"), "limit", &c->pids_limit);
    if (c->cpus && !quota_json)
        return;
    period = period > 0 ? period : 100000;
    if (quota > 0)
        n = MAX(MIN((quota + period - 1) / period, n), 1);
    c->cpus = (unsigned)n;
}

static void set_domainname(const char *name)
{
    mutex_lock(&g_sentry.uts->lock);
    (void)snprintf(g_sentry.uts->domainname, sizeof(g_sentry.uts->domainname), "%s", name);
    mutex_unlock(&g_sentry.uts->lock);
}

static void set_hostname(const json_t *spec)
{
    const char *name = json_string_value(json_object_get(spec, "hostname"));
    const char *domain = json_string_value(json_object_get(spec, "domainname"));

    mutex_lock(&g_sentry.uts->lock);
    if (name)
        (void)snprintf(g_sentry.uts->nodename, sizeof(g_sentry.uts->nodename), "%s", name);
    mutex_unlock(&g_sentry.uts->lock);
    if (domain)
        set_domainname(domain);
}

/* net.* is in force already, by the host's network namespace: here it is only shown. */
static int set_sysctls(const json_t *spec, struct error *err)
{
    json_t *list = json_object_get(json_object_get(spec, "linux"), "sysctl"), *value;
    const char *key;

    json_object_foreach(list, key, value)
    {
        const char *text = json_string_value(value);
        bool net = strncmp(key, "net.", 4) == 0 || strncmp(key, "net/", 4) == 0;
        int r = sysctl_set(key, text ? text : "");

        if (r < 0 && !net && strcmp(key, "kernel.domainname") == 0) {
            set_domainname(text);
        } else if (r < 0 && !net) {
            return error_set(err, r, "sysctl \"%s\": cannot be set to '%.64s'", key, text);
        } else if (!net) {
            log_warn("sysctl \"%s\" is shown to programs, but its limit is the sandbox's own", key);
        }
    }
    return 0;
}

static int connect_helpers(struct container *c, struct control_request *r, struct error *err)
{
    int e;

    if (r->n_fds < FD_STDIN + 3)
        return error_set(err, -EINVAL, "create: %u descriptors instead of 5", r->n_fds);
    c->gofer = gofer_new(r->fds[FD_GOFER]);
    r->fds[FD_GOFER] = -1;
    if (!c->gofer)
        return error_errno(err, -ENOMEM, "gofer client");
    if (c->pause)
        return 0;
    e = plat_new(r->fds[FD_ZYGOTE], g_sentry.boot->data_plane_direct, &c->plat);
    r->fds[FD_ZYGOTE] = -1;
    return e < 0 ? error_errno(err, e, "platform") : 0;
}

/* A fresh one, or that of another container of the pod. */
static struct pidns *choose_pidns(const struct container *c, const char *of, struct error *err)
{
    struct container *other = NULL;
    struct pidns *ns = NULL;

    if (of) {
        mutex_lock(&g_sentry.lock);
        other = sandbox_container_find(of);
        if (other)
            ns = pidns_get(other->pidns);
        mutex_unlock(&g_sentry.lock);
        if (!ns)
            (void)error_set(err, -ENOENT, "pid namespace: container '%s' does not exist", of);
        return ns;
    }
    ns = pidns_new(g_sentry.pidns);
    if (!ns)
        (void)error_errno(err, -ENOMEM, "pid namespace");
    else if (c->pause) {
        ns->no_init = true;
        ns->last = 1;
    }
    return ns;
}

static int fill(struct container *c, struct control_request *r, struct error *err)
{
    const json_t *spec = json_object_get(r->json, "spec");
    struct tree_spec tree;
    struct process_spec p;
    const char *failed = NULL;
    int e;

    sandbox_container_set_limits(c, json_object_get(json_object_get(spec, "linux"), "resources"));
    c->foreground = json_is_true(json_object_get(r->json, "foreground"));
    c->sandbox = json_is_true(json_object_get(r->json, "sandbox"));
    set_hostname(spec);
    if (c->sandbox && set_sysctls(spec, err) < 0)
        return err->code;
    e = process_spec_parse(json_object_get(spec, "process"), &p, err);
    if (e < 0)
        return e;
    c->pause = c->sandbox && strcmp(p.argv.data, "/pause") == 0;
    if (!c->pause)
        file_limit_raise(c->memory_limit);
    if (!c->pause)
        tmpfs_set_default_limit(
            (c->memory_limit ? MIN(c->memory_limit, g_sentry.host_memory) : g_sentry.host_memory) /
            2);
    c->pidns = choose_pidns(c, json_string_value(json_object_get(r->json, "pidNamespaceOf")), err);
    p.devices_of = spec;
    e = c->pidns ? connect_helpers(c, r, err) : err->code;
    if (e == 0 && !c->pause)
        e = seccomp_profile_compile(json_object_get(json_object_get(spec, "linux"), "seccomp"),
                                    &c->seccomp, err);
    if (e == 0 && !c->pause) {
        e = tree_spec_parse(r->json, &tree, err);
        if (e == 0) {
            tree.gofer = c->gofer;
            e = vfs_build_tree(NULL, &tree, &c->mntns, &failed);
            if (e < 0)
                (void)error_errno(err, e, "config.json: mounts: '%s' (its type and options)",
                                  failed ? failed : "rootfs");
            tree_spec_fini(&tree);
        }
        if (e == 0)
            e = first_task_new(c, &p, r->fds + FD_STDIN,
                               json_is_true(json_object_get(r->json, "tty")), &c->first, &c->stdio,
                               err);
        if (e == 0)
            c->init = process_get(c->first->process);
    }
    process_spec_fini(&p);
    return e;
}

int sandbox_container_create(struct control_request *r, struct error *err)
{
    const char *id = json_string_value(json_object_get(r->json, "id"));
    struct container *c;
    int e;

    if (!id || !*id || strlen(id) > 1024)
        return error_set(err, -EINVAL, "create: no id");
    mutex_lock(&g_sentry.lock);
    c = sandbox_container_find(id);
    mutex_unlock(&g_sentry.lock);
    if (c)
        return error_set(err, -EEXIST, "container '%s' already exists", id);
    c = calloc(1, sizeof(*c));
    if (!c)
        return error_errno(err, -ENOMEM, "create");
    ref_init(&c->ref);
    list_init(&c->execs);
    list_init(&c->link);
    c->id = strdup(id);
    e = c->id ? fill(c, r, err) : -ENOMEM;
    if (e < 0) {
        container_put(c);
        return e;
    }
    mutex_lock(&g_sentry.lock);
    list_append(&g_sentry.containers, &c->link);
    mutex_unlock(&g_sentry.lock);
    return 0;
}
