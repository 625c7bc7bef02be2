/* unshare(2) and the making of namespaces (namespaces(7), user_namespaces(7)). */
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/clone.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/mount.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

int cred_enter_new_userns(struct task *t, struct cred **ret)
{
    struct cred *c = cred_copy(t->cred);
    struct userns *ns;

    if (!c)
        return -ENOMEM;
    ns = userns_new(c->userns, c);
    if (!ns) {
        cred_put(c);
        return -ENOSPC;
    }
    if (c->userns)
        userns_put(c->userns);
    c->userns = ns;
    c->permitted = c->effective = c->bounding = CAP_ALL;
    c->inheritable = c->ambient = 0;
    c->securebits = 0;
    *ret = c;
    return 0;
}

static int replace_each(struct namespaces *n, uint64_t flags, struct fs_context *fs,
                        struct userns *owner)
{
    if (flags & CLONE_NEWUTS) {
        struct utsns *fresh = utsns_new(n->uts);

        if (!fresh)
            return -ENOMEM;
        utsns_put(n->uts);
        fresh->userns = owner ? userns_get(owner) : NULL;
        n->uts = fresh;
    }
    if (flags & CLONE_NEWPID) {
        struct pidns *fresh = pidns_new(n->pid_for_children);

        if (!fresh)
            return -ENOSPC;
        pidns_put(n->pid_for_children);
        n->pid_for_children = fresh;
    }
    if (flags & CLONE_NEWNS) {
        struct mntns *fresh = mntns_clone(n->mnt, &fs->root, &fs->cwd);

        if (!fresh)
            return -ENOMEM;
        mntns_put(n->mnt);
        mntns_set_userns(fresh, owner);
        n->mnt = fresh;
    }
    if (flags & CLONE_NEWIPC) {
        struct ipcns *fresh = ipcns_new();

        if (!fresh)
            return -ENOMEM;
        ipcns_put(n->ipc);
        n->ipc = fresh;
    }
    if (flags & CLONE_NEWNET) {
        struct netns *fresh = netns_new(true);

        if (!fresh)
            return -ENOMEM;
        netns_put(n->net);
        fresh->userns = owner ? userns_get(owner) : NULL;
        n->net = fresh;
    }
    return 0;
}

int namespaces_unshare(struct task *t, uint64_t flags, struct fs_context *fs, struct cred **cred,
                       struct namespaces **ret)
{
    const uint64_t privileged =
        CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
    struct namespaces *n;
    int r;

    *cred = NULL;
    if (flags & CLONE_NEWUSER) {
        r = cred_enter_new_userns(t, cred);
        if (r < 0)
            return r;
    } else if ((flags & privileged) && !cred_capable_own(t->cred, CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if (!(flags & privileged)) {
        *ret = namespaces_get(t->ns);
        return 0;
    }
    n = namespaces_copy(t->ns);
    r = n ? replace_each(n, flags, fs, *cred ? (*cred)->userns : t->cred->userns) : -ENOMEM;
    if (r < 0) {
        namespaces_put(n);
        cred_put(*cred);
        *cred = NULL;
        return r;
    }
    *ret = n;
    return 0;
}

long task_unshare(struct task *t, uint64_t flags)
{
    struct namespaces *ns, *old_ns = t->ns;
    struct fs_context *fs = t->fs, *own_fs = NULL;
    struct fdtable *files = NULL, *old_files = t->files;
    struct cred *cred;
    int r;

    if (flags & ~(uint64_t)(CLONE_FS | CLONE_FILES | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                            CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP |
                            CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_SYSVSEM))
        return -EINVAL;
    if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER)) &&
        t->process->n_threads > 1)
        return -EINVAL;
    if (((flags & (CLONE_FS | CLONE_NEWNS | CLONE_NEWUSER))) && fs->ref.n > 1) {
        own_fs = fs_context_copy(fs);
        if (!own_fs)
            return -ENOMEM;
    }
    r = namespaces_unshare(t, flags, own_fs ? own_fs : fs, &cred, &ns);
    if (r < 0) {
        fs_context_put(own_fs);
        return r;
    }
    if ((flags & CLONE_FILES) && fdtable_shared(old_files))
        files = fdtable_clone(old_files);
    mutex_lock(&g_tasks_lock);
    t->ns = ns;
    if (own_fs)
        t->fs = own_fs;
    if (files)
        t->files = files;
    mutex_unlock(&g_tasks_lock);
    namespaces_put(old_ns);
    if (own_fs)
        fs_context_put(fs);
    if (files)
        fdtable_put(t, old_files);
    if (cred)
        task_set_cred(t, cred);
    return 0;
}
