/*
 * The pod's state machine. Network, arming and policy are set up here, in the loop, in a few
 * milliseconds and before anything of the pod can run; what takes long is in workers.
 */
#include "agent/standalone/pod.h"

#include "agent/config.h"
#include "agent/standalone/container.h"
#include "agent/standalone/files.h"
#include "agent/standalone/netns.h"
#include "agent/standalone/pod_internal.h"
#include "agent/standalone/podspec.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>

enum {
    BACKOFF_MAX_FACTOR = 30,
    BACKOFF_RESET_FACTOR = 60,
    KILL_AGAIN_MS = 5000,
    GRACE_DEFAULT_S = 30
};

static void check_stopped(struct pod *p);
static void remove_rest(struct pod *p);
static void container_running(struct container *c);
static void container_ended(struct container *c);
static const struct container_events events = {container_running, container_ended};

static void make_uid(char ret[UID_TEXT])
{
    uint8_t b[16];

    (void)!getrandom(b, sizeof(b), 0);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(ret, UID_TEXT,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

struct pod *runner_pod_new(struct runner *r, const char *ns, const char *name, json_t *manifest,
                           const char *uid)
{
    const json_t *list = get(manifest, "spec.containers");
    struct pod *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->runner = r;
    if (uid)
        (void)snprintf(p->uid, sizeof(p->uid), "%s", uid);
    else
        make_uid(p->uid);
    list_append(&r->pods, &p->link);
    p->ns = strdup(ns);
    p->name = strdup(name);
    p->manifest = json_incref(manifest);
    p->sandboxed = podspec_is_sandboxed(manifest);
    p->n_containers = json_array_size(list) + p->sandboxed;
    p->containers = calloc(p->n_containers, sizeof(*p->containers));
    if (!p->ns || !p->name || !p->containers) {
        p->n_containers = 0;
        runner_pod_free(p);
        return NULL;
    }
    (void)snprintf(p->dir, sizeof(p->dir), "%s/pods/%s", r->config->state_dir, p->uid);
    (void)snprintf(p->netns, sizeof(p->netns), "%s/netns/%s", r->config->run_dir, p->uid);
    (void)snprintf(p->log_dir, sizeof(p->log_dir), "%s/logs/%s_%s_%s", r->config->state_dir, ns,
                   name, p->uid);
    (void)snprintf(p->ifname, sizeof(p->ifname), "bv%.8s%.3s", p->uid, p->uid + 9);
    for (size_t i = 0; i < p->n_containers; i++)
        container_init(&p->containers[i], p,
                       p->sandboxed && i == 0 ? NULL : json_array_get(list, i - p->sandboxed),
                       &events);
    return p;
}

void runner_pod_free(struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++)
        container_fini(&p->containers[i]);
    worker_cancel(&p->worker);
    loop_timer_cancel(&p->timer);
    loop_timer_cancel(&p->refresh);
    loop_timer_cancel(&p->deadline);
    loop_timer_cancel(&p->grace);
    list_remove(&p->link);
    free(p->containers);
    free(p->ns);
    free(p->name);
    json_decref(p->manifest);
    free(p);
}

json_t *runner_pod_object(const struct pod *p)
{
    json_t *o = json_deep_copy(p->manifest), *status;

    if (!o)
        return NULL;
    (void)json_object_set_new(get(o, "metadata"), "uid", json_string(p->uid));
    (void)json_object_set_new(get(o, "metadata"), "namespace", json_string(p->ns));
    (void)json_object_set_new(get(o, "spec"), "nodeName",
                              json_string(p->runner->config->node_name));
    status = json_pack("{s:s}", "phase", pod_phase_name(p));
    if (p->ifindex)
        (void)json_object_update_new(status, json_pack("{s:s, s:[{s:s}, {s:s}]}", "podIP",
                                                       p->address.text4, "podIPs", "ip",
                                                       p->address.text4, "ip", p->address.text6));
    (void)json_object_set_new(o, "status", status);
    return o;
}

int pod_update_policy(struct pod *p, struct schema_error *e)
{
    const struct runner_hooks *h = &p->runner->hooks;
    json_t *o = runner_pod_object(p);
    int r = o ? h->update(h->ctx, p, o, e) : schema_fail(e, -ENOMEM, "", "out of memory");

    json_decref(o);
    return r;
}

/* Guard and deny-all are in force before the device is up; the rules follow at once. */
static int set_up_network(struct pod *p, struct error *err)
{
    struct runner *r = p->runner;
    struct schema_error e = {.err = ERROR_INIT};
    CLEANUP(close_fd) int ns_fd = -1;
    int rc;

    rc = network_attach(&r->network, p->netns, p->ifname, &p->address, &p->ifindex, err);
    if (rc == 0)
        rc = netns_open(p->netns, &ns_fd, err);
    if (rc == 0)
        rc = r->hooks.arm(r->hooks.ctx, p, ns_fd, err);
    if (rc < 0)
        return rc;
    rc = pod_update_policy(p, &e);
    if (rc < 0)
        return error_set(err, rc, "%s: %s", e.path, e.err.msg);
    return network_connect(&r->network, p->ifindex, err);
}

static void block(struct pod *p, const char *message)
{
    (void)snprintf(p->message, sizeof(p->message), "%.500s", message);
    log_warn("pod %s/%s: %s", p->ns, p->name, p->message);
    p->runner->count.failures++;
    remove_rest(p);
}

static int make_files(void *arg, struct error *err)
{
    const struct pod *p = arg;
    int r = pod_files_make(p, err);

    return r < 0 ? r : pod_mark_ready(p, err);
}

static void start_containers(struct pod *p)
{
    struct container *sandbox = pod_sandbox(p);

    if (sandbox && sandbox->phase == CONTAINER_WAITING)
        container_start(sandbox);
    if (sandbox && sandbox->phase != CONTAINER_RUNNING)
        return;
    for (size_t i = p->sandboxed; i < p->n_containers; i++)
        if (p->containers[i].phase == CONTAINER_WAITING)
            container_start(&p->containers[i]);
}

static void on_deadline(void *ctx)
{
    struct pod *p = ctx;

    if (p->phase != POD_ACTIVE)
        return;
    log_info("pod %s/%s: active for longer than its deadline", p->ns, p->name);
    p->failed_reason = "DeadlineExceeded";
    runner_pod_stop(p, false);
}

static void set_deadline(struct pod *p)
{
    int64_t seconds = get_int(p->manifest, "spec.activeDeadlineSeconds", 0);
    int64_t passed = (int64_t)(time(NULL) - p->started);

    if (seconds > 0)
        loop_timer_set(p->runner->loop, &p->deadline,
                       (uint64_t)(seconds > passed ? seconds - MAX(passed, 0) : 0) * 1000,
                       on_deadline, p);
}

static void on_files_made(void *ctx, int code, const char *message)
{
    struct pod *p = ctx;

    if (code < 0) {
        block(p, message);
        return;
    }
    p->phase = POD_ACTIVE;
    p->message[0] = 0;
    p->backoff_ms = 0;
    set_deadline(p);
    start_containers(p);
}

void runner_pod_start(struct pod *p)
{
    struct error err = ERROR_INIT;
    struct runner *r = p->runner;
    int rc;

    loop_timer_cancel(&p->timer);
    p->phase = POD_PREPARING;
    p->started = time(NULL);
    rc = mkdir_parents(p->dir, 0700);
    if (rc < 0)
        rc = error_errno(&err, rc, "create '%s'", p->dir);
    if (rc == 0)
        rc = network_allocate(&r->network, &p->number, &err);
    if (rc == 0) {
        network_address(&r->network, p->number, &p->address);
        rc = runner_pod_save(p, &err);
    }
    if (rc == 0)
        rc = set_up_network(p, &err);
    if (rc == 0)
        rc = worker_start(r->loop, &p->worker, make_files, p, on_files_made, p);
    if (rc < 0)
        block(p, err.msg);
    else
        log_info("pod %s/%s: uid %s address %s %s%s", p->ns, p->name, p->uid, p->address.text4,
                 p->address.text6, p->sandboxed ? " sandboxed" : "");
}

void runner_pod_adopt(struct pod *p)
{
    p->phase = POD_ACTIVE;
    p->runner->count.adopted++;
    set_deadline(p);
    /* The sandbox last: once it is found running, what is still waiting is started. */
    for (size_t i = p->n_containers; i-- > 0;)
        container_adopt(&p->containers[i]);
    start_containers(p);
    log_info("pod %s/%s: adopted, uid %s address %s", p->ns, p->name, p->uid, p->address.text4);
}

static void container_running(struct container *c)
{
    struct pod *p = c->pod;

    if (p->phase == POD_STOPPING) {
        if (c == pod_sandbox(p))
            check_stopped(p);
        else
            container_stop(c);
        return;
    }
    if (c == pod_sandbox(p))
        start_containers(p);
}

/* A kubelet's rule: the first restart is at once; then 10 s, doubling to 5 minutes, and from the
 * start again after 10 minutes of good behaviour. */
static void restart_later(struct container *c)
{
    uint64_t base = c->pod->runner->config->backoff_ms, delay;

    if (c->running_since_ms && loop_now_ms() - c->running_since_ms > base * BACKOFF_RESET_FACTOR)
        c->backoff_ms = 0;
    delay = c->failed_to_prepare && c->backoff_ms == 0 ? base : c->backoff_ms;
    c->backoff_ms = c->backoff_ms ? MIN(c->backoff_ms * 2, base * BACKOFF_MAX_FACTOR) : base;
    container_start_later(c, delay);
}

static bool wants_restart(const struct container *c)
{
    const char *policy = get_string(c->pod->manifest, "spec.restartPolicy", "Always");

    if (c->failed_to_prepare || !c->spec)
        return true;
    if (strcmp(policy, "Never") == 0)
        return false;
    return strcmp(policy, "Always") == 0 || c->exit_code != 0;
}

static bool all_ended(const struct pod *p)
{
    for (size_t i = p->sandboxed; i < p->n_containers; i++)
        if (p->containers[i].phase != CONTAINER_ENDED)
            return false;
    return true;
}

/* Without its sandbox nothing of the pod runs: the others end by themselves, and the sandbox is
 * made anew; its containers follow once it runs. */
static void sandbox_lost(struct pod *p, struct container *sandbox)
{
    for (size_t i = 1; i < p->n_containers; i++)
        container_kill(&p->containers[i]);
    restart_later(sandbox);
}

static void container_ended(struct container *c)
{
    struct pod *p = c->pod;
    struct container *sandbox = pod_sandbox(p);

    if (p->phase == POD_STOPPING) {
        c->phase = CONTAINER_ENDED;
        check_stopped(p);
    } else if (c == sandbox) {
        sandbox_lost(p, sandbox);
    } else if (!wants_restart(c)) {
        c->phase = CONTAINER_ENDED;
        if (all_ended(p))
            runner_pod_stop(p, false);
    } else {
        restart_later(c);
    }
}

static void on_grace_over(void *ctx)
{
    struct pod *p = ctx;

    for (size_t i = 0; i < p->n_containers; i++) {
        struct container *c = &p->containers[i];

        if (c == pod_sandbox(p) && !all_ended(p) && p->kill_round == 0)
            continue;
        if (p->kill_round < 2)
            container_kill(c);
        else
            container_kill_monitor(c);
    }
    p->kill_round++;
    loop_timer_set(p->runner->loop, &p->grace, KILL_AGAIN_MS, on_grace_over, p);
}

static void finish(struct pod *p)
{
    struct schema_error e = {.err = ERROR_INIT};

    loop_timer_cancel(&p->grace);
    loop_timer_cancel(&p->deadline);
    if (p->deleted) {
        remove_rest(p);
        return;
    }
    p->phase = POD_FINISHED;
    (void)pod_update_policy(p, &e);
    log_info("pod %s/%s: %s", p->ns, p->name, pod_phase_name(p));
}

static void check_stopped(struct pod *p)
{
    struct container *sandbox = pod_sandbox(p);

    if (p->phase != POD_STOPPING || !all_ended(p))
        return;
    if (!sandbox || sandbox->phase == CONTAINER_ENDED) {
        finish(p);
        return;
    }
    if (sandbox->phase == CONTAINER_RUNNING) {
        container_kill(sandbox);
        p->kill_round = 1;
        loop_timer_set(p->runner->loop, &p->grace, KILL_AGAIN_MS, on_grace_over, p);
    } else {
        container_stop(sandbox);
    }
}

static void stop_containers(struct pod *p)
{
    int64_t grace = get_int(p->manifest, "spec.terminationGracePeriodSeconds", GRACE_DEFAULT_S);

    p->phase = POD_STOPPING;
    p->kill_round = 0;
    loop_timer_set(p->runner->loop, &p->grace, (uint64_t)grace * 1000, on_grace_over, p);
    for (size_t i = p->sandboxed; i < p->n_containers && p->phase == POD_STOPPING; i++)
        if (p->containers[i].phase != CONTAINER_ENDED)
            container_stop(&p->containers[i]);
    check_stopped(p);
}

void runner_pod_stop(struct pod *p, bool gone)
{
    p->deleted |= gone;
    switch (p->phase) {
    case POD_ACTIVE:
        stop_containers(p);
        return;
    case POD_PREPARING:
        worker_cancel(&p->worker);
        remove_rest(p);
        return;
    case POD_FINISHED:
    case POD_BLOCKED:
        if (p->deleted)
            remove_rest(p);
        return;
    case POD_STOPPING:
    case POD_REMOVING:
        return;
    }
}

static int erase(void *arg, struct error *err)
{
    return runner_pod_erase(arg, err);
}

static void on_retry(void *ctx)
{
    runner_pod_start(ctx);
}

static void on_erased(void *ctx, int code, const char *message)
{
    struct pod *p = ctx;
    struct runner *r = p->runner;
    uint64_t base = r->config->backoff_ms;

    if (code < 0)
        log_warn("pod %s/%s: remove: %s", p->ns, p->name, message);
    if (p->deleted) {
        log_info("pod %s/%s: removed", p->ns, p->name);
        runner_pod_free(p);
        runner_reconcile(r);
        return;
    }
    p->phase = POD_BLOCKED;
    p->backoff_ms = p->backoff_ms ? MIN(p->backoff_ms * 2, base * BACKOFF_MAX_FACTOR) : base;
    loop_timer_set(r->loop, &p->timer, p->backoff_ms, on_retry, p);
}

static void on_remove_again(void *ctx)
{
    remove_rest(ctx);
}

/* Device first: what the namespace still sends must not outlive its guard. */
static void remove_rest(struct pod *p)
{
    struct runner *r = p->runner;

    p->phase = POD_REMOVING;
    loop_timer_cancel(&p->timer);
    network_detach(&r->network, p->netns, p->ifname);
    r->hooks.disarm(r->hooks.ctx, p->uid);
    (void)r->hooks.update(r->hooks.ctx, p, NULL, NULL);
    if (p->number)
        network_release(&r->network, p->number);
    p->number = 0;
    p->ifindex = 0;
    if (worker_start(r->loop, &p->worker, erase, p, on_erased, p) < 0)
        loop_timer_set(r->loop, &p->timer, KILL_AGAIN_MS, on_remove_again, p);
}

const char *pod_phase_name(const struct pod *p)
{
    bool failed = p->failed_reason != NULL;

    switch (p->phase) {
    case POD_PREPARING:
    case POD_BLOCKED:
        return "Pending";
    case POD_REMOVING:
        return p->deleted ? "Terminating" : "Pending";
    case POD_STOPPING:
        return p->deleted ? "Terminating" : "Running";
    case POD_FINISHED:
        for (size_t i = p->sandboxed; i < p->n_containers; i++)
            failed |= p->containers[i].exit_code != 0;
        return failed ? "Failed" : "Succeeded";
    case POD_ACTIVE:
        break;
    }
    for (size_t i = p->sandboxed; i < p->n_containers; i++)
        if (!p->containers[i].started)
            return "Pending";
    return "Running";
}
