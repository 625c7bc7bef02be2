#include "agent/kube/late.h"

#include "agent/agent.h"
#include "agent/podlog.h"
#include "common/log.h"

#include <string.h>
#include <time.h>

enum { LATE_MS = 2000, SUSPECTS_MAX = 1024 };

struct suspect {
    struct list link;
    struct cri_sandbox s;
    uint64_t armed_ns; /* since the epoch */
    bool asked, spoke; /* a container of it is older */
};

void late_init(struct late *l, struct agent *a, struct cri *cri)
{
    *l = (struct late){.agent = a, .cri = cri};
    list_init(&l->suspects);
}

static void suspect_free(struct late *l, struct suspect *p)
{
    list_remove(&p->link);
    l->n--;
    free(p);
}

void late_fini(struct late *l)
{
    struct suspect *p, *next;

    if (!l->agent)
        return;
    cri_cancel(&l->call);
    list_for_each_entry_safe (p, next, &l->suspects, link) {
        suspect_free(l, p);
    }
}

static uint64_t late_ms(const struct suspect *p)
{
    return (p->armed_ns - p->s.created_ns) / 1000000;
}

void late_note(struct late *l, const struct cri_sandbox *s)
{
    struct timespec ts;
    struct suspect *p;
    uint64_t now;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
    /* Those from before our time are no news. */
    if (now < s->created_ns + LATE_MS * UINT64_C(1000000) || l->n >= SUSPECTS_MAX ||
        s->created_ns / 1000000000 < (uint64_t)l->agent->started || !(p = calloc(1, sizeof(*p))))
        return;
    p->s = *s;
    p->armed_ns = now;
    list_append(&l->suspects, &p->link);
    l->n++;
}

static int see(void *ctx, const struct cri_container *c)
{
    struct late *l = ctx;
    struct suspect *p;

    list_for_each_entry (p, &l->suspects, link)
        if (p->asked && strcmp(p->s.id, c->sandbox) == 0)
            p->spoke |= c->created_ns < p->armed_ns;
    return 0;
}

static void tell(struct late *l, const struct suspect *p)
{
    unsigned long long ms = late_ms(p);

    log_pod(LOG_WARN, p->s.ns, p->s.name, p->s.uid, "armed %llu ms after its sandbox was made", ms);
    events_tell(
        &l->agent->events, EVENT_ARMED_LATE,
        &(struct event_object){"Pod", p->s.ns, p->s.name, p->s.uid},
        "policy is in force %llu ms after the pod's sandbox was made, and a container of it "
        "was there before",
        ms);
}

static void on_containers(void *ctx, const struct pb *message, const struct error *err)
{
    struct late *l = ctx;
    struct suspect *p, *next;
    bool known = err->code == 0 && cri_each_container(*message, see, l) == 0;

    l->busy = false;
    list_for_each_entry_safe (p, next, &l->suspects, link) {
        if (!p->asked)
            continue;
        if (p->spoke || !known) /* what can't be known is told */
            tell(l, p);
        suspect_free(l, p);
    }
}

void late_ask(struct late *l)
{
    struct error err = ERROR_INIT;
    struct suspect *p;

    if (l->busy || l->n == 0)
        return;
    list_for_each_entry (p, &l->suspects, link)
        p->asked = true;
    l->call.ctx = l;
    l->call.done = on_containers;
    l->busy = cri_send(l->cri, &l->call, CRI_LIST_CONTAINERS, NULL, &err) == 0;
    if (!l->busy)
        on_containers(l, NULL, &err);
}
