/* How credentials change at execve (credentials(7), capabilities(7)). */
#include "runtime/sentry/task/exec_cred.h"

#include "runtime/sentry/container_spec.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/xattr.h>

struct file_caps {
    capset_t permitted, inheritable;
    bool effective;
};

/* struct vfs_cap_data, revisions 2 and 3. */
static bool read_file_caps(struct file *f, struct file_caps *ret)
{
    struct {
        uint32_t magic, permitted_lo, inheritable_lo, permitted_hi, inheritable_hi, rootid;
    } raw;
    ssize_t n = vfs_file_caps(f, &raw, sizeof(raw));
    uint32_t revision;

    if (n < 20)
        return false;
    revision = raw.magic & 0xff000000U;
    if (revision != 0x02000000U && (revision != 0x03000000U || n < 24 || raw.rootid != 0))
        return false;
    ret->permitted = (raw.permitted_lo | (uint64_t)raw.permitted_hi << 32) & CAP_ALL;
    ret->inheritable = (raw.inheritable_lo | (uint64_t)raw.inheritable_hi << 32) & CAP_ALL;
    ret->effective = raw.magic & 1;
    return true;
}

/* A program whose owner or group has no number in the namespace is nobody's to become there. */
static bool knows_ids(const struct userns *ns, const struct inode *i)
{
    return !ns || (i && idmap_from_kernel(&ns->uids, i->uid) != ID_INVALID &&
                   idmap_from_kernel(&ns->gids, i->gid) != ID_INVALID);
}

int exec_new_cred(struct task *t, struct file *f, uint32_t setuid, uint32_t setgid,
                  struct cred **ret)
{
    struct cred *c = cred_copy(t->cred);
    struct file_caps caps = {0};
    bool has_caps = false, set_id, root;
    capset_t old_permitted;

    if (!c)
        return -ENOMEM;
    old_permitted = c->permitted;
    if (t->no_new_privs || t->traced || !knows_ids(c->userns, f->inode))
        setuid = setgid = UINT32_MAX;
    /* A file's capabilities are those of the sandbox's root: not of another namespace's. */
    if (!t->no_new_privs && !t->traced && uid_to_kernel(c->userns, 0) == 0)
        has_caps = read_file_caps(f, &caps);
    if (setuid != UINT32_MAX)
        c->euid = setuid;
    if (setgid != UINT32_MAX)
        c->egid = setgid;
    set_id = c->euid != t->cred->euid || c->egid != t->cred->egid;
    c->suid = c->fsuid = c->euid;
    c->sgid = c->fsgid = c->egid;
    root = !(c->securebits & SECBIT_NOROOT) && (c->euid == 0 || c->uid == 0) && !c->userns;
    if (c->userns && !(c->securebits & SECBIT_NOROOT))
        root = cred_is_namespace_root(c);
    if (set_id || has_caps)
        c->ambient = 0;
    if (root && !(has_caps && c->uid != 0 && c->euid == 0)) {
        c->permitted = c->inheritable | c->bounding;
        caps.effective = c->euid == 0 || cred_is_namespace_root(c);
    } else {
        c->permitted = (c->inheritable & caps.inheritable) | (caps.permitted & c->bounding);
        c->permitted |= c->ambient;
    }
    /* capabilities(7): a program that counts on what it can't have does not run. Not so for what
     * the sandbox took away (NET_RAW): ping has it on many systems, and does without. */
    if (has_caps && caps.effective && (caps.permitted & ~c->permitted & ~capabilities_withheld())) {
        cred_put(c);
        return -EPERM;
    }
    c->effective = caps.effective ? c->permitted : c->ambient;
    c->securebits &= ~(uint32_t)SECBIT_KEEP_CAPS;
    t->exec_gained_caps = (c->permitted & ~old_permitted) != 0 && c->uid != 0;
    *ret = c;
    return 0;
}
