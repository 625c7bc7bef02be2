/* Namespace bundles (namespaces(7)): immutable once a task has them; unshare and setns publish a
 * new one. */
#include "runtime/sentry/task/namespaces.h"

#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/mount.h"

#include <stdlib.h>
#include <string.h>

struct namespaces *namespaces_get(struct namespaces *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void namespaces_put(struct namespaces *ns)
{
    if (!ns || !ref_put(&ns->ref))
        return;
    utsns_put(ns->uts);
    pidns_put(ns->pid_for_children);
    if (ns->mnt)
        mntns_put(ns->mnt);
    if (ns->ipc)
        ipcns_put(ns->ipc);
    if (ns->net)
        netns_put(ns->net);
    free(ns);
}

struct namespaces *namespaces_copy(const struct namespaces *ns)
{
    struct namespaces *n = malloc(sizeof(*n));

    if (!n)
        return NULL;
    *n = *ns;
    ref_init(&n->ref);
    utsns_get(n->uts);
    pidns_get(n->pid_for_children);
    if (n->mnt)
        mntns_get(n->mnt);
    if (n->ipc)
        ipcns_get(n->ipc);
    if (n->net)
        netns_get(n->net);
    return n;
}

struct utsns *utsns_new(const struct utsns *from)
{
    struct utsns *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    if (from)
        *n = *from;
    n->lock = (struct mutex)MUTEX_INIT;
    ref_init(&n->ref);
    n->ino = namespace_new_inode();
    n->userns = NULL;
    return n;
}

struct utsns *utsns_get(struct utsns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void utsns_put(struct utsns *ns)
{
    if (!ns || !ref_put(&ns->ref))
        return;
    if (ns->userns)
        userns_put(ns->userns);
    free(ns);
}
