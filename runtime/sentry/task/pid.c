/*
 * Process ids and pid namespaces (pid_namespaces(7)). A struct pid carries one number per namespace
 * from its own up to the root. Everything here is under g_tasks_lock.
 */
#include "runtime/sentry/task/pid.h"

#include "runtime/sentry/sentry.h"

#include <errno.h>
#include <stdlib.h>

struct mutex g_tasks_lock = MUTEX_INIT;
static uint64_t g_next_ns_inode = 0xf0000000ULL;

uint64_t namespace_new_inode(void)
{
    return __atomic_fetch_add(&g_next_ns_inode, 1, __ATOMIC_RELAXED);
}

struct pidns *pidns_new(struct pidns *parent)
{
    struct pidns *ns;

    if (parent && parent->level + 1 >= PIDNS_LEVELS)
        return NULL;
    ns = calloc(1, sizeof(*ns));
    if (!ns)
        return NULL;
    ref_init(&ns->ref);
    ns->parent = parent ? pidns_get(parent) : NULL;
    ns->level = parent ? parent->level + 1 : 0;
    ns->ino = namespace_new_inode();
    return ns;
}

struct pidns *pidns_get(struct pidns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void pidns_put(struct pidns *ns)
{
    while (ns && ref_put(&ns->ref)) {
        struct pidns *parent = ns->parent;

        hashmap_fini(&ns->pids);
        free(ns);
        ns = parent;
    }
}

static struct pid_nr *find_nr(const struct pidns *ns, int nr)
{
    uint64_t hash = hash_u64((uint64_t)nr);
    struct hash_node *n = hashmap_first(&ns->pids, hash);

    for (; n; n = hashmap_next_same(n)) {
        struct pid_nr *p = hash_entry(n, struct pid_nr, node);

        if (p->nr == nr)
            return p;
    }
    return NULL;
}

struct pid *pid_find_locked(const struct pidns *ns, int nr)
{
    struct pid_nr *p;

    mutex_assert_held(&g_tasks_lock);
    p = nr > 0 ? find_nr(ns, nr) : NULL;
    return p ? p->pid : NULL;
}

/* Next free number of ns, cyclic; 0 if all are taken. */
static int pick(struct pidns *ns)
{
    for (int tries = 0; tries < PID_LIMIT; tries++) {
        if (++ns->last >= PID_LIMIT)
            ns->last = ns->level ? 2 : 300;
        if (!find_nr(ns, ns->last))
            return ns->last;
    }
    return 0;
}

/* The numbers are free again; who still holds p (a message's credentials) may ask what they were.
 */
static void unhash(struct pid *p)
{
    for (unsigned i = 0; i <= p->level; i++)
        if (p->nr[i].ns) {
            (void)hashmap_remove(&p->nr[i].ns->pids, &p->nr[i].node);
            p->nr[i].ns->count--;
        }
}

static void pid_free(struct pid *p)
{
    for (unsigned i = 0; i <= p->level; i++)
        pidns_put(p->nr[i].ns);
    free(p);
}

int pid_alloc_locked(struct pidns *ns, struct pid **ret)
{
    struct pid *p = calloc(1, sizeof(*p) + (ns->level + 1) * sizeof(p->nr[0]));

    mutex_assert_held(&g_tasks_lock);
    if (!p)
        return -ENOMEM;
    ref_init(&p->ref);
    list_init(&p->pgrp);
    list_init(&p->session);
    p->level = ns->level;
    for (struct pidns *at = ns; at; at = at->parent) {
        struct pid_nr *n = &p->nr[at->level];

        n->nr = pick(at);
        n->pid = p;
        if (!n->nr || hashmap_add(&at->pids, &n->node, hash_u64((uint64_t)n->nr)) < 0) {
            unhash(p);
            pid_free(p);
            return -EAGAIN;
        }
        n->ns = pidns_get(at);
        at->count++;
    }
    *ret = p;
    return 0;
}

struct pid *pid_get(struct pid *p)
{
    ref_get(&p->ref);
    return p;
}

void pid_put(struct pid *p)
{
    if (p && ref_put(&p->ref))
        pid_free(p);
}

void pid_release_if_unused_locked(struct pid *p)
{
    mutex_assert_held(&g_tasks_lock);
    if (p->task || p->process || !list_empty(&p->pgrp) || !list_empty(&p->session))
        return;
    unhash(p);
    pid_put(p);
}

int pid_in(const struct pid *p, const struct pidns *ns)
{
    if (!p || ns->level > p->level || p->nr[ns->level].ns != ns)
        return 0;
    return p->nr[ns->level].nr;
}

struct task *task_find_locked(const struct pidns *ns, int tid)
{
    struct pid *p = pid_find_locked(ns, tid);

    return p ? p->task : NULL;
}

struct process *process_find_locked(const struct pidns *ns, int pid)
{
    struct pid *p = pid_find_locked(ns, pid);

    return p ? p->process : NULL;
}

int pidns_next_process_locked(const struct pidns *ns, int nr)
{
    int best = 0;

    mutex_assert_held(&g_tasks_lock);
    for (struct hash_node *n = hashmap_next(&ns->pids, NULL); n; n = hashmap_next(&ns->pids, n)) {
        struct pid_nr *p = hash_entry(n, struct pid_nr, node);

        if (p->pid->process && p->nr > nr && (!best || p->nr < best))
            best = p->nr;
    }
    return best;
}
