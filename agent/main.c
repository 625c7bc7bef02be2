/*
 * bermd: the node agent. Puts the parts together; what each does is in its own file. One thread,
 * one loop. SIGTERM ends the agent and nothing else: pods and what is in force stay.
 */
#include "agent/agent.h"
#include "agent/exceptions.h"
#include "agent/frontends.h"
#include "agent/modes.h"
#include "agent/monitor.h"
#include "agent/node/install.h"
#include "agent/pods_cgroup.h"
#include "agent/standalone/netns.h"
#include "agent/standalone/podspec.h"
#include "common/fdio.h"
#include "common/log.h"
#include "policy/address.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { LOCK_TRIES = 50, LOCK_WAIT_US = 100000, ADDRESSES_MAX = 64 };

static void rearm(void *ctx);

static void on_signal(void *ctx, int sig)
{
    struct agent *a = ctx;
    struct error err = ERROR_INIT;

    if (sig == SIGHUP && *a->config.guard_exceptions) {
        if (exceptions_load(a, &err) < 0)
            log_error("the exceptions stay as they were: %s", err.msg);
        else
            loop_timer_set(&a->loop, &a->rearm, 0, rearm, a);
        return;
    }
    log_info("%s: the agent ends; pods and enforcement stay", strsignal(sig));
    loop_stop(&a->loop);
}

static int set_up_log(const struct config *c, struct error *err)
{
    struct log_config log = {.fd = 2, .tag = "bermd"};

    if (log_level_parse(c->log_level, &log.level) < 0)
        return error_set(err, -EINVAL, "--log-level: '%s' is not known", c->log_level);
    if (strcmp(c->log_format, "json") != 0 && strcmp(c->log_format, "text") != 0)
        return error_set(err, -EINVAL, "--log-format: '%s' is neither text nor json",
                         c->log_format);
    log.json = strcmp(c->log_format, "json") == 0;
    log_setup(&log);
    return 0;
}

/* One agent per state. A worker of a predecessor that was just killed may hold on for a moment. */
static int take_lock(struct agent *a, struct error *err)
{
    char path[PATH_MAX];
    int r = mkdir_parents(a->config.state_dir, 0700);

    if (r == 0)
        r = mkdir_parents(a->config.run_dir, 0755);
    if (r < 0)
        return error_errno(err, r, "create '%s' and '%s'", a->config.state_dir, a->config.run_dir);
    (void)snprintf(path, sizeof(path), "%s/lock", a->config.state_dir);
    a->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (a->lock_fd < 0)
        return error_errno(err, -errno, "open '%s'", path);
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(a->lock_fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        (void)usleep(LOCK_WAIT_US);
    }
    return error_set(err, -EALREADY, "another agent holds '%s'", path);
}

static void count_start(struct agent *a)
{
    CLEANUP(free_ptr) char *text = NULL;
    char path[PATH_MAX], number[32];
    struct error err = ERROR_INIT;

    (void)snprintf(path, sizeof(path), "%s/starts", a->config.state_dir);
    if (file_read_all(AT_FDCWD, path, 64, &text, NULL, NULL) == 0)
        a->restarts = strtoull(text, NULL, 10);
    (void)snprintf(number, sizeof(number), "%llu\n", (unsigned long long)a->restarts + 1);
    if (file_write_atomic(AT_FDCWD, path, number, strlen(number), 0600, &err) < 0)
        log_warn("%s", err.msg);
}

/* The first time that the guard keeps a pod from a guarded address; the rest is drops and metrics.
 * What the guard denies beside that (packets with options, say, that bridges send to everybody) is
 * nobody's attempt. */
static void tell_guard(struct agent *a, const struct enforce_deny *deny)
{
    const struct node_pod *p =
        agent_in_cluster(a) && deny->uid ? node_pods_find(&a->kube.pods, deny->uid) : NULL;
    char remote[ADDRESS_TEXT_MAX];

    bool guarded =
        deny->reason == BERM_REASON_GUARDED || deny->reason == BERM_REASON_GUARDED_EMBEDDED;

    if (!p || deny->engine != BERM_ENGINE_GUARD || !guarded)
        return;
    events_tell(&a->events, EVENT_GUARD_DENIED,
                &(struct event_object){"Pod", p->ns, p->name, p->uid},
                "the guard denied it %s%s%s port %u: metadata services are out of reach for pods",
                address_format(deny->remote, remote), deny->what && *deny->what ? " " : "",
                deny->what ? deny->what : "", deny->remote_port);
}

static void on_problem(void *ctx, const struct engine_update *u, const char *problem)
{
    struct agent *a = ctx;

    events_tell(&a->events, EVENT_POLICY_DENIES,
                &(struct event_object){"Pod", u->ns, u->name, u->uid},
                "all its traffic is denied: %s", problem);
}

static void on_deny(void *ctx, const struct enforce_deny *deny)
{
    struct agent *a = ctx;
    const struct drop *d = drops_add(&a->drops, deny);

    if (d)
        control_send_drop(&a->control, d);
    if (d && d->count == 1)
        tell_guard(a, deny);
}

static void on_incident(void *ctx, const struct enforce_incident *incident)
{
    struct agent *a = ctx;
    char pod[400];

    a->incidents[incident->kind]++;
    if (incident->kind == ENFORCE_DEVICE_NEW)
        loop_timer_set(&a->loop, &a->rearm, 0, rearm, a);
    agent_pod_name(a, incident->uid, pod, sizeof(pod));
    log_warn("enforcement: %s%s%s%s%s: %s", enforce_incident_name(incident->kind),
             *pod ? " pod " : "", pod, incident->device ? " device " : "",
             incident->device ? incident->device : "", incident->detail);
    if (incident->kind != ENFORCE_DEVICE_NEW)
        events_tell_node(&a->events, EVENT_TAMPERING, "%s: %s%s%s",
                         enforce_incident_name(incident->kind), incident->detail,
                         *pod ? ", pod " : "", pod);
}

static void on_enforce_events(void *ctx, uint32_t events)
{
    struct agent *a = ctx;
    struct error err = ERROR_INIT;

    (void)events;
    if (enforce_dispatch(a->enforce, &err) < 0)
        log_warn("read denials: %s", err.msg);
}

static void sweep(void *ctx)
{
    struct agent *a = ctx;
    struct error err = ERROR_INIT;

    if (enforce_sweep(a->enforce, &err) < 0)
        log_error("sweep: %s", err.msg);
    pods_cgroup_check(a);
    loop_timer_set(&a->loop, &a->sweep, a->config.sweep_ms, sweep, a);
}

static int open_enforce(struct agent *a, struct error *err)
{
    struct enforce_config c = {.pin_dir = a->config.pin_dir,
                               .exceptions = &a->exceptions,
                               .max_cidrs = (uint32_t)a->config.map_cidrs,
                               .max_hosts = (uint32_t)a->config.map_hosts,
                               .max_ports = (uint32_t)a->config.map_ports,
                               .on_deny = on_deny,
                               .on_incident = on_incident,
                               .ctx = a};
    enum berm_mode mode;
    int r = exceptions_read(a, &a->exceptions, err);

    if (r == 0)
        r = enforce_open(&c, &a->enforce, err);
    if (r < 0)
        return r;
    if (*a->config.guard) {
        if (mode_parse(a->config.guard, &mode) < 0)
            return error_set(err, -EINVAL, "--guard: '%s' is not known", a->config.guard);
        r = enforce_guard_set(a->enforce, mode, err);
        if (r < 0)
            return r;
    }
    r = loop_fd_add(&a->loop, &a->enforce_events, enforce_poll_fd(a->enforce), EPOLLIN,
                    on_enforce_events, a);
    if (r < 0)
        return error_errno(err, r, "watch denials");
    loop_timer_set(&a->loop, &a->sweep, a->config.sweep_ms, sweep, a);
    return 0;
}

/* All containers of the pod, whichever runtime: they lie below this folder. Where there is no
 * cgroup v2, the device's programs are alone. */
static int arm_cgroup(struct agent *a, const struct pod *p, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    struct error why = ERROR_INIT;
    char path[128];

    (void)snprintf(path, sizeof(path), "/berm/pod%s", p->uid);
    fd = enforce_cgroup_open(path, &why);
    if (fd < 0) {
        log_warn("pod %s/%s: denied connections time out: %s", p->ns, p->name, why.msg);
        return 0;
    }
    return enforce_arm_cgroup(a->enforce, p->uid, fd, !p->sandboxed || arm_wants_net_raw(p), err);
}

static int arm_pod(void *ctx, const struct pod *p, int netns_fd, struct error *err)
{
    struct agent *a = ctx;
    uint8_t addrs[2][16];
    struct enforce_pod pod = {.uid = p->uid,
                              .netns_fd = netns_fd,
                              .sandboxed = p->sandboxed,
                              .addrs = (const uint8_t(*)[16])addrs,
                              .n_addrs = 2,
                              .exceptions = exceptions_of(a, p->ns, p->manifest)};
    struct enforce_pod_info info;
    int r;

    pod.audit = enforce_find(a->enforce, p->uid, &info) && info.audit;

    ip_address_mapped(&p->address.v4, addrs[0]);
    ip_address_mapped(&p->address.v6, addrs[1]);
    memcpy(pod.mac, p->address.mac, 6);
    r = enforce_arm(a->enforce, &pod, err);
    return r < 0 ? r : arm_cgroup(a, p, err);
}

/* A device that appeared in a pod was bound with no address that it may use. */
static void rearm(void *ctx)
{
    struct agent *a = ctx;
    struct pod *p;

    list_for_each_entry (p, &a->runner.pods, link) {
        CLEANUP(close_fd) int fd = -1;
        struct error err = ERROR_INIT;

        if (p->ifindex <= 0)
            continue;
        if (netns_open(p->netns, &fd, &err) < 0 || arm_pod(a, p, fd, &err) < 0)
            log_warn("pod %s/%s: arm again: %s", p->ns, p->name, err.msg);
    }
}

static void disarm_pod(void *ctx, const char *uid)
{
    struct agent *a = ctx;
    struct error err = ERROR_INIT;

    if (enforce_remove(a->enforce, uid, &err) < 0)
        log_warn("pod %s: %s", uid, err.msg);
}

static int update_pod(void *ctx, const struct pod *p, const json_t *object, struct schema_error *e)
{
    struct agent *a = ctx;

    return netpolicy_pod(&a->netpolicy, p->ns, p->name, p->uid, object, e);
}

static int check_pod(const json_t *json, struct schema_error *e)
{
    int r = podspec_check(json, e);

    return r < 0 ? r : netpolicy_check_pod(json, e);
}

static int check_config_map(const json_t *json, struct schema_error *e)
{
    return plain_object_check("ConfigMap", json, e);
}

static int check_secret(const json_t *json, struct schema_error *e)
{
    return plain_object_check("Secret", json, e);
}

static int check_namespace(const json_t *json, struct schema_error *e)
{
    int r = plain_object_check("Namespace", json, e);

    return r < 0 ? r : netpolicy_check_namespace(json, e);
}

static void connect_sinks(struct agent *a)
{
    struct object_sink *s = a->objects.sink;

    s[OBJECT_NAMESPACE] =
        (struct object_sink){check_namespace, netpolicy_apply, netpolicy_remove, &a->netpolicy};
    s[OBJECT_NETWORK_POLICY] = s[OBJECT_CLUSTER_NETWORK_POLICY] = (struct object_sink){
        netpolicy_check_policy, netpolicy_apply, netpolicy_remove, &a->netpolicy};
    s[OBJECT_CONFIG_MAP] =
        (struct object_sink){check_config_map, runner_source_changed, NULL, &a->runner};
    s[OBJECT_SECRET] = (struct object_sink){check_secret, runner_source_changed, NULL, &a->runner};
    s[OBJECT_POD] = (struct object_sink){check_pod, runner_apply, runner_remove, &a->runner};
}

static int note_deviceless(void *ctx, const struct enforce_pod_info *info)
{
    json_t *list = ctx;

    if (info->n_devices == 0)
        (void)json_array_append_new(list, json_string(info->uid));
    return 0;
}

/* Pods that enforcement remembers, of which neither runner nor network knows any more. What has a
 * device left is a sandbox that someone runs by hand: it stays guarded until it is deleted. */
static void disarm_leftovers(struct agent *a)
{
    json_t *list = json_array(), *v;
    size_t i;

    (void)enforce_for_each(a->enforce, note_deviceless, list);
    json_array_foreach(list, i, v) if (!runner_find_uid(&a->runner, json_string_value(v)))
        disarm_pod(a, json_string_value(v));
    json_decref(list);
}

static void on_folder_changed(void *ctx, bool first)
{
    struct agent *a = ctx;

    if (!first)
        return;
    runner_synced(&a->runner);
    disarm_leftovers(a);
    netpolicy_release(&a->netpolicy);
}

/* The node as a peer: the bridge's addresses, and those that were configured. */
static int set_node(struct agent *a, struct error *err)
{
    const char *list[ADDRESSES_MAX];
    struct pod_address gateway;
    CLEANUP(free_ptr) char *more = strdup(a->config.host_cidr);
    char *save = NULL;
    size_t n = 2;

    if (!more)
        return error_errno(err, -ENOMEM, "node");
    network_address(&a->runner.network, 1, &gateway);
    list[0] = gateway.text4;
    list[1] = gateway.text6;
    for (char *s = strtok_r(more, ", ", &save); s && n < ADDRESSES_MAX;
         s = strtok_r(NULL, ", ", &save))
        list[n++] = s;
    return netpolicy_set_node(&a->netpolicy, a->config.node_name, list, n, err);
}

static void on_api_synced(void *ctx)
{
    struct agent *a = ctx;

    log_info("ready: every collection of the API server was seen, %zu pods on this node",
             a->kube.pods.count);
    frontends_start(a);
    netpolicy_release(&a->netpolicy);
}

static int set_up_sources(struct agent *a, struct error *err)
{
    struct runner_hooks hooks = {arm_pod, disarm_pod, update_pod, a};
    int r;

    if (agent_in_cluster(a))
        return kube_source_init(&a->kube, a, on_api_synced, err);
    if ((r = runner_init(&a->runner, &a->loop, &a->config, &a->objects, &hooks, err)) < 0)
        return r;
    return set_node(a, err);
}

static int start_source(struct agent *a, struct error *err)
{
    int r;

    if (agent_in_cluster(a)) {
        events_init(&a->events, a);
        a->netpolicy.on_problem = on_problem;
        a->netpolicy.ctx = a;
        r = others_init(&a->others, a, err);
        return r < 0 ? r : a->kube.source.start(&a->kube.source, err);
    }
    if ((r = runner_adopt(&a->runner, err)) < 0)
        return r;
    folder_init(&a->folder, &a->loop, &a->config, &a->objects, on_folder_changed, a);
    return a->folder.source.start(&a->folder.source, err);
}

static int set_up(struct agent *a, struct error *err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    int r;

    r = take_lock(a, err);
    if (r < 0)
        return r;
    r = loop_init(&a->loop);
    if (r < 0)
        return error_errno(err, r, "event loop");
    count_start(a);
    r = loop_signals_add(&a->loop, &a->signals, signals, ARRAY_SIZE(signals), on_signal, a);
    if (r < 0)
        return error_errno(err, r, "signals");
    objects_init(&a->objects);
    services_init(&a->services);
    connect_sinks(a);
    if ((r = open_enforce(a, err)) < 0)
        return error_wrap(err, "enforcement");
    if ((r = netpolicy_init(&a->netpolicy, &a->loop, &a->objects, a->config.node_name, a->enforce,
                            err)) < 0 ||
        (r = set_up_sources(a, err)) < 0 || (r = arm_server_init(&a->arm, a, err)) < 0 ||
        (r = control_init(&a->control, a, err)) < 0 ||
        (r = metrics_server_init(&a->metrics, a, a->config.listen, err)) < 0)
        return r;
    notify_init(&a->notify, a);
    return start_source(a, err);
}

static void tear_down(struct agent *a)
{
    notify_fini(&a->notify);
    metrics_server_fini(&a->metrics);
    control_fini(&a->control);
    arm_server_fini(&a->arm);
    others_fini(&a->others);
    events_fini(&a->events);
    kube_source_fini(&a->kube);
    if (a->folder.loop)
        folder_fini(&a->folder);
    if (a->runner.loop)
        runner_fini(&a->runner);
    netpolicy_fini(&a->netpolicy);
    loop_timer_cancel(&a->sweep);
    loop_timer_cancel(&a->rearm);
    loop_timer_cancel(&a->frontends);
    loop_fd_remove(&a->enforce_events);
    enforce_close(a->enforce);
    services_fini(&a->services);
    objects_fini(&a->objects);
    drops_fini(&a->drops);
}

/* Some 16 descriptors a pod (links, cgroups, sockets) with several hundred pods; programs are
 * mostly started with 1024. What the agent starts sets its own limits. */
static void raise_files_limit(void)
{
    const rlim_t wanted = 32768;
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= wanted)
        return;
    r.rlim_cur = MIN(r.rlim_max, wanted);
    if (setrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur < wanted)
        log_warn("%llu files may be open, %llu would be better with hundreds of pods",
                 (unsigned long long)r.rlim_cur, (unsigned long long)wanted);
}

static int run(struct agent *a, int argc, char **argv, struct error *err)
{
    int r = config_parse(&a->config, argc, argv, err);

    if (r != 0)
        return r;
    if ((r = set_up_log(&a->config, err)) < 0)
        return r;
    raise_files_limit();
    list_init(&a->runner.pods);
    r = set_up(a, err);
    if (r == 0 && agent_in_cluster(a)) {
        log_info("node '%s', API server %s", a->config.node_name, a->kube.auth.server);
        r = loop_run(&a->loop);
    } else if (r == 0) {
        log_info("ready: folder '%s', %zu pods adopted", a->config.standalone,
                 (size_t)a->runner.count.adopted);
        r = loop_run(&a->loop);
    }
    tear_down(a);
    return r;
}

/* bermd --uninstall [PIN-DIR]: the only way by which enforcement ends on purpose. */
static int uninstall(const char *pin_dir)
{
    struct error err = ERROR_INIT;

    if (enforce_uninstall(pin_dir, &err) == 0)
        return 0;
    (void)fprintf(stderr, "bermd: uninstall: %s\n", err.msg);
    return 1;
}

int main(int argc, char **argv)
{
    static struct agent agent = {.lock_fd = -1};
    struct error err = ERROR_INIT;
    int r;

    if (argc == 3 && strcmp(argv[1], "--monitor") == 0)
        return monitor_main(argv[2]);
    if (argc >= 2 && strcmp(argv[1], "install") == 0)
        return install_main(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "uninstall") == 0)
        return uninstall_main(argc - 1, argv + 1);
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "--uninstall") == 0)
        return uninstall(argc == 3 ? argv[2] : NULL);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("bermd " BERM_VERSION);
        return 0;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(022);
    agent.started = time(NULL);
    agent.started_ms = loop_now_ms();
    drops_init(&agent.drops);
    r = run(&agent, argc, argv, &err);
    if (r < 0) {
        log_error("%s", *err.msg ? err.msg : strerror(-r));
        return 1;
    }
    return 0;
}
