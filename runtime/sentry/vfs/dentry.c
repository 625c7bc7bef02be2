/*
 * The dentry cache: names of directories, with what lookup answered, negative answers included.
 *
 * All hashed dentries are on one LRU list from birth, held or not; the bound is on their number, so
 * a guest cannot make the sentry remember more names than DENTRY_CACHE_MAX beyond those it holds by
 * open files, directories and mounts. A dentry's reference count may fall to 0 without any lock as
 * long as it is cached (the LRU finds it); once it is not (DENTRY_UNCACHED), the last put frees it.
 */
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DENTRY_CACHE_MAX = 50000, DENTRY_RECLAIM_BATCH = 64, DENTRY_RECLAIM_SCAN = 512 };

struct mutex g_tree_lock = MUTEX_INIT;
static struct hashmap g_dentries = HASHMAP_INIT;
static struct list g_lru = LIST_INIT(g_lru); /* oldest first */
static size_t g_n_cached;

uint64_t dentry_hash(const struct dentry *dir, const char *name, size_t len)
{
    uint64_t h = (uint64_t)(uintptr_t)dir * 0x9e3779b97f4a7c15ULL, w;

    for (; len >= 8; len -= 8, name += 8) {
        memcpy(&w, name, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdULL;
        h ^= h >> 32;
    }
    for (w = len; len; len--)
        w = w << 8 | (uint8_t)name[len - 1];
    h = (h ^ w) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 29;
}

struct dentry *dentry_find_locked(struct dentry *dir, const char *name, size_t len, uint64_t hash)
{
    struct hash_node *n = hashmap_first(&g_dentries, hash);

    for (; n; n = hashmap_next_same(n)) {
        struct dentry *d = hash_entry(n, struct dentry, node);

        if (d->parent == dir && d->name_len == len && memcmp(d->name, name, len) == 0)
            return d;
    }
    return NULL;
}

static int set_name(struct dentry *d, const char *name, size_t len)
{
    d->name = d->inline_name;
    if (len >= sizeof(d->inline_name)) {
        d->name = malloc(len + 1);
        if (!d->name)
            return -ENOMEM;
    }
    memcpy(d->name, name, len);
    d->name[len] = '\0';
    d->name_len = (unsigned)len;
    return 0;
}

static struct dentry *alloc(struct super *s, const char *name, size_t len)
{
    struct dentry *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    if (set_name(d, name, len) < 0) {
        free(d);
        return NULL;
    }
    d->ref.n = 1 | DENTRY_UNCACHED;
    d->super = s;
    d->parent = d;
    list_init(&d->lru);
    list_init(&d->children);
    list_init(&d->child_link);
    return d;
}

static void free_dentry(struct dentry *d)
{
    if (d->name != d->inline_name)
        free(d->name);
    free(d);
}

struct dentry *dentry_new_root(struct super *s, struct inode *root)
{
    struct dentry *d = alloc(s, "/", 1);

    if (!d)
        inode_put(root);
    else
        d->inode = root;
    return d;
}

struct dentry *dentry_new_anonymous(struct super *s, struct inode *i, const char *name)
{
    struct dentry *d = alloc(s, name, strnlen(name, NAME_MAX));

    if (!d)
        inode_put(i);
    else
        d->inode = i;
    return d;
}

struct dentry *dentry_alloc(struct dentry *dir, const char *name, size_t len)
{
    return alloc(dir->super, name, len);
}

void dentry_free_unused(struct dentry *d)
{
    inode_put(d->inode);
    free_dentry(d);
}

/* Takes d out of every list, drops what it holds of the tree, and puts it on `gone`; its parent
 * follows if that was the last thing that held it. */
static void kill_locked(struct dentry *d, struct list *gone)
{
    while (d) {
        struct dentry *parent = d->parent;

        if (d->hashed) {
            (void)hashmap_remove(&g_dentries, &d->node);
            d->hashed = false;
        }
        if (d->on_lru) {
            d->on_lru = false;
            g_n_cached--;
        }
        list_remove(&d->lru);
        list_append(gone, &d->lru);
        if (parent == d)
            return;
        list_remove(&d->child_link);
        d->parent = d;
        d = __atomic_sub_fetch(&parent->ref.n, 1, __ATOMIC_ACQ_REL) == DENTRY_UNCACHED ? parent
                                                                                       : NULL;
    }
}

static void dispose(struct list *gone)
{
    while (!list_empty(gone)) {
        struct dentry *d = list_first(gone, struct dentry, lru);

        list_remove(&d->lru);
        inode_put(d->inode);
        free_dentry(d);
    }
}

/* Walks the old end of the LRU; a dentry used since it was last looked at or held
 * goes to the young end. */
static void reclaim_locked(struct list *gone)
{
    unsigned scanned = 0, killed = 0;

    while (g_n_cached > DENTRY_CACHE_MAX && scanned++ < DENTRY_RECLAIM_SCAN &&
           killed < DENTRY_RECLAIM_BATCH) {
        struct dentry *d = list_entry(g_lru.next, struct dentry, lru);
        uint32_t unheld = 0;

        if (d->used || !__atomic_compare_exchange_n(&d->ref.n, &unheld, DENTRY_UNCACHED, false,
                                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            d->used = false;
            list_remove(&d->lru);
            list_append(&g_lru, &d->lru);
            continue;
        }
        kill_locked(d, gone);
        killed++;
    }
}

void dentry_hash_in_locked(struct dentry *d, uint64_t hash)
{
    if (hashmap_add(&g_dentries, &d->node, hash) < 0)
        return; /* stays uncached: works, is only slower */
    d->hashed = true;
    d->on_lru = true;
    g_n_cached++;
    list_append(&g_lru, &d->lru);
    (void)__atomic_and_fetch(&d->ref.n, ~DENTRY_UNCACHED, __ATOMIC_RELAXED);
}

void dentry_set_inode(struct dentry *d, struct inode *i)
{
    mutex_lock(&g_tree_lock);
    assert(!d->inode);
    d->inode = i;
    mutex_unlock(&g_tree_lock);
}

struct dentry *dentry_get(struct dentry *d)
{
    ref_get(&d->ref);
    return d;
}

static void put_slow(struct dentry *d)
{
    struct list gone = LIST_INIT(gone);

    mutex_lock(&g_tree_lock);
    if (__atomic_sub_fetch(&d->ref.n, 1, __ATOMIC_ACQ_REL) == DENTRY_UNCACHED)
        kill_locked(d, &gone);
    mutex_unlock(&g_tree_lock);
    dispose(&gone);
}

void dentry_put(struct dentry *d)
{
    uint32_t n;

    if (!d)
        return;
    n = __atomic_load_n(&d->ref.n, __ATOMIC_RELAXED);
    while (n != (1 | DENTRY_UNCACHED) && !(n == 1 && (d->super->flags & SUPER_NO_CACHE)))
        if (__atomic_compare_exchange_n(&d->ref.n, &n, n - 1, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return;
    if (n == 1)
        dentry_drop(d);
    put_slow(d);
}

static struct dentry *cached_child_locked(struct dentry *d)
{
    struct dentry *c;

    list_for_each_entry (c, &d->children, child_link)
        if (c->hashed)
            return c;
    return NULL;
}

static void drop_one_locked(struct dentry *d, struct list *gone)
{
    if (!d->hashed)
        return;
    (void)hashmap_remove(&g_dentries, &d->node);
    d->hashed = false;
    d->on_lru = false;
    g_n_cached--;
    list_remove(&d->lru);
    if (__atomic_fetch_or(&d->ref.n, DENTRY_UNCACHED, __ATOMIC_ACQ_REL) == 0)
        kill_locked(d, gone);
}

/* Makes d and everything below it unfindable, leaves first and without recursion: a guest decides
 * how deep its directories are. A parent that is still hashed is never freed by its child's end. */
static void drop_locked(struct dentry *d, struct list *gone)
{
    struct dentry *at = d, *child, *parent;

    for (;;) {
        while ((child = cached_child_locked(at)))
            at = child;
        parent = at->parent;
        if (at == d) {
            drop_one_locked(d, gone);
            return;
        }
        drop_one_locked(at, gone);
        at = parent;
    }
}

void dentry_drop(struct dentry *d)
{
    struct list gone = LIST_INIT(gone);

    mutex_lock(&g_tree_lock);
    drop_locked(d, &gone);
    mutex_unlock(&g_tree_lock);
    dispose(&gone);
}

static void link_child_locked(struct dentry *dir, struct dentry *d)
{
    ref_get(&dir->ref);
    d->parent = dir;
    list_append(&dir->children, &d->child_link);
}

int dentry_lookup_locked_dir(struct task *t, struct dentry *dir, const char *name, size_t len,
                             struct dentry **ret)
{
    uint64_t hash = dentry_hash(dir, name, len);
    struct inode *i = dir->inode;
    struct list gone = LIST_INIT(gone);
    struct dentry *d;
    int r;

    mutex_lock(&g_tree_lock);
    d = dentry_find_locked(dir, name, len, hash);
    if (d)
        ref_get(&d->ref);
    mutex_unlock(&g_tree_lock);
    if (d) {
        if (!i->ops->revalidate || i->ops->revalidate(t, i, d)) {
            *ret = d;
            return 0;
        }
        dentry_drop(d);
        dentry_put(d);
    }
    if (!i->ops->lookup)
        return -ENOTDIR;
    d = dentry_alloc(dir, name, len);
    if (!d)
        return -ENOMEM;
    mutex_lock(&g_tree_lock);
    link_child_locked(dir, d);
    mutex_unlock(&g_tree_lock);
    r = i->ops->lookup(t, i, d);
    if (r < 0) {
        dentry_put(d);
        return r;
    }
    mutex_lock(&g_tree_lock);
    if ((d->inode || !(dir->super->flags & SUPER_NO_NEGATIVE)) &&
        !dentry_find_locked(dir, name, len, hash))
        dentry_hash_in_locked(d, hash);
    reclaim_locked(&gone);
    mutex_unlock(&g_tree_lock);
    dispose(&gone);
    *ret = d;
    return 0;
}

/* Hash nodes carry the parent's address and the name: both change here. */
static void rehash_locked(struct dentry *d, struct dentry *parent, const char *name, size_t len)
{
    if (d->hashed) {
        (void)hashmap_remove(&g_dentries, &d->node);
        d->hashed = false;
        d->on_lru = false;
        g_n_cached--;
        list_remove(&d->lru);
        (void)__atomic_fetch_or(&d->ref.n, DENTRY_UNCACHED, __ATOMIC_ACQ_REL);
    }
    if (parent != d->parent) {
        list_remove(&d->child_link);
        list_append(&parent->children, &d->child_link);
        d->parent = parent;
    }
    if (d->name != d->inline_name)
        free(d->name);
    if (set_name(d, name, len) < 0) {
        /* No memory: a truncated name that nobody can find is better than a wrong one. */
        (void)set_name(d, name, MIN(len, (size_t)DENTRY_INLINE_NAME - 1));
        return;
    }
    dentry_hash_in_locked(d, dentry_hash(parent, name, len));
}

void dentry_move(struct dentry *old, struct dentry *target, bool exchange)
{
    char old_name[NAME_MAX + 1], new_name[NAME_MAX + 1];
    struct dentry *old_parent, *new_parent;
    struct list gone = LIST_INIT(gone);
    size_t old_len, new_len;

    mutex_lock(&g_tree_lock);
    old_parent = old->parent;
    new_parent = target->parent;
    old_len = old->name_len;
    new_len = target->name_len;
    memcpy(old_name, old->name, old_len);
    memcpy(new_name, target->name, new_len);
    if (exchange) {
        /* Parents' references swap sides: their sums stay. */
        rehash_locked(target, old_parent, old_name, old_len);
        rehash_locked(old, new_parent, new_name, new_len);
    } else {
        if (old_parent != new_parent)
            ref_get(&new_parent->ref);
        drop_locked(target, &gone);
        rehash_locked(old, new_parent, new_name, new_len);
        if (old_parent != new_parent &&
            __atomic_sub_fetch(&old_parent->ref.n, 1, __ATOMIC_ACQ_REL) == DENTRY_UNCACHED)
            kill_locked(old_parent, &gone);
    }
    mutex_unlock(&g_tree_lock);
    dispose(&gone);
}

bool dentry_is_ancestor_locked(const struct dentry *a, const struct dentry *d)
{
    for (;; d = d->parent) {
        if (d == a)
            return true;
        if (d->parent == d)
            return false;
    }
}

void dentry_shrink_super(struct super *s)
{
    struct list gone = LIST_INIT(gone);
    struct dentry *d, *next;
    bool more;

    mutex_lock(&g_tree_lock);
    do { /* leaves first: each round frees parents for the next */
        more = false;
        list_for_each_entry_safe (d, next, &g_lru, lru) {
            uint32_t unheld = 0;

            if (d->super == s && list_empty(&d->children) &&
                __atomic_compare_exchange_n(&d->ref.n, &unheld, DENTRY_UNCACHED, false,
                                            __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {

                kill_locked(d, &gone);
                more = true;
            }
        }
    } while (more);
    mutex_unlock(&g_tree_lock);
    dispose(&gone);
}
