/* setuid(2) and the whole family, groups, capabilities: as credentials(7) and capabilities(7) say.
 */
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"

#include <errno.h>
#include <linux/securebits.h>
#include <stdlib.h>

#define KEEP UINT32_MAX /* (uid_t)-1: leave as it is */

/* Effects of uid changes on capabilities (capabilities(7), "Effect of user ID changes"). */
static void adjust_caps(struct cred *c, const struct cred *old)
{
    bool was_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
    bool is_root = c->uid == 0 || c->euid == 0 || c->suid == 0;

    if (c->securebits & SECBIT_NO_SETUID_FIXUP)
        return;
    if (was_root && !is_root) {
        if (!(c->securebits & SECBIT_KEEP_CAPS))
            c->permitted = c->effective = 0;
        c->ambient = 0;
    }
    if (old->euid == 0 && c->euid != 0)
        c->effective = 0;
    if (old->euid != 0 && c->euid == 0)
        c->effective = c->permitted;
}

/* Of a change of the file system uid alone: the capabilities that are about files. */
static void adjust_file_caps(struct cred *c, const struct cred *old)
{
    const capset_t files = CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) |
                           CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_FOWNER) |
                           CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_LINUX_IMMUTABLE) | CAP_BIT(CAP_MKNOD) |
                           CAP_BIT(CAP_MAC_OVERRIDE);

    if (c->securebits & SECBIT_NO_SETUID_FIXUP)
        return;
    if (old->fsuid == 0 && c->fsuid != 0)
        c->effective &= ~files;
    if (old->fsuid != 0 && c->fsuid == 0)
        c->effective |= c->permitted & files;
}

static bool is_one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t d)
{
    return id == a || id == b || id == d;
}

static bool can(const struct task *t, int cap)
{
    return cred_capable_own(t->cred, cap);
}

/* Translates an id argument; false if it names nobody in t's namespace. */
static bool to_kernel(const struct task *t, uint64_t arg, bool group, uint32_t *ret)
{
    uint32_t id = (uint32_t)arg;

    *ret = id;
    if (id == KEEP)
        return true;
    *ret = group ? gid_to_kernel(t->cred->userns, id) : uid_to_kernel(t->cred->userns, id);
    return *ret != ID_INVALID;
}

static long publish_uid(struct task *t, struct cred *c)
{
    c->fsuid = c->euid;
    adjust_caps(c, t->cred);
    if (t->mm && c->euid != t->cred->euid)
        t->mm->dumpable = false;
    task_set_cred(t, c);
    return 0;
}

static long publish_gid(struct task *t, struct cred *c)
{
    c->fsgid = c->egid;
    task_set_cred(t, c);
    return 0;
}

long sys_setresuid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t id[3];
    struct cred *c;

    for (int i = 0; i < 3; i++) {
        if (!to_kernel(t, a->v[i], false, &id[i]))
            return -EINVAL;
        if (id[i] != KEEP && !is_one_of(id[i], o->uid, o->euid, o->suid) && !can(t, CAP_SETUID))
            return -EPERM;
    }
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    c->uid = id[0] == KEEP ? o->uid : id[0];
    c->euid = id[1] == KEEP ? o->euid : id[1];
    c->suid = id[2] == KEEP ? o->suid : id[2];
    return publish_uid(t, c);
}

long sys_setresgid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t id[3];
    struct cred *c;

    for (int i = 0; i < 3; i++) {
        if (!to_kernel(t, a->v[i], true, &id[i]))
            return -EINVAL;
        if (id[i] != KEEP && !is_one_of(id[i], o->gid, o->egid, o->sgid) && !can(t, CAP_SETGID))
            return -EPERM;
    }
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    c->gid = id[0] == KEEP ? o->gid : id[0];
    c->egid = id[1] == KEEP ? o->egid : id[1];
    c->sgid = id[2] == KEEP ? o->sgid : id[2];
    return publish_gid(t, c);
}

long sys_setuid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t id;
    struct cred *c;

    if (!to_kernel(t, a->v[0], false, &id) || id == KEEP)
        return -EINVAL;
    if (!can(t, CAP_SETUID) && id != o->uid && id != o->suid)
        return -EPERM;
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    c->euid = id;
    if (can(t, CAP_SETUID))
        c->uid = c->suid = id;
    return publish_uid(t, c);
}

long sys_setgid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t id;
    struct cred *c;

    if (!to_kernel(t, a->v[0], true, &id) || id == KEEP)
        return -EINVAL;
    if (!can(t, CAP_SETGID) && id != o->gid && id != o->sgid)
        return -EPERM;
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    c->egid = id;
    if (can(t, CAP_SETGID))
        c->gid = c->sgid = id;
    return publish_gid(t, c);
}

long sys_setreuid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t r, e;
    struct cred *c;

    if (!to_kernel(t, a->v[0], false, &r) || !to_kernel(t, a->v[1], false, &e))
        return -EINVAL;
    if (r != KEEP && r != o->uid && r != o->euid && !can(t, CAP_SETUID))
        return -EPERM;
    if (e != KEEP && !is_one_of(e, o->uid, o->euid, o->suid) && !can(t, CAP_SETUID))
        return -EPERM;
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    if (r != KEEP)
        c->uid = r;
    if (e != KEEP)
        c->euid = e;
    if (r != KEEP || (e != KEEP && e != o->uid))
        c->suid = c->euid;
    return publish_uid(t, c);
}

long sys_setregid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t r, e;
    struct cred *c;

    if (!to_kernel(t, a->v[0], true, &r) || !to_kernel(t, a->v[1], true, &e))
        return -EINVAL;
    if (r != KEEP && r != o->gid && r != o->egid && !can(t, CAP_SETGID))
        return -EPERM;
    if (e != KEEP && !is_one_of(e, o->gid, o->egid, o->sgid) && !can(t, CAP_SETGID))
        return -EPERM;
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    if (r != KEEP)
        c->gid = r;
    if (e != KEEP)
        c->egid = e;
    if (r != KEEP || (e != KEEP && e != o->gid))
        c->sgid = c->egid;
    return publish_gid(t, c);
}

long sys_setfsuid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t old = uid_from_kernel(o->userns, o->fsuid), id;
    struct cred *c;

    if (!to_kernel(t, a->v[0], false, &id) || id == KEEP || id == o->fsuid)
        return old;
    if (!is_one_of(id, o->uid, o->euid, o->suid) && !can(t, CAP_SETUID))
        return old;
    c = cred_copy(o);
    if (!c)
        return old;
    c->fsuid = id;
    adjust_file_caps(c, o);
    task_set_cred(t, c);
    return old;
}

long sys_setfsgid(struct task *t, const struct sysargs *a)
{
    const struct cred *o = t->cred;
    uint32_t old = gid_from_kernel(o->userns, o->fsgid), id;
    struct cred *c;

    if (!to_kernel(t, a->v[0], true, &id) || id == KEEP || id == o->fsgid)
        return old;
    if (!is_one_of(id, o->gid, o->egid, o->sgid) && !can(t, CAP_SETGID))
        return old;
    c = cred_copy(o);
    if (!c)
        return old;
    c->fsgid = id;
    task_set_cred(t, c);
    return old;
}

static long put_three(struct task *t, const struct sysargs *a, const uint32_t id[3])
{
    for (int i = 0; i < 3; i++)
        if (copy_out(t, a->v[i], &id[i], 4) < 0)
            return -EFAULT;
    return 0;
}

long sys_getresuid(struct task *t, const struct sysargs *a)
{
    const struct cred *c = t->cred;
    const uint32_t id[3] = {uid_from_kernel(c->userns, c->uid), uid_from_kernel(c->userns, c->euid),
                            uid_from_kernel(c->userns, c->suid)};

    return put_three(t, a, id);
}

long sys_getresgid(struct task *t, const struct sysargs *a)
{
    const struct cred *c = t->cred;
    const uint32_t id[3] = {gid_from_kernel(c->userns, c->gid), gid_from_kernel(c->userns, c->egid),
                            gid_from_kernel(c->userns, c->sgid)};

    return put_three(t, a, id);
}

long sys_getgroups(struct task *t, const struct sysargs *a)
{
    const struct cred *c = t->cred;
    int size = (int)a->v[0];

    if (size < 0)
        return -EINVAL;
    if (size == 0)
        return c->n_groups;
    if ((uint32_t)size < c->n_groups)
        return -EINVAL;
    for (uint32_t i = 0; i < c->n_groups; i++) {
        uint32_t id = gid_from_kernel(c->userns, c->groups[i]);

        if (copy_out_now(t, a->v[1] + i * 4UL, &id, 4) < 0)
            return -EFAULT;
    }
    return c->n_groups;
}

long sys_setgroups(struct task *t, const struct sysargs *a)
{
    uint64_t n = (uint32_t)a->v[0];
    uint32_t *groups = NULL;
    struct cred *c;

    if (!can(t, CAP_SETGID) ||
        (t->cred->userns && (!t->cred->userns->setgroups_allowed || !t->cred->userns->gids.n)))
        return -EPERM;
    if (n > NGROUPS_LIMIT)
        return -EINVAL;
    if (n) {
        groups = malloc(n * sizeof(*groups));
        if (!groups)
            return -ENOMEM;
        if (copy_in(t, groups, a->v[1], n * sizeof(*groups)) < 0) {
            free(groups);
            return -EFAULT;
        }
        for (uint64_t i = 0; i < n; i++) {
            groups[i] = gid_to_kernel(t->cred->userns, groups[i]);
            if (groups[i] == ID_INVALID) {
                free(groups);
                return -EINVAL;
            }
        }
    }
    c = cred_copy(t->cred);
    if (!c) {
        free(groups);
        return -ENOMEM;
    }
    free(c->groups);
    c->groups = groups;
    c->n_groups = (uint32_t)n;
    cred_sort_groups(c);
    task_set_cred(t, c);
    return 0;
}

/* ---- capabilities
 * ---------------------------------------------------------------------------------- */

/* Header check: number of 32-bit words a set has, or -errno (and the version we prefer is written
 * back). */
static int cap_version(struct task *t, gaddr_t at, struct __user_cap_header_struct *h)
{
    uint32_t preferred = _LINUX_CAPABILITY_VERSION_3;

    if (copy_in(t, h, at, sizeof(*h)) < 0)
        return -EFAULT;
    switch (h->version) {
    case _LINUX_CAPABILITY_VERSION_1:
        return 1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
        return 2;
    }
    return copy_out(t, at, &preferred, sizeof(preferred)) < 0 ? -EFAULT : -EINVAL;
}

long sys_capget(struct task *t, const struct sysargs *a)
{
    struct __user_cap_header_struct h;
    struct __user_cap_data_struct d[2];
    struct task *target;
    struct cred *c;
    int n = cap_version(t, a->v[0], &h);

    if (n < 0)
        return n == -EINVAL && !a->v[1] ? 0 : n;
    if (h.pid < 0)
        return -EINVAL;
    mutex_lock(&g_tasks_lock);
    target = h.pid ? task_find_locked(task_pidns(t), h.pid) : t;
    c = target ? cred_get(target->cred) : NULL;
    mutex_unlock(&g_tasks_lock);
    if (!c)
        return -ESRCH;
    for (int i = 0; i < 2; i++) {
        d[i].effective = (uint32_t)(c->effective >> (32 * i));
        d[i].permitted = (uint32_t)(c->permitted >> (32 * i));
        d[i].inheritable = (uint32_t)(c->inheritable >> (32 * i));
    }
    cred_put(c);
    if (!a->v[1])
        return 0;
    return copy_out(t, a->v[1], d, sizeof(d[0]) * (size_t)n);
}

long sys_capset(struct task *t, const struct sysargs *a)
{
    struct __user_cap_header_struct h;
    struct __user_cap_data_struct d[2] = {0};
    const struct cred *o = t->cred;
    capset_t e, p, i;
    struct cred *c;
    int n = cap_version(t, a->v[0], &h);

    if (n < 0)
        return n;
    if (h.pid && h.pid != task_tid(t))
        return -EPERM;
    if (copy_in(t, d, a->v[1], sizeof(d[0]) * (size_t)n) < 0)
        return -EFAULT;
    e = (d[0].effective | (uint64_t)d[1].effective << 32) & CAP_ALL;
    p = (d[0].permitted | (uint64_t)d[1].permitted << 32) & CAP_ALL;
    i = (d[0].inheritable | (uint64_t)d[1].inheritable << 32) & CAP_ALL;
    if ((p & ~o->permitted) || (e & ~p))
        return -EPERM;
    if ((i & ~(o->inheritable | o->permitted)) && !can(t, CAP_SETPCAP))
        return -EPERM;
    if (i & ~(o->inheritable | o->bounding))
        return -EPERM;
    c = cred_copy(o);
    if (!c)
        return -ENOMEM;
    c->effective = e;
    c->permitted = p;
    c->inheritable = i;
    c->ambient &= p & i;
    task_set_cred(t, c);
    return 0;
}
