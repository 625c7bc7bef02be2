/*
 * Names of unix sockets: nodes in the file system (the VFS makes and finds them; the node points at
 * the socket), and abstract names, which belong to the network namespace. As on Linux abstract
 * names of different types don't meet.
 */
#include "runtime/sentry/net/unix.h"

#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/inode.h"
#include "runtime/sentry/vfs/path.h"

#include <string.h>

enum { PATH_OFFSET = offsetof(struct sockaddr_un, sun_path), AUTOBIND_NAMES = 1 << 20 };

static int check_name(const struct sockname *name)
{
    if (name->size <= PATH_OFFSET || name->size > sizeof(struct sockaddr_un) ||
        name->sa.sa_family != AF_UNIX)
        return -EINVAL;
    return 0;
}

/* The path in a name, terminated. */
static void name_path(const struct sockname *name, char path[sizeof(struct sockaddr_un)])
{
    size_t size = name->size - PATH_OFFSET;

    memcpy(path, name->bytes + PATH_OFFSET, size);
    path[size] = '\0';
}

/* ---- abstract names ---------------------------------------------------------------------------
 */
static uint64_t abstract_hash(const struct sockname *name, int type)
{
    return hash_seeded(name->bytes, name->size) ^ hash_u64((uint64_t)type);
}

static struct unix_sock *abstract_find_locked(struct netns *ns, const struct sockname *name,
                                              int type)
{
    for (struct hash_node *n = hashmap_first(&ns->abstract, abstract_hash(name, type)); n;
         n = hashmap_next_same(n)) {
        struct unix_sock *u = hash_entry(n, struct unix_sock, abstract);

        if (u->s.type == type && u->addr->name.size == name->size &&
            !memcmp(u->addr->name.bytes, name->bytes, name->size))
            return u;
    }
    return NULL;
}

/* Publishes u under addr (reference taken over on success). */
static int abstract_add(struct unix_sock *u, struct unix_addr *addr)
{
    struct netns *ns = u->s.netns;
    int r = -EADDRINUSE;

    mutex_lock(&ns->lock);
    if (!abstract_find_locked(ns, &addr->name, u->s.type))
        r = hashmap_add(&ns->abstract, &u->abstract, abstract_hash(&addr->name, u->s.type));
    if (!r) {
        u->is_abstract = true;
        mutex_lock(&u->lock);
        u->addr = addr;
        mutex_unlock(&u->lock);
    }
    mutex_unlock(&ns->lock);
    return r;
}

static struct unix_addr *addr_new(const void *path, size_t size)
{
    struct unix_addr *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    ref_init(&a->ref);
    a->name.sa.sa_family = AF_UNIX;
    a->name.size = (socklen_t)(PATH_OFFSET + size);
    memcpy(a->name.bytes + PATH_OFFSET, path, size);
    return a;
}

int unix_autobind(struct unix_sock *u)
{
    struct netns *ns = u->s.netns;
    char text[8] = {0};
    struct unix_addr *a;
    int r = -ENOSPC;

    for (int i = 0; i < AUTOBIND_NAMES; i++) {
        uint32_t n = __atomic_add_fetch(&ns->autobind_next, 1, __ATOMIC_RELAXED);

        (void)snprintf(text + 1, sizeof(text) - 1, "%05x", n & (AUTOBIND_NAMES - 1));
        a = addr_new(text, 6);
        if (!a)
            return -ENOMEM;
        r = abstract_add(u, a);
        if (!r)
            return 0;
        unix_addr_put(a);
        if (r != -EADDRINUSE)
            return r;
    }
    return -ENOSPC;
}

/* ---- bind -------------------------------------------------------------------------------------
 */
static int bind_path(struct task *t, struct unix_sock *u, const struct sockname *name)
{
    char path[sizeof(struct sockaddr_un)];
    struct unix_addr *a;
    int r;

    name_path(name, path);
    a = addr_new(path, strlen(path) + 1);
    if (!a)
        return -ENOMEM;
    r = vfs_bind_socket(t, path, u, &u->path);
    if (r < 0) {
        unix_addr_put(a);
        return r == -EEXIST ? -EADDRINUSE : r;
    }
    mutex_lock(&u->lock);
    u->addr = a;
    mutex_unlock(&u->lock);
    return 0;
}

int unix_bind(struct task *t, struct socket *s, const struct sockname *name)
{
    struct unix_sock *u = unix_of(s);
    struct unix_addr *a;
    int r = 0;

    if (name->size != PATH_OFFSET || name->sa.sa_family != AF_UNIX)
        r = check_name(name);
    if (r < 0)
        return r;
    mutex_lock(&u->iolock); /* one bind at a time */
    if (u->addr) {
        r = name->size == PATH_OFFSET ? 0 : -EINVAL;
    } else if (name->size == PATH_OFFSET) {
        r = unix_autobind(u);
    } else if (name->bytes[PATH_OFFSET]) {
        r = bind_path(t, u, name);
    } else {
        a = addr_new(name->bytes + PATH_OFFSET, name->size - PATH_OFFSET);
        r = a ? abstract_add(u, a) : -ENOMEM;
        if (r < 0)
            unix_addr_put(a);
    }
    mutex_unlock(&u->iolock);
    return r;
}

void unix_unbind(struct unix_sock *u)
{
    struct inode *i = u->path.dentry ? u->path.dentry->inode : NULL;

    mutex_lock(&u->s.netns->lock);
    if (u->is_abstract)
        (void)hashmap_remove(&u->s.netns->abstract, &u->abstract);
    u->is_abstract = false;
    mutex_unlock(&u->s.netns->lock);
    if (!i)
        return;
    mutex_lock(&i->lock);
    if (i->socket == u)
        i->socket = NULL;
    mutex_unlock(&i->lock);
    path_put(&u->path);
}

/* ---- lookup -----------------------------------------------------------------------------------
 */
static int find_path(struct task *t, const struct sockname *name, int type, struct unix_sock **ret,
                     int *ret_host)
{
    char path[sizeof(struct sockaddr_un)];
    struct path p = {0};
    struct inode *i;
    int r;

    name_path(name, path);
    r = vfs_find_socket(t, path, &p);
    if (r < 0)
        return r;
    i = p.dentry->inode;
    mutex_lock(&i->lock);
    *ret = i->socket ? unix_get(i->socket) : NULL;
    mutex_unlock(&i->lock);
    if (!*ret && i->ops->connect) {
        r = i->ops->connect(i, type);
        if (r >= 0) {
            *ret_host = r;
            r = 0;
        }
    } else if (!*ret) {
        r = -ECONNREFUSED;
    }
    path_put(&p);
    return r;
}

int unix_find(struct task *t, struct netns *ns, const struct sockname *name, int type,
              struct unix_sock **ret, int *ret_host)
{
    struct unix_sock *u = NULL;
    int r = check_name(name);

    *ret_host = -1;
    if (r < 0)
        return r;
    if (name->bytes[PATH_OFFSET]) {
        r = find_path(t, name, type, &u, ret_host);
        if (r < 0)
            return r;
    } else {
        mutex_lock(&ns->lock);
        u = abstract_find_locked(ns, name, type);
        if (u)
            (void)unix_get(u); /* it leaves the table before its last reference goes */
        mutex_unlock(&ns->lock);
        if (!u)
            return -ECONNREFUSED;
    }
    if (u && u->s.type != type) {
        unix_put(u);
        return -EPROTOTYPE;
    }
    *ret = u;
    return 0;
}
