#include "runtime/sentry/task/access.h"

#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"

bool task_may_access_locked(const struct task *t, const struct task *target, enum access_by by)
{
    const struct cred *c = t->cred, *tc = target->cred;
    uint32_t uid, gid;

    if (t->process == target->process)
        return true;
    if (!c || !tc)
        return false;
    if (cred_capable_in(c, tc->userns, CAP_SYS_PTRACE))
        return true;
    uid = by == ACCESS_BY_FSIDS ? c->fsuid : c->uid;
    gid = by == ACCESS_BY_FSIDS ? c->fsgid : c->gid;
    return uid == tc->uid && uid == tc->euid && uid == tc->suid && gid == tc->gid &&
           gid == tc->egid && gid == tc->sgid && c->userns == tc->userns &&
           !(tc->permitted & ~c->permitted) && (!target->mm || target->mm->dumpable);
}
