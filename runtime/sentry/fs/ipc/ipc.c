/* SysV ipc: ids, keys and permissions; see ipc.h. */
#include "runtime/sentry/fs/ipc/ipc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_OF(id) ((unsigned)(id) & (IPC_IDS_MAX - 1))

int ipc_permission(const struct task *t, const struct ipc_object *o, unsigned want)
{
    const struct cred *c = t->cred;
    unsigned bits = o->mode;

    want = (want >> 6 | want >> 3 | want) & 07;
    if (c->euid == o->cuid || c->euid == o->uid)
        bits >>= 6;
    else if (c->egid == o->cgid || c->egid == o->gid || cred_in_group(c, o->gid) ||
             cred_in_group(c, o->cgid))
        bits >>= 3;
    if (want & ~bits & 07)
        return cred_capable(c, CAP_IPC_OWNER) ? 0 : -EACCES;
    return 0;
}

int ipc_owner(const struct task *t, const struct ipc_object *o)
{
    const struct cred *c = t->cred;

    if (c->euid == o->cuid || c->euid == o->uid || cred_capable(c, CAP_SYS_ADMIN))
        return 0;
    return -EPERM;
}

struct ipc_object *ipc_by_index(const struct ipc_table *tab, int index)
{
    return index >= 0 && (unsigned)index < tab->n_slots ? tab->slots[index] : NULL;
}

struct ipc_object *ipc_by_id(const struct ipc_table *tab, int id)
{
    struct ipc_object *o = id < 0 ? NULL : ipc_by_index(tab, (int)SLOT_OF(id));

    return o && o->id == id ? o : NULL;
}

int ipc_find(const struct ipc_table *tab, int key, int flags, struct ipc_object **ret)
{
    for (unsigned i = 0; key != IPC_PRIVATE && i < tab->n_slots; i++) {
        struct ipc_object *o = tab->slots[i];

        if (!o || o->key != key)
            continue;
        if (flags & IPC_CREAT && flags & IPC_EXCL)
            return -EEXIST;
        *ret = o;
        return 1;
    }
    if (key != IPC_PRIVATE && !(flags & IPC_CREAT))
        return -ENOENT;
    return tab->count >= tab->limit ? -ENOSPC : 0;
}

int ipc_may_get(const struct task *t, const struct ipc_object *o, int flags)
{
    return ipc_permission(t, o, (unsigned)flags & 0777) < 0 ? -EACCES : o->id;
}

static int grow(struct ipc_table *tab)
{
    unsigned n = tab->n_slots ? tab->n_slots * 2 : 16;
    struct ipc_object **s;

    if (tab->n_slots >= IPC_IDS_MAX)
        return -ENOSPC;
    s = realloc(tab->slots, n * sizeof(struct ipc_object *));
    if (!s)
        return -ENOMEM;
    memset(s + tab->n_slots, 0, (n - tab->n_slots) * sizeof(struct ipc_object *));
    tab->slots = s;
    tab->n_slots = n;
    return 0;
}

int ipc_add(const struct task *t, struct ipc_table *tab, struct ipc_object *o, int key, int flags)
{
    unsigned i;

    for (i = 0; i < tab->n_slots && tab->slots[i]; i++)
        ;
    if (i == tab->n_slots) {
        int r = grow(tab);

        if (r < 0)
            return r;
    }
    o->key = key;
    o->uid = o->cuid = t->cred->euid;
    o->gid = o->cgid = t->cred->egid;
    o->mode = (unsigned)flags & 0777;
    o->seq = tab->seq;
    tab->seq = (tab->seq + 1) & 0xffff;
    o->id = (int)(o->seq << IPC_SEQ_SHIFT | i) & INT32_MAX;
    tab->slots[i] = o;
    tab->count++;
    return o->id;
}

void ipc_remove(struct ipc_table *tab, struct ipc_object *o)
{
    tab->slots[SLOT_OF(o->id)] = NULL;
    tab->count--;
}

int ipc_max_index(const struct ipc_table *tab)
{
    unsigned i = tab->n_slots;

    while (i && !tab->slots[i - 1])
        i--;
    return i ? (int)i - 1 : 0;
}

void ipc_to_perm(const struct ipc_object *o, struct l_ipc_perm *ret)
{
    *ret = (struct l_ipc_perm){.key = o->key,
                               .uid = o->uid,
                               .gid = o->gid,
                               .cuid = o->cuid,
                               .cgid = o->cgid,
                               .mode = o->mode,
                               .seq = (uint16_t)o->seq};
}

int ipc_set(const struct task *t, struct ipc_object *o, const struct l_ipc_perm *p)
{
    if (ipc_owner(t, o) < 0)
        return -EPERM;
    o->uid = p->uid;
    o->gid = p->gid;
    o->mode = (o->mode & ~0777U) | (p->mode & 0777);
    return 0;
}
