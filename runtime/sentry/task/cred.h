#pragma once
/* Credentials: immutable once published (a change makes a copy), shared by reference. */
#include "runtime/sentry/ref.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct task;
struct userns;

typedef uint64_t capset_t;
#define CAP_BIT(c) (1ULL << (c))
#define CAP_ALL    (CAP_BIT(CAP_LAST_CAP + 1) - 1)
enum { NGROUPS_LIMIT = 65536 };

/* Ids are those of the sandbox's initial user namespace ("kernel ids"); namespaces translate at the
 * edge. */
struct cred {
    struct ref ref;
    uint32_t uid, euid, suid, fsuid, gid, egid, sgid, fsgid;
    capset_t permitted, effective, inheritable, bounding, ambient;
    uint32_t securebits;
    struct userns *userns; /* NULL: the sandbox's initial one */
    uint32_t n_groups;
    uint32_t *groups; /* sorted */
};

struct cred *cred_new(void);                  /* root with no capabilities */
struct cred *cred_copy(const struct cred *c); /* NULL: out of memory */
struct cred *cred_get(const struct cred *c);
void cred_put(struct cred *c);
/* Replaces t's credentials (t is current), taking over c. */
void task_set_cred(struct task *t, struct cred *c);
bool cred_in_group(const struct cred *c, uint32_t gid); /* fsgid or supplementary */
bool cred_capable(const struct cred *c, int cap);
bool capable(const struct task *t, int cap);
void cred_sort_groups(struct cred *c);
/* Has cap over c's own user namespace (unshare in it, mount ...). */
bool cred_capable_own(const struct cred *c, int cap);

struct userns *userns_get(struct userns *ns);
void userns_put(struct userns *ns);

/* euid is the root of c's user namespace. */
bool cred_is_namespace_root(const struct cred *c);
