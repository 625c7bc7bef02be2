#pragma once
/* User namespaces: id maps between what a guest namespace calls an id and the sandbox's own
 * ("kernel") ids. */
#include "runtime/sentry/ref.h"
#include "runtime/sentry/task/cred.h"

enum { ID_RANGES = 5 };
#define ID_INVALID  UINT32_MAX
#define ID_OVERFLOW 65534U

struct idmap {
    unsigned n;
    struct {
        uint32_t inside, kernel, count;
    } range[ID_RANGES];
};

struct userns {
    struct ref ref;
    struct userns *parent; /* reference; NULL: child of the sandbox's initial one */
    unsigned level;
    uint32_t owner, owner_gid;
    struct idmap uids, gids; /* written once, under g_tasks_lock */
    bool setgroups_allowed;
    uint64_t ino;
};

struct userns *userns_new(struct userns *parent, const struct cred *owner);
uint32_t idmap_to_kernel(const struct idmap *m, uint32_t id);
uint32_t idmap_from_kernel(const struct idmap *m, uint32_t id);
/* ns NULL: the initial one. to: ID_INVALID if not mapped; from: ID_OVERFLOW. */
uint32_t uid_to_kernel(const struct userns *ns, uint32_t id);
uint32_t gid_to_kernel(const struct userns *ns, uint32_t id);
uint32_t uid_from_kernel(const struct userns *ns, uint32_t id);
uint32_t gid_from_kernel(const struct userns *ns, uint32_t id);
/* Does c have cap over ns (an ancestor's capability or the owner's counts)? */
bool cred_capable_in(const struct cred *c, const struct userns *ns, int cap);
