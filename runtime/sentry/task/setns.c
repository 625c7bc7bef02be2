/*
 * setns(2): a task enters existing namespaces. Each kind is checked with the rights that its own
 * and the caller's user namespace give; then all are entered at once, or none.
 */
#include "runtime/sentry/task/clone.h"

#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>
#include <sched.h>

/* The caller's rights over what belongs to `owner`, and over its own user namespace. */
static bool may_enter(const struct cred *c, const struct userns *owner)
{
    return cred_capable_in(c, owner, CAP_SYS_ADMIN) && cred_capable_own(c, CAP_SYS_ADMIN);
}

static int enter_userns(struct task *t, const struct setns_target *to, struct cred **ret)
{
    struct userns *ns = to->cred->userns;
    struct cred *c;

    if (ns == t->cred->userns || t->process->n_threads > 1 || t->fs->ref.n > 1)
        return -EINVAL;
    if (!cred_capable_in(t->cred, ns, CAP_SYS_ADMIN))
        return -EPERM;
    c = cred_copy(t->cred);
    if (!c)
        return -ENOMEM;
    if (c->userns)
        userns_put(c->userns);
    c->userns = ns ? userns_get(ns) : NULL;
    c->permitted = c->effective = c->bounding = CAP_ALL;
    c->inheritable = c->ambient = 0;
    c->securebits = 0;
    *ret = c;
    return 0;
}

/* Below the caller's own, or that itself. */
static bool pidns_within(const struct pidns *ns, const struct pidns *of)
{
    while (ns && ns != of)
        ns = ns->parent;
    return ns == of;
}

/* Into the copy n of the caller's namespaces. c: the credentials that it will have. */
static int enter_each(struct task *t, const struct setns_target *to, const struct cred *c,
                      struct namespaces *n)
{
    const struct namespaces *all = to->all;
    const struct userns *owner = to->cred->userns; /* where the kind does not say itself */

    if (to->types & CLONE_NEWNS) {
        if (!may_enter(c, all->mnt->userns) || !cred_capable_own(c, CAP_SYS_CHROOT))
            return -EPERM;
        if (t->fs->ref.n > 1)
            return -EINVAL;
        mntns_put(n->mnt);
        n->mnt = mntns_get(all->mnt);
    }
    if (to->types & CLONE_NEWUTS) {
        if (!may_enter(c, all->uts->userns))
            return -EPERM;
        utsns_put(n->uts);
        n->uts = utsns_get(all->uts);
    }
    if (to->types & CLONE_NEWIPC) {
        if (!may_enter(c, owner))
            return -EPERM;
        ipcns_put(n->ipc);
        n->ipc = ipcns_get(all->ipc);
    }
    if (to->types & CLONE_NEWNET) {
        if (!may_enter(c, all->net->userns))
            return -EPERM;
        netns_put(n->net);
        n->net = netns_get(all->net);
    }
    if (to->types & CLONE_NEWPID) {
        if (!may_enter(c, owner))
            return -EPERM;
        if (!pidns_within(to->pidns, task_pidns(t)))
            return -EINVAL;
        pidns_put(n->pid_for_children);
        n->pid_for_children = pidns_get(to->pidns);
    }
    return (to->types & CLONE_NEWCGROUP) && !may_enter(c, owner) ? -EPERM : 0;
}

/* The root of the mount namespace becomes root and working directory. */
static void go_to_root(struct task *t, struct mntns *ns)
{
    struct path root = {.mount = ns->root, .dentry = ns->root->root}, cwd = root;

    path_get(&root);
    path_get(&cwd);
    vfs_set_fs_path(t->fs, &t->fs->root, &root);
    vfs_set_fs_path(t->fs, &t->fs->cwd, &cwd);
    path_put(&root);
    path_put(&cwd);
}

long task_setns(struct task *t, const struct setns_target *to)
{
    struct namespaces *n = namespaces_copy(t->ns), *old = t->ns;
    struct cred *cred = NULL;
    int r = n ? 0 : -ENOMEM;

    if (r == 0 && (to->types & CLONE_NEWUSER))
        r = enter_userns(t, to, &cred);
    if (r == 0)
        r = enter_each(t, to, cred ? cred : t->cred, n);
    if (r < 0) {
        namespaces_put(n);
        cred_put(cred);
        return r;
    }
    mutex_lock(&g_tasks_lock);
    t->ns = n;
    mutex_unlock(&g_tasks_lock);
    if (to->types & CLONE_NEWNS)
        go_to_root(t, n->mnt);
    namespaces_put(old);
    if (cred)
        task_set_cred(t, cred);
    return 0;
}
