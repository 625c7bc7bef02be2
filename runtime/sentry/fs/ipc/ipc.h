#pragma once
/*
 * What the three kinds of SysV objects have in common (svipc(7)): ids, keys, owners, permissions.
 * A table belongs to an ipc namespace; ns->lock guards it and its objects.
 */
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/task/task.h"

#include <sys/ipc.h>

enum { IPC_IDS_MAX = 32768, IPC_SEQ_SHIFT = 15 };

struct ipc_object {
    int key, id;
    uint32_t uid, gid, cuid, cgid, mode;
    unsigned seq;
};

struct ipc_table {
    struct ipc_object **slots;
    unsigned n_slots, count, limit;
    unsigned seq;
};

/* struct ipc64_perm of the guest. */
struct l_ipc_perm {
    int32_t key;
    uint32_t uid, gid, cuid, cgid, mode;
    uint16_t seq, pad2;
    uint32_t pad3;
    uint64_t unused[2];
};
_Static_assert(sizeof(struct l_ipc_perm) == 48, "ipc64_perm");

/* May t do what `want` (0444, 0222 bits) says? 0 or -EACCES. */
int ipc_permission(const struct task *t, const struct ipc_object *o, unsigned want);
/* Owner, creator or CAP_SYS_ADMIN: may change and remove. 0 or -EPERM. */
int ipc_owner(const struct task *t, const struct ipc_object *o);
/* The object with that id, or NULL (*ret_error -EINVAL or -EIDRM). */
struct ipc_object *ipc_by_id(const struct ipc_table *tab, int id);
/* By slot number, for *_STAT; NULL. */
struct ipc_object *ipc_by_index(const struct ipc_table *tab, int index);
/* xxxget(2)'s search. 1: *ret is the existing object; 0: one is to be made; or -ENOENT, -EEXIST,
 * -ENOSPC. Permission is left to the caller: sizes are looked at first (ipc_may_get). */
int ipc_find(const struct ipc_table *tab, int key, int flags, struct ipc_object **ret);
/* The id of an object found by ipc_find, or -EACCES. */
int ipc_may_get(const struct task *t, const struct ipc_object *o, int flags);
/* Puts a new object in: its id, or -ENOSPC, -ENOMEM. */
int ipc_add(const struct task *t, struct ipc_table *tab, struct ipc_object *o, int key, int flags);
void ipc_remove(struct ipc_table *tab, struct ipc_object *o);
int ipc_max_index(const struct ipc_table *tab);
void ipc_to_perm(const struct ipc_object *o, struct l_ipc_perm *ret);
int ipc_set(const struct task *t, struct ipc_object *o, const struct l_ipc_perm *p);
