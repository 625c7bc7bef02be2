/* Credentials: copy on change, shared otherwise (cred.h). */
#include "runtime/sentry/task/cred.h"

#include "runtime/sentry/task/task.h"

#include <stdlib.h>
#include <string.h>

struct cred *cred_new(void)
{
    struct cred *c = calloc(1, sizeof(*c));

    if (c)
        ref_init(&c->ref);
    return c;
}

struct cred *cred_copy(const struct cred *c)
{
    struct cred *n = malloc(sizeof(*n));

    if (!n)
        return NULL;
    memcpy(n, c, sizeof(*n));
    ref_init(&n->ref);
    n->groups = NULL;
    if (c->n_groups) {
        n->groups = malloc(c->n_groups * sizeof(*n->groups));
        if (!n->groups) {
            free(n);
            return NULL;
        }
        memcpy(n->groups, c->groups, c->n_groups * sizeof(*n->groups));
    }
    if (n->userns)
        userns_get(n->userns);
    return n;
}

struct cred *cred_get(const struct cred *c)
{
    struct cred *m = (struct cred *)(uintptr_t)c;

    ref_get(&m->ref);
    return m;
}

void cred_put(struct cred *c)
{
    if (!c || !ref_put(&c->ref))
        return;
    if (c->userns)
        userns_put(c->userns);
    free(c->groups);
    free(c);
}

void task_set_cred(struct task *t, struct cred *c)
{
    struct cred *old;

    mutex_lock(&g_tasks_lock);
    old = t->cred;
    __atomic_store_n(&t->cred, c, __ATOMIC_RELEASE);
    mutex_unlock(&g_tasks_lock);
    cred_put(old);
    task_publish_identity(t);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

bool cred_in_group(const struct cred *c, uint32_t gid)
{
    return c->fsgid == gid ||
           (c->n_groups && bsearch(&gid, c->groups, c->n_groups, sizeof(gid), compare));
}

void cred_sort_groups(struct cred *c)
{
    if (c->n_groups)
        qsort(c->groups, c->n_groups, sizeof(*c->groups), compare);
}

bool cred_capable(const struct cred *c, int cap)
{
    return !c->userns && (c->effective & CAP_BIT(cap));
}

bool capable(const struct task *t, int cap)
{
    return cred_capable(t->cred, cap);
}
