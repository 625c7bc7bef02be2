#include "agent/kube/others.h"

#include "agent/agent.h"
#include "agent/json.h"
#include "agent/kube/cgroup_path.h"
#include "agent/podlog.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    FIRST_LOOK_MS = 10,
    QUIET_LOOK_MS = 10000, /* looks get rarer up to this, where nobody calls */
    OTHERS_MAX = 4096,
};

struct other {
    struct list link;
    struct cri_sandbox s;
    uint64_t generation; /* of the look that saw it last */
    bool done;           /* armed, or known not to be armed */
    bool armed;
    bool own;   /* of our own handler */
    bool asked; /* in this look */
    unsigned failures;
};

static void look(void *ctx);

static void look_in(struct others *o, uint64_t ms)
{
    o->delay_ms = ms;
    loop_timer_set(&o->agent->loop, &o->look, ms, look, o);
}

void others_look(struct others *o)
{
    if (!o->on)
        return;
    if (o->busy)
        o->again = true;
    else
        look_in(o, FIRST_LOOK_MS);
}

static void other_free(struct other *p)
{
    list_remove(&p->link);
    free(p);
}

/* -- one sandbox ---------------------------------------------------------------------------------
 */

static const char *namespace_path(const json_t *spec, const char *type)
{
    json_t *v;
    size_t i;

    json_array_foreach(get(spec, "linux.namespaces"), i, v)
    {
        const char *path = json_string_value(json_object_get(v, "path"));

        if (strcmp(get_string(v, "type", ""), type) == 0)
            return path ? path : "";
    }
    return NULL;
}

/* As the host has it; /var/run is a link there, and may be missing in an image. */
static int open_netns(const char *path)
{
    static const char old[] = "/var/run/";

    return open(strncmp(path, old, sizeof(old) - 1) == 0 ? path + 4 : path, O_RDONLY | O_CLOEXEC);
}

static int arm(struct others *o, struct other *p, const json_t *info, struct error *err)
{
    const json_t *spec = json_object_get(info, "runtimeSpec");
    const char *path = namespace_path(spec, "network");
    CLEANUP(close_fd) int netns = -1, cgroup = -1;
    struct node_pods_request r = {
        .uid = p->s.uid, .sandbox = p->s.id, .ns = p->s.ns, .name = p->s.name, .foreign = !p->own};
    bool net_raw;

    if (!spec)
        return error_set(err, -EOPNOTSUPP, "CRI tells nothing of its namespaces");
    if (!path)
        return 0; /* the node's own network */
    netns = *path ? open_netns(path) : -ENOENT;
    if (netns < 0)
        return error_set(err, *path ? -errno : -ENOENT, "network namespace '%.200s'", path);
    cgroup = cgroup_open_pod(get_string(get(spec, "linux"), "cgroupsPath", ""));
    r.netns_fd = netns;
    r.cgroup_fd = cgroup;
    p->armed = node_pods_arm(&o->agent->kube.pods, &r, &net_raw, err) == 0;
    o->count.armed += p->armed;
    if (p->armed && !p->own)
        late_note(&o->late, &p->s);
    return p->armed ? 0 : err->code;
}

static void ask_more(struct others *o);

static void on_status(void *ctx, const struct pb *message, const struct error *failure)
{
    struct others_asking *asking = ctx;
    struct others *o = asking->others;
    struct other *p = asking->other;
    struct error err = *failure;
    json_t *info;

    asking->other = NULL;
    if (!err.code) {
        info = cri_info(*message, "info");
        (void)arm(o, p, info, &err);
        json_decref(info);
    }
    p->done = !err.code || err.code == -EOPNOTSUPP;
    /* -ENOENT of CRI: it went while we asked. */
    if (err.code && failure->code != -ENOENT && p->failures++ == 0)
        log_pod(LOG_WARN, p->s.ns, p->s.name, p->s.uid, "not armed: %s", err.msg);
    ask_more(o);
}

/* The first that is to be asked for in this look, or NULL. */
static struct other *next_unasked(struct others *o)
{
    struct other *p;

    list_for_each_entry (p, &o->sandboxes, link)
        if (!p->done && !p->asked && p->generation == o->generation)
            return p;
    return NULL;
}

static bool ask(struct others *o, struct others_asking *asking)
{
    struct other *p = next_unasked(o);
    struct error err = ERROR_INIT;

    if (!p)
        return false;
    p->asked = true;
    asking->others = o;
    asking->other = p;
    asking->call.ctx = asking;
    asking->call.done = on_status;
    if (cri_send(&o->cri, &asking->call, CRI_SANDBOX_STATUS, p->s.id, &err) == 0)
        return true;
    log_warn("CRI: %s", err.msg);
    asking->other = NULL;
    return false;
}

/* A few at a time: a runtime that has much to do answers each late, and a burst of pods is no burst
 * for it all the same. */
static void ask_more(struct others *o)
{
    bool waiting = false;

    for (size_t i = 0; i < ARRAY_SIZE(o->asking); i++)
        waiting |= o->asking[i].other || ask(o, &o->asking[i]);
    if (waiting)
        return;
    late_ask(&o->late);
    o->busy = false;
    look_in(o, o->again ? FIRST_LOOK_MS : MIN(o->delay_ms * 2, (uint64_t)QUIET_LOOK_MS));
    o->again = false;
}

/* -- all of them
 * ------------------------------------------------------------------------------------- */

static struct other *find(struct others *o, const char *id)
{
    struct other *p;

    list_for_each_entry (p, &o->sandboxes, link)
        if (strcmp(p->s.id, id) == 0)
            return p;
    return NULL;
}

struct looking {
    struct others *o;
    size_t n;
    bool own; /* those of our own handler are looked at, too */
};

/* Sandboxes of our own ask for it when they are made. One that ran before this agent and is not
 * armed asked another, whose maps had another layout. They are looked for once, when the API server
 * has told what their pods may do. */
static bool is_armed(const struct others *o, const struct cri_sandbox *s)
{
    struct enforce_pod_info info;

    return enforce_find(o->agent->enforce, s->uid, &info);
}

static int see(void *ctx, const struct cri_sandbox *s)
{
    struct looking *l = ctx;
    struct others *o = l->o;
    struct other *p;
    bool own = strcmp(s->handler, o->agent->config.handler) == 0;

    if (!s->ready)
        return 0;
    p = find(o, s->id);
    if (!p && own && (!l->own || is_armed(o, s))) {
        node_pods_sandbox(&o->agent->kube.pods, s->uid, s->id, s->created_ns);
        return 0;
    }
    if (!p && l->n < OTHERS_MAX && (p = calloc(1, sizeof(*p)))) {
        p->s = *s;
        p->own = own;
        list_append(&o->sandboxes, &p->link);
    }
    if (p) {
        p->generation = o->generation;
        p->asked = false;
    }
    l->n++;
    return 0;
}

/* Its containers are gone when a sandbox isn't ready any more: nothing is left to be bound. */
static void drop_unseen(struct others *o)
{
    struct other *p, *next;
    struct error err = ERROR_INIT;

    list_for_each_entry_safe (p, next, &o->sandboxes, link) {
        if (p->generation == o->generation)
            continue;
        if (p->armed && node_pods_disarm(&o->agent->kube.pods, p->s.id, &err) < 0)
            log_pod(LOG_WARN, p->s.ns, p->s.name, p->s.uid, "%s", err.msg);
        other_free(p);
    }
}

static void on_list(void *ctx, const struct pb *message, const struct error *err)
{
    struct others *o = ctx;
    struct looking l = {.o = o, .own = !o->own_seen && agent_synced(o->agent)};
    int r = err->code;

    o->generation++;
    if (r == 0)
        r = cri_each_sandbox(*message, see, &l);
    if (r < 0) {
        o->count.failures++;
        if (!o->down)
            log_warn("CRI: pods of other runtimes can't be seen: %s",
                     *err->msg ? err->msg : "list");
        o->down = true;
        o->busy = o->again = false;
        look_in(o, QUIET_LOOK_MS / 10);
        return;
    }
    if (o->down)
        log_info("CRI: answers again");
    o->down = false;
    o->own_seen |= l.own;
    drop_unseen(o);
    ask_more(o);
}

static void look(void *ctx)
{
    struct others *o = ctx;
    struct error err = ERROR_INIT;

    o->busy = true;
    o->count.looks++;
    o->call.done = on_list;
    if (cri_send(&o->cri, &o->call, CRI_LIST_SANDBOXES, NULL, &err) == 0)
        return;
    log_warn("CRI: %s", err.msg);
    o->busy = false;
    look_in(o, QUIET_LOOK_MS);
}

/* -- the node's devices
 * ---------------------------------------------------------------------------------- */

static void on_links(void *ctx, uint32_t events)
{
    struct others *o = ctx;
    char data[8192];
    bool any = false;

    (void)events;
    /* What happened is not read: CRI is asked. An overrun is a happening, too. */
    while (recv(o->links_fd, data, sizeof(data), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
        any = true;
    if (any)
        others_look(o);
}

static int watch_links(struct others *o, struct error *err)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int r;

    o->links_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (o->links_fd < 0 || bind(o->links_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "watch devices");
    r = loop_fd_add(&o->agent->loop, &o->links, o->links_fd, EPOLLIN, on_links, o);
    return r < 0 ? error_errno(err, r, "watch devices") : 0;
}

int others_init(struct others *o, struct agent *a, struct error *err)
{
    int r;

    *o = (struct others){.agent = a, .links_fd = -1};
    list_init(&o->sandboxes);
    late_init(&o->late, a, &o->cri);
    if (!*a->config.cri_socket || !a->enforce)
        return 0;
    o->call.ctx = o;
    if ((r = cri_init(&o->cri, &a->loop, a->config.cri_socket, err)) < 0 ||
        (r = watch_links(o, err)) < 0)
        return r;
    o->on = true;
    look_in(o, 0);
    return 0;
}

void others_fini(struct others *o)
{
    struct other *p, *next;

    if (!o->agent)
        return;
    cri_cancel(&o->call);
    for (size_t i = 0; i < ARRAY_SIZE(o->asking); i++)
        cri_cancel(&o->asking[i].call);
    late_fini(&o->late);
    loop_timer_cancel(&o->look);
    loop_fd_remove(&o->links);
    close_fd(&o->links_fd);
    if (o->cri.socket)
        cri_fini(&o->cri);
    list_for_each_entry_safe (p, next, &o->sandboxes, link) {
        other_free(p);
    }
}
