/*
 * User namespaces (user_namespaces(7)). Kernel ids are those of the sandbox's initial namespace; a
 * child namespace has up to five ranges a map, written once through /proc/PID/{uid,gid}_map.
 */
#include "runtime/sentry/task/userns.h"

#include "runtime/sentry/task/pid.h"

#include <stdlib.h>

struct userns *userns_new(struct userns *parent, const struct cred *owner)
{
    struct userns *ns;

    if (parent && parent->level + 1 >= 32)
        return NULL;
    ns = calloc(1, sizeof(*ns));
    if (!ns)
        return NULL;
    ref_init(&ns->ref);
    ns->parent = parent ? userns_get(parent) : NULL;
    ns->level = parent ? parent->level + 1 : 1;
    ns->owner = owner->euid;
    ns->owner_gid = owner->egid;
    ns->setgroups_allowed = !parent || parent->setgroups_allowed;
    ns->ino = namespace_new_inode();
    return ns;
}

struct userns *userns_get(struct userns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void userns_put(struct userns *ns)
{
    while (ns && ref_put(&ns->ref)) {
        struct userns *parent = ns->parent;

        free(ns);
        ns = parent;
    }
}

uint32_t idmap_to_kernel(const struct idmap *m, uint32_t id)
{
    for (unsigned i = 0; i < m->n; i++)
        if (id - m->range[i].inside < m->range[i].count && id >= m->range[i].inside)
            return m->range[i].kernel + (id - m->range[i].inside);
    return ID_INVALID;
}

uint32_t idmap_from_kernel(const struct idmap *m, uint32_t id)
{
    for (unsigned i = 0; i < m->n; i++)
        if (id >= m->range[i].kernel && id - m->range[i].kernel < m->range[i].count)
            return m->range[i].inside + (id - m->range[i].kernel);
    return ID_INVALID;
}

uint32_t uid_to_kernel(const struct userns *ns, uint32_t id)
{
    return ns ? idmap_to_kernel(&ns->uids, id) : id;
}

uint32_t gid_to_kernel(const struct userns *ns, uint32_t id)
{
    return ns ? idmap_to_kernel(&ns->gids, id) : id;
}

uint32_t uid_from_kernel(const struct userns *ns, uint32_t id)
{
    uint32_t r = ns ? idmap_from_kernel(&ns->uids, id) : id;

    return ns && r == ID_INVALID ? ID_OVERFLOW : r;
}

uint32_t gid_from_kernel(const struct userns *ns, uint32_t id)
{
    uint32_t r = ns ? idmap_from_kernel(&ns->gids, id) : id;

    return ns && r == ID_INVALID ? ID_OVERFLOW : r;
}

bool cred_capable_own(const struct cred *c, int cap)
{
    return c->effective & CAP_BIT(cap);
}

bool cred_capable_in(const struct cred *c, const struct userns *ns, int cap)
{
    for (;; ns = ns->parent) {
        if (c->userns == ns)
            return c->effective & CAP_BIT(cap);
        if (!ns)
            return false;
        if (ns->parent == c->userns && ns->owner == c->euid)
            return true;
    }
}

bool cred_is_namespace_root(const struct cred *c)
{
    return uid_to_kernel(c->userns, 0) == c->euid;
}
