/* The queue of local pods to compile, and of those that are gone. */
#include "policy/engine/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void compiled_free(struct compiled *c)
{
    if (!c)
        return;
    policy_rules_free(c->rules);
    free(c->sources);
    free(c);
}

void local_mark_dirty(struct engine *e, struct pod_local *l)
{
    compiled_free(TAKE_PTR(l->compiled));
    if (l->dirty || !pod_counts(l->pod))
        return;
    l->dirty = true;
    e->n_dirty++;
    list_append(&e->dirty, &l->dirty_link);
}

static void unmark(struct engine *e, struct pod_local *l)
{
    if (!l->dirty)
        return;
    l->dirty = false;
    e->n_dirty--;
    list_remove(&l->dirty_link);
}

void local_forget(struct engine *e, struct pod_local *l)
{
    compiled_free(TAKE_PTR(l->compiled));
    unmark(e, l);
}

static void gone_free(struct gone *g)
{
    free(g->ns);
    free(g->name);
    free(g->uid);
    free(g);
}

int engine_report_gone(struct engine *e, const struct pod *p)
{
    struct gone *g = calloc(1, sizeof(*g));

    if (!g)
        return -ENOMEM;
    g->ns = strdup(p->ns->name->text);
    g->name = strdup(pod_name(p));
    g->uid = strdup(pod_uid(p));
    if (!g->ns || !g->name || !g->uid) {
        gone_free(g);
        return -ENOMEM;
    }
    list_append(&e->gone, &g->link);
    e->n_gone++;
    return 0;
}

void engine_update_fini(struct engine_update *u)
{
    free(u->ns);
    free(u->name);
    free(u->uid);
    free(u->problem);
    policy_rules_free(u->rules);
    *u = (struct engine_update){0};
}

static int next_gone(struct engine *e, struct engine_update *ret)
{
    struct gone *g = list_first(&e->gone, struct gone, link);

    *ret = (struct engine_update){
        .ns = TAKE_PTR(g->ns), .name = TAKE_PTR(g->name), .uid = TAKE_PTR(g->uid)};
    list_remove(&g->link);
    e->n_gone--;
    gone_free(g);
    return 1;
}

static char *problem_of(const struct pod_local *l)
{
    const struct selection *s;

    list_for_each_entry (s, &l->selections, pod_link) {
        if (s->policy->problem)
            return strdup(s->policy->problem);
    }
    return NULL;
}

int engine_next_dirty(struct engine *e, struct engine_update *ret, struct error *err)
{
    struct pod_local *l = list_first(&e->dirty, struct pod_local, dirty_link);
    struct engine_update u = {0};
    struct compiled *c;

    if (!list_empty(&e->gone))
        return next_gone(e, ret);
    if (!l)
        return 0;
    u.ns = strdup(l->pod->ns->name->text);
    u.name = strdup(pod_name(l->pod));
    u.uid = strdup(pod_uid(l->pod));
    if (!u.ns || !u.name || !u.uid || local_compile(e, l, &c) < 0) {
        /* To the end of the queue, so that one such pod doesn't starve the others. */
        list_remove(&l->dirty_link);
        list_append(&e->dirty, &l->dirty_link);
        engine_update_fini(&u);
        return error_set(err, -ENOMEM, "compile pod %s/%s: out of memory", l->pod->ns->name->text,
                         pod_name(l->pod));
    }
    u.audit = l->pod->ns->audit;
    u.problem = problem_of(l);
    u.rules = TAKE_PTR(c->rules);
    compiled_free(c);
    unmark(e, l);
    *ret = u;
    return 1;
}

bool engine_mark_dirty(struct engine *e, const char *ns, const char *name)
{
    struct pod *p = pod_find(e, ns, name);

    if (!p || !p->local || !pod_counts(p))
        return false;
    local_mark_dirty(e, p->local);
    return true;
}
