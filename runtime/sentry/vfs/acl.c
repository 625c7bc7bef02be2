#include "runtime/sentry/vfs/acl.h"

#include "runtime/sentry/task/task.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <string.h>

enum { ACL_VERSION = 2 };
enum acl_tag {
    TAG_USER_OBJ = 1,
    TAG_USER = 2,
    TAG_GROUP_OBJ = 4,
    TAG_GROUP = 8,
    TAG_MASK = 16,
    TAG_OTHER = 32
};

/* The form in which xattr calls exchange it. */
struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};

struct acl {
    uint32_t version;
    struct acl_entry e[ACL_ENTRIES_MAX];
};

static size_t acl_size(unsigned n)
{
    return sizeof(uint32_t) + n * sizeof(struct acl_entry);
}

static enum acl_kind kind_of(const char *name)
{
    if (strcmp(name, ACL_CAPS) == 0)
        return ACL_HAS_CAPS;
    return strcmp(name, ACL_ACCESS) == 0 ? ACL_HAS_ACCESS : ACL_HAS_DEFAULT;
}

bool acl_is_name(const char *name)
{
    return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

void acl_stored(struct inode *i, const char *name, size_t size)
{
    if (!acl_is_name(name) && strcmp(name, ACL_CAPS) != 0)
        return;
    if (size)
        (void)__atomic_or_fetch(&i->acl, kind_of(name), __ATOMIC_RELEASE);
    else
        (void)__atomic_and_fetch(&i->acl, ~(unsigned)kind_of(name), __ATOMIC_RELEASE);
}

static bool has(const struct inode *i, enum acl_kind kind)
{
    return __atomic_load_n(&i->acl, __ATOMIC_ACQUIRE) & kind;
}

/* Entries, 0 if there is no such list. */
static int load(struct inode *i, enum acl_kind kind, struct acl *ret)
{
    const char *name = kind == ACL_HAS_ACCESS ? ACL_ACCESS : ACL_DEFAULT;
    ssize_t n = has(i, kind) ? i->ops->getxattr(i, name, ret, sizeof(*ret)) : -ENODATA;

    if (n == -ENODATA)
        return 0;
    return n < 0 ? (int)n : (int)(((size_t)n - sizeof(uint32_t)) / sizeof(struct acl_entry));
}

static int store(struct inode *i, enum acl_kind kind, const struct acl *a, unsigned n)
{
    const char *name = kind == ACL_HAS_ACCESS ? ACL_ACCESS : ACL_DEFAULT;

    if (n)
        return i->ops->setxattr(i, name, a, acl_size(n), 0);
    if (!has(i, kind))
        return 0;
    return i->ops->removexattr(i, name);
}

/* The entry of one of the classes that each list has, or its mask (without one: otherwise). */
static struct acl_entry *entry(struct acl *a, unsigned n, enum acl_tag tag, enum acl_tag otherwise)
{
    unsigned at = 0;

    for (unsigned k = 0; k < n; k++)
        if (a->e[k].tag == tag || (a->e[k].tag == otherwise && a->e[at].tag != tag))
            at = k;
    return &a->e[at];
}

static struct acl_entry *of_class(struct acl *a, unsigned n, enum acl_tag tag)
{
    return entry(a, n, tag, tag);
}

/* What the mode's group bits stand for. */
static struct acl_entry *group_class(struct acl *a, unsigned n)
{
    return entry(a, n, TAG_MASK, TAG_GROUP_OBJ);
}

static bool translate(const struct userns *ns, struct acl_entry *e, bool in)
{
    if (e->tag == TAG_USER)
        e->id = in ? uid_to_kernel(ns, e->id) : uid_from_kernel(ns, e->id);
    else if (e->tag == TAG_GROUP)
        e->id = in ? gid_to_kernel(ns, e->id) : gid_from_kernel(ns, e->id);
    else
        e->id = ID_INVALID;
    return e->id != ID_INVALID || (e->tag != TAG_USER && e->tag != TAG_GROUP);
}

/* Sorted by tag; each of the three classes once; a mask, at most one, as soon as there is a named
 * entry. */
static bool well_formed(const struct acl *a, unsigned n)
{
    unsigned seen = 0, last = 0;

    for (unsigned k = 0; k < n; k++) {
        unsigned tag = a->e[k].tag;
        bool named = tag == TAG_USER || tag == TAG_GROUP;

        if (!tag || tag > TAG_OTHER || (tag & (tag - 1)) || (a->e[k].perm & ~7U))
            return false;
        if (tag < last || (tag == last && !named))
            return false;
        seen |= tag;
        last = tag;
    }
    if ((seen & (TAG_USER_OBJ | TAG_GROUP_OBJ | TAG_OTHER)) !=
        (TAG_USER_OBJ | TAG_GROUP_OBJ | TAG_OTHER))
        return false;
    return !(seen & (TAG_USER | TAG_GROUP)) || (seen & TAG_MASK);
}

/* Entries of what a guest gave, or -errno. */
static int parse(const struct userns *ns, const void *value, size_t size, struct acl *ret)
{
    unsigned n;

    if (size < sizeof(uint32_t) || (size - sizeof(uint32_t)) % sizeof(struct acl_entry))
        return -EINVAL;
    n = (unsigned)((size - sizeof(uint32_t)) / sizeof(struct acl_entry));
    memcpy(&ret->version, value, sizeof(ret->version));
    if (ret->version != ACL_VERSION)
        return -EOPNOTSUPP;
    if (n > ACL_ENTRIES_MAX)
        return -ENOSPC;
    memcpy(ret->e, (const char *)value + sizeof(uint32_t), n * sizeof(struct acl_entry));
    for (unsigned k = 0; k < n; k++)
        if (!translate(ns, &ret->e[k], true))
            return -EINVAL;
    return n && !well_formed(ret, n) ? -EINVAL : (int)n;
}

static uint32_t mode_of(struct acl *a, unsigned n)
{
    return ((uint32_t)of_class(a, n, TAG_USER_OBJ)->perm << 6) |
           ((uint32_t)group_class(a, n)->perm << 3) | of_class(a, n, TAG_OTHER)->perm;
}

/* The list says what the mode of a file says: owner, group class, others. */
static void set_mode(struct acl *a, unsigned n, uint32_t mode)
{
    of_class(a, n, TAG_USER_OBJ)->perm = mode >> 6 & 7;
    group_class(a, n)->perm = mode >> 3 & 7;
    of_class(a, n, TAG_OTHER)->perm = mode & 7;
}

static int change_mode(struct task *t, struct inode *i, uint32_t mode)
{
    struct attr_change c = {.mask = ATTR_MODE, .mode = (i->mode & 07000) | mode};

    if (!task_in_group(t, i->gid) && !inode_capable(t, i, CAP_FSETID))
        c.mode &= ~(uint32_t)S_ISGID;
    if (i->ops->setattr)
        return i->ops->setattr(t, i, &c);
    inode_apply(i, &c);
    return 0;
}

/* ---- the attributes ---------------------------------------------------------------------------*/
static int usable(const struct inode *i)
{
    return (i->super->flags & SUPER_ACL) && !S_ISLNK(i->mode) ? 0 : -EOPNOTSUPP;
}

static const struct userns *userns_of(const struct task *t)
{
    return t ? t->cred->userns : NULL;
}

ssize_t acl_getxattr(struct task *t, struct inode *i, const char *name, void *value, size_t size)
{
    struct acl a;
    int n = usable(i);

    if (n == 0)
        n = load(i, kind_of(name), &a);
    if (n <= 0)
        return n < 0 ? n : -ENODATA;
    if (size && size < acl_size((unsigned)n))
        return -ERANGE;
    for (int k = 0; k < n; k++)
        (void)translate(userns_of(t), &a.e[k], false);
    if (size)
        memcpy(value, &a, acl_size((unsigned)n));
    return (ssize_t)acl_size((unsigned)n);
}

int acl_setxattr(struct task *t, struct inode *i, const char *name, const void *value, size_t size)
{
    enum acl_kind kind = kind_of(name);
    struct acl a;
    int r, n;

    r = usable(i);
    if (r < 0)
        return r;
    n = size ? parse(userns_of(t), value, size, &a) : 0;
    if (n < 0)
        return n;
    if (kind == ACL_HAS_DEFAULT && !S_ISDIR(i->mode))
        return n ? -EACCES : 0;
    if (!inode_owner_or_capable(t, i))
        return -EPERM;
    if (kind == ACL_HAS_ACCESS) {
        r = change_mode(t, i, n ? mode_of(&a, (unsigned)n) : i->mode & 0777);
        if (n == 3) /* says nothing that the mode doesn't */
            n = 0;
    }
    return r < 0 ? r : store(i, kind, &a, (unsigned)n);
}

/* ---- what it allows ---------------------------------------------------------------------------*/
static bool in_group(const struct task *t, const struct inode *i, const struct acl_entry *e)
{
    return cred_in_group(t->cred, e->tag == TAG_GROUP_OBJ ? i->gid : e->id);
}

static int masked(struct acl *a, unsigned n, const struct acl_entry *e, unsigned want)
{
    const struct acl_entry *mask = entry(a, n, TAG_MASK, TAG_MASK);
    unsigned limit = mask->tag == TAG_MASK ? mask->perm : 7U;

    return (e->perm & limit & want) == want ? 0 : -EACCES;
}

int acl_permission(const struct task *t, const struct inode *i, int mask)
{
    unsigned want = (unsigned)mask & 7;
    bool group_found = false;
    struct acl a;
    int n = load((struct inode *)(uintptr_t)i, ACL_HAS_ACCESS, &a);

    if (n <= 0)
        return n < 0 ? -EACCES : -EAGAIN;
    for (int k = 0; k < n; k++) {
        const struct acl_entry *e = &a.e[k];

        if (e->tag == TAG_USER && e->id == t->cred->fsuid)
            return masked(&a, (unsigned)n, e, want);
        if ((e->tag == TAG_GROUP_OBJ || e->tag == TAG_GROUP) && in_group(t, i, e)) {
            group_found = true;
            if ((e->perm & want) == want)
                return masked(&a, (unsigned)n, e, want);
        }
    }
    if (group_found)
        return -EACCES;
    return (of_class(&a, (unsigned)n, TAG_OTHER)->perm & want) == want ? 0 : -EACCES;
}

int acl_chmod(struct task *t, struct inode *i)
{
    struct acl a;
    int n = load(i, ACL_HAS_ACCESS, &a);

    (void)t;
    if (n <= 0)
        return n;
    set_mode(&a, (unsigned)n, i->mode);
    return store(i, ACL_HAS_ACCESS, &a, (unsigned)n);
}

/* ---- what is made -----------------------------------------------------------------------------*/
void acl_new_mode(struct task *t, struct inode *dir, struct inode_new *what)
{
    struct acl a;
    int n = load(dir, ACL_HAS_DEFAULT, &a);

    if (n <= 0)
        what->mode &= ~task_umask(t);
    else
        what->mode &= ~0777U | mode_of(&a, (unsigned)n);
}

int acl_inherit(struct inode *dir, struct inode *made)
{
    struct acl a;
    int n = S_ISLNK(made->mode) ? 0 : load(dir, ACL_HAS_DEFAULT, &a), r = 0;

    if (n <= 0)
        return n;
    if (S_ISDIR(made->mode))
        r = store(made, ACL_HAS_DEFAULT, &a, (unsigned)n);
    if (r < 0 || n == 3)
        return r;
    set_mode(&a, (unsigned)n, made->mode);
    return store(made, ACL_HAS_ACCESS, &a, (unsigned)n);
}
