#pragma once
/*
 * POSIX access control lists (acl(5)), kept as the extended attributes system.posix_acl_access and
 * system.posix_acl_default in the form that xattr calls exchange. Only file systems that say
 * SUPER_ACL keep them; inode->acl says which an inode has, so that an inode without pays one load.
 *
 * Ids are stored as the sandbox's own and are translated for the user namespace of who asks.
 */
#include "runtime/sentry/vfs/inode.h"

struct inode_new;

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_CAPS    "security.capability"

enum { ACL_ENTRIES_MAX = 128 };
/* Bits of inode->acl. The last one is no list: rights that a program gets (security.capability). */
enum acl_kind { ACL_HAS_ACCESS = 1, ACL_HAS_DEFAULT = 2, ACL_HAS_CAPS = 4 };

bool acl_is_name(const char *name);
/* For the store: the attribute `name` of i, of `size` bytes, is there now, or (size 0) gone. */
void acl_stored(struct inode *i, const char *name, size_t size);

/* As vfs_getxattr, vfs_setxattr (size 0 removes) of one of the two names. */
ssize_t acl_getxattr(struct task *t, struct inode *i, const char *name, void *value, size_t size);
int acl_setxattr(struct task *t, struct inode *i, const char *name, const void *value, size_t size);

/* May t, who is not i's owner, do mask? 0, -EACCES, or -EAGAIN: the list says nothing, the mode
 * decides. Only for inodes that have an access list. */
int acl_permission(const struct task *t, const struct inode *i, int mask);
/* The mode of i was changed by chmod: its list follows. */
int acl_chmod(struct task *t, struct inode *i);

/* Something is made in dir: applies the umask or the directory's default list to what->mode. */
void acl_new_mode(struct task *t, struct inode *dir, struct inode_new *what);
/* It was made: gives it what it inherits. */
int acl_inherit(struct inode *dir, struct inode *made);
