#include "agent/standalone/runner.h"

#include "agent/config.h"
#include "agent/standalone/files.h"
#include "agent/standalone/netns.h"
#include "agent/standalone/pod_internal.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/tree.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

static int make_dirs(const struct config *c, struct error *err)
{
    const char *const dirs[][2] = {{c->state_dir, "pods"}, {c->state_dir, "images"},
                                   {c->state_dir, "logs"}, {c->run_dir, "netns"},
                                   {c->root, ""},          {c->runc_root, ""}};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        int r;

        (void)snprintf(path, sizeof(path), "%s/%s", dirs[i][0], dirs[i][1]);
        r = mkdir_parents(path, 0700);
        if (r < 0)
            return error_errno(err, r, "create '%s'", path);
    }
    return 0;
}

/* The runtime finds this agent by a configuration of its own, so that several can run. */
static int write_berm_config(struct runner *r, struct error *err)
{
    json_t *json =
        json_pack("{s:o}", "agent-socket", json_sprintf("%s/agent.sock", r->config->run_dir));
    CLEANUP(free_ptr) char *text = json ? json_dumps(json, 0) : NULL;

    json_decref(json);
    if (snprintf(r->berm_config, sizeof(r->berm_config), "%s/runtime.json", r->config->run_dir) >=
            (int)sizeof(r->berm_config) ||
        !text)
        return error_set(err, -ENAMETOOLONG, "--run-dir is too long");
    return file_write_atomic(AT_FDCWD, r->berm_config, text, strlen(text), 0600, err);
}

int runner_init(struct runner *r, struct loop *l, const struct config *c, struct objects *o,
                const struct runner_hooks *hooks, struct error *err)
{
    int rc;

    *r = (struct runner){.loop = l, .config = c, .objects = o, .hooks = *hooks};
    list_init(&r->pods);
    rc = make_dirs(c, err);
    if (rc == 0)
        rc = write_berm_config(r, err);
    return rc < 0 ? rc : network_init(&r->network, c, err);
}

void runner_fini(struct runner *r)
{
    struct pod *p, *next;

    loop_timer_cancel(&r->reconcile);
    list_for_each_entry_safe (p, next, &r->pods, link) {
        runner_pod_free(p);
    }
    network_fini(&r->network);
}

struct pod *runner_find(struct runner *r, const char *ns, const char *name)
{
    struct pod *p;

    list_for_each_entry (p, &r->pods, link)
        if (strcmp(p->name, name) == 0 && strcmp(p->ns, ns) == 0)
            return p;
    return NULL;
}

struct pod *runner_find_uid(struct runner *r, const char *uid)
{
    struct pod *p;

    list_for_each_entry (p, &r->pods, link)
        if (strcmp(p->uid, uid) == 0)
            return p;
    return NULL;
}

static void start_missing(void *ctx)
{
    struct runner *r = ctx;
    struct hash_node *n = NULL;

    while ((n = hashmap_next(&r->objects->map, n))) {
        const struct object *o = hash_entry(n, struct object, node);
        struct pod *p;

        if (o->kind != OBJECT_POD || runner_find(r, o->ns, o->name))
            continue;
        p = runner_pod_new(r, o->ns, o->name, o->json, NULL);
        if (!p) {
            log_error("pod %s/%s: out of memory", o->ns, o->name);
            return;
        }
        p->seen = true;
        runner_pod_start(p);
    }
}

void runner_reconcile(struct runner *r)
{
    loop_timer_set(r->loop, &r->reconcile, 0, start_missing, r);
}

/* Labels and annotations change in place; spec stays the one that runs, pointers into it too. */
static int update_metadata(struct pod *p, const json_t *json, struct schema_error *e)
{
    struct error err = ERROR_INIT;
    json_t *manifest = json_copy((json_t *)(uintptr_t)json);
    int r;

    if (!manifest || json_object_set(manifest, "spec", get(p->manifest, "spec")) < 0)
        return schema_fail(e, -ENOMEM, "", "out of memory");
    json_decref(p->manifest);
    p->manifest = manifest;
    r = pod_update_policy(p, e);
    if (r >= 0 && runner_pod_save(p, &err) < 0)
        log_warn("pod %s/%s: %s", p->ns, p->name, err.msg);
    return r;
}

int runner_apply(void *ctx, const struct object *object, struct schema_error *e)
{
    struct runner *r = ctx;
    struct pod *p = runner_find(r, object->ns, object->name);

    if (p)
        p->seen = true;
    if (p && !p->deleted && json_equal(get(p->manifest, "spec"), get(object->json, "spec")))
        return json_equal(p->manifest, object->json) ? 0 : update_metadata(p, object->json, e);
    if (p)
        runner_pod_stop(p, true);
    runner_reconcile(r);
    return 0;
}

void runner_remove(void *ctx, const struct object *object)
{
    struct pod *p = runner_find(ctx, object->ns, object->name);

    if (p)
        runner_pod_stop(p, true);
}

/* What failed for lack of a ConfigMap or Secret need not wait out its back-off. */
static void retry(struct pod *p)
{
    struct runner *r = p->runner;

    if (p->phase == POD_BLOCKED && p->timer.link.next)
        loop_timer_set(r->loop, &p->timer, 0, p->timer.fn, p->timer.ctx);
    for (size_t i = 0; i < p->n_containers; i++) {
        struct container *c = &p->containers[i];

        if (c->phase == CONTAINER_BACKOFF && c->failed_to_prepare)
            loop_timer_set(r->loop, &c->timer, 0, c->timer.fn, c->timer.ctx);
    }
}

static void refresh_volumes(void *ctx)
{
    struct pod *p = ctx;
    struct error err = ERROR_INIT;

    if ((p->phase == POD_ACTIVE || p->phase == POD_STOPPING) && pod_files_refresh(p, &err) < 0)
        log_warn("pod %s/%s: %s", p->ns, p->name, err.msg);
}

int runner_source_changed(void *ctx, const struct object *object, struct schema_error *e)
{
    struct runner *r = ctx;
    struct pod *p;

    (void)e;
    list_for_each_entry (p, &r->pods, link) {
        if (strcmp(p->ns, object->ns) != 0)
            continue;
        retry(p);
        loop_timer_set(r->loop, &p->refresh, 0, refresh_volumes, p);
    }
    return 0;
}

/* What was half-made goes; nobody waits for it, so here and now. */
static void erase_leftover(struct runner *r, const char *uid, const char *why)
{
    char path[PATH_MAX];
    struct error err = ERROR_INIT;

    log_info("pod directory %s: removed (%s)", uid, why);
    (void)snprintf(path, sizeof(path), "%s/pods/%s", r->config->state_dir, uid);
    if (tree_remove(AT_FDCWD, path, &err) < 0)
        log_warn("%s", err.msg);
    r->count.cleaned++;
}

static void adopt_one(struct runner *r, const char *uid)
{
    struct error err = ERROR_INIT;
    struct schema_error e = {.err = ERROR_INIT};
    CLEANUP(close_fd) int ns_fd = -1;
    struct pod *p = NULL;
    bool ready = false;
    int rc = runner_pod_load(r, uid, &p, &ready, &err);

    if (rc < 0) {
        erase_leftover(r, uid, err.msg);
        return;
    }
    rc = ready ? network_check(&r->network, p->netns, p->ifname, &err)
               : error_set(&err, -EAGAIN, "its set-up was cut off");
    if (rc >= 0) {
        p->ifindex = rc;
        rc = netns_open(p->netns, &ns_fd, &err);
    }
    if (rc >= 0)
        rc = r->hooks.arm(r->hooks.ctx, p, ns_fd, &err);
    if (rc >= 0 && (rc = pod_update_policy(p, &e)) < 0)
        (void)error_set(&err, rc, "%s: %s", e.path, e.err.msg);
    if (rc >= 0)
        rc = network_connect(&r->network, p->ifindex, &err);
    if (rc >= 0) {
        runner_pod_adopt(p);
        return;
    }
    log_info("pod %s/%s: what an earlier run left is removed: %s", p->ns, p->name, err.msg);
    r->count.cleaned++;
    p->phase = POD_BLOCKED;
    runner_pod_stop(p, true); /* comes again as a new pod if its object is still there */
}

static void remove_half_images(const struct runner *r)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    char path[PATH_MAX];
    struct error ignored = ERROR_INIT;
    struct dirent *d;

    (void)snprintf(path, sizeof(path), "%s/images", r->config->state_dir);
    dir = opendir(path);
    while (dir && (d = readdir(dir)))
        if (strncmp(d->d_name, "new-", 4) == 0)
            (void)tree_remove(dirfd(dir), d->d_name, &ignored);
}

int runner_adopt(struct runner *r, struct error *err)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    char path[PATH_MAX];
    struct dirent *d;

    (void)snprintf(path, sizeof(path), "%s/pods", r->config->state_dir);
    dir = opendir(path);
    if (!dir)
        return error_errno(err, -errno, "open '%s'", path);
    remove_half_images(r);
    while ((d = readdir(dir)))
        if (name_is_label(d->d_name))
            adopt_one(r, d->d_name);
    return 0;
}

static void remove_foreign_namespaces(struct runner *r)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    char path[PATH_MAX];
    struct dirent *d;

    (void)snprintf(path, sizeof(path), "%s/netns", r->config->run_dir);
    dir = opendir(path);
    while (dir && (d = readdir(dir))) {
        char file[PATH_MAX + 300];

        if (!name_is_label(d->d_name) || runner_find_uid(r, d->d_name))
            continue;
        (void)snprintf(file, sizeof(file), "%s/%s", path, d->d_name);
        netns_remove(file);
        r->count.cleaned++;
    }
}

struct strays {
    struct runner *runner;
    char names[256][16];
    size_t n;
};

static bool is_pod_device(const char *name)
{
    return strncmp(name, "bv", 2) == 0 && strlen(name) == 13 &&
           strspn(name + 2, "0123456789abcdef") == 11;
}

static void note_stray(void *ctx, int index, const char *name)
{
    struct strays *s = ctx;
    struct pod *p;

    (void)index;
    if (!is_pod_device(name) || s->n == ARRAY_SIZE(s->names))
        return;
    list_for_each_entry (p, &s->runner->pods, link)
        if (strcmp(p->ifname, name) == 0)
            return;
    (void)snprintf(s->names[s->n++], sizeof(s->names[0]), "%s", name);
}

static void remove_foreign_devices(struct runner *r)
{
    struct strays *s = calloc(1, sizeof(*s));
    struct error err = ERROR_INIT;

    if (!s)
        return;
    s->runner = r;
    if (link_each(&r->network.nl, note_stray, s, &err) < 0)
        log_warn("%s", err.msg);
    for (size_t i = 0; i < s->n; i++) {
        log_info("device %s of no pod: removed", s->names[i]);
        (void)link_delete(&r->network.nl, s->names[i], &err);
        r->count.cleaned++;
    }
    free(s);
}

void runner_synced(struct runner *r)
{
    struct pod *p, *next;

    list_for_each_entry_safe (p, next, &r->pods, link) {
        if (!p->seen)
            runner_pod_stop(p, true);
    }
    remove_foreign_namespaces(r);
    remove_foreign_devices(r);
    runner_reconcile(r);
}
