/* Overlay: finding names in the layers, making nodes, listing merged directories. */
#include "runtime/sentry/fs/overlay/overlay.h"
#include "runtime/sentry/vfs/lend.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ovl_name_init(struct dentry *d, struct inode *dir, const char *name)
{
    memset(d, 0, sizeof(*d));
    d->ref.n = 1;
    d->super = dir->super;
    d->parent = d;
    d->name_len = (unsigned)strlen(name);
    d->name = (char *)(uintptr_t)name; /* never written through */
}

bool ovl_is_whiteout(const struct inode *i)
{
    return S_ISCHR(i->mode) && i->rdev == 0;
}

/* *ret NULL if there is no such name. */
int ovl_real_lookup(struct task *t, struct inode *dir, const char *name, struct inode **ret)
{
    struct dentry d;
    int r;

    *ret = NULL;
    if (!dir->ops->lookup)
        return 0;
    ovl_name_init(&d, dir, name);
    mutex_lock(&dir->dir_lock);
    r = dir->ops->lookup(t, dir, &d);
    mutex_unlock(&dir->dir_lock);
    *ret = d.inode;
    return r == -ENOTDIR ? 0 : r;
}

static bool is_opaque(struct inode *i)
{
    char v[2];

    return i->ops->getxattr && i->ops->getxattr(i, OVL_OPAQUE, v, sizeof(v)) == 1 && v[0] == 'y';
}

static uint64_t number_of(struct inode *upper, const struct inode *lower)
{
    uint64_t ino;

    if (lower && S_ISDIR(lower->mode))
        return lower->ino;
    if (!upper)
        return lower->ino;
    if (upper->ops->getxattr &&
        upper->ops->getxattr(upper, OVL_ORIGIN, &ino, sizeof(ino)) == sizeof(ino))
        return ino;
    return upper->ino | OVL_UPPER_INO;
}

void ovl_sync(struct ovl_node *n)
{
    struct inode *real = ovl_real(n), *data = ovl_data(n), *i = &n->inode;

    mutex_lock(&i->lock);
    i->mode = real->mode;
    i->uid = real->uid;
    i->gid = real->gid;
    i->nlink = real->nlink;
    i->blocks = data->blocks;
    i->atime = real->atime;
    i->mtime = real->mtime;
    i->ctime = real->ctime;
    i->btime = real->btime;
    __atomic_store_n(&i->acl, __atomic_load_n(&real->acl, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
    mutex_unlock(&i->lock);
    lend_recall(i); /* what is known of it elsewhere */
    __atomic_store_n(&i->size, __atomic_load_n(&data->size, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

static void put_all(struct inode *upper, struct inode **lower, unsigned n)
{
    unsigned k;

    inode_put(upper);
    for (k = 0; k < n; k++)
        inode_put(lower[k]);
    free(lower);
}

static uint64_t key_hash(const struct inode *i)
{
    return (uint64_t)(uintptr_t)i * 0x9e3779b97f4a7c15ULL >> 8;
}

static struct inode *find_node_locked(struct overlay *o, const struct inode *key)
{
    struct hash_node *h = hashmap_first(&o->nodes, key_hash(key));

    for (; h; h = hashmap_next_same(h)) {
        struct ovl_node *n = hash_entry(h, struct ovl_node, node);

        if (n->key == key && ref_get_unless_zero(&n->inode.ref))
            return &n->inode;
    }
    return NULL;
}

int ovl_node_new(struct super *s, struct ovl_node *parent, const char *name, struct inode *upper,
                 struct inode **lower, unsigned n_lower, struct inode **ret)
{
    struct inode *real = upper ? upper : lower[0], *found;
    struct overlay *o = s->private;
    struct ovl_node *n = calloc(1, sizeof(*n));

    if (n)
        n->name = strdup(name);
    if (!n || !n->name) {
        free(n);
        put_all(upper, lower, n_lower);
        return -ENOMEM;
    }
    inode_init(&n->inode, s, &ovl_ops, NULL, number_of(upper, n_lower ? lower[0] : NULL),
               real->mode, real->uid, real->gid);
    n->inode.rdev = real->rdev;
    n->upper = upper;
    n->lower = lower;
    n->n_lower = n_lower;
    n->metacopy = upper && S_ISREG(upper->mode) && n_lower && upper->ops->getxattr &&
                  upper->ops->getxattr(upper, OVL_METACOPY, NULL, 0) >= 0;
    n->parent = parent;
    if (parent)
        inode_get(&parent->inode);
    if (real->link)
        inode_set_link(&n->inode, real->link, strlen(real->link));
    ovl_sync(n);
    *ret = &n->inode;
    if (S_ISDIR(real->mode))
        return 0;
    mutex_lock(&o->lock);
    found = find_node_locked(o, real);
    if (!found && hashmap_add(&o->nodes, &n->node, key_hash(real)) == 0)
        n->key = real;
    mutex_unlock(&o->lock);
    if (found) { /* another name of it, or somebody else was faster */
        inode_put(&n->inode);
        *ret = found;
    }
    return 0;
}

void ovl_evict(struct inode *i)
{
    struct ovl_node *n = ovl_node(i), *parent = n->parent;
    struct overlay *o = ovl_of(i);

    if (n->key) {
        mutex_lock(&o->lock);
        (void)hashmap_remove(&o->nodes, &n->node);
        mutex_unlock(&o->lock);
    }
    dir_list_put(n->list);
    put_all(n->upper, n->lower, n->n_lower);
    free(n->name);
    inode_fini(i);
    free(n);
    if (parent)
        inode_put(&parent->inode);
}

void ovl_place(struct ovl_node *n, struct ovl_node *parent, const char *name)
{
    struct overlay *o = ovl_of(&n->inode);
    struct ovl_node *old;
    char *copy = strdup(name), *old_name = NULL;

    inode_get(&parent->inode);
    mutex_lock(&o->lock);
    old = n->parent;
    n->parent = parent;
    if (copy) {
        old_name = n->name;
        n->name = copy;
    }
    mutex_unlock(&o->lock);
    free(old_name);
    if (old)
        inode_put(&old->inode);
}

/* The lower inodes of a name: a directory goes on through the layers until something that is none.
 */
static int lower_lookup(struct task *t, struct ovl_node *dir, const char *name, bool want_dirs,
                        struct inode ***ret, unsigned *ret_n)
{
    struct inode **found = NULL, *i;
    unsigned k, n = 0;
    int r = 0;

    for (k = 0; k < dir->n_lower && r == 0; k++) {
        r = ovl_real_lookup(t, dir->lower[k], name, &i);
        if (r < 0 || !i)
            continue;
        if (ovl_is_whiteout(i) || (n && !S_ISDIR(i->mode)) || (want_dirs && !S_ISDIR(i->mode))) {
            inode_put(i);
            break;
        }
        if (!found)
            found = calloc(dir->n_lower - k, sizeof(*found));
        if (!found) {
            inode_put(i);
            r = -ENOMEM;
            break;
        }
        found[n++] = i;
        if (!S_ISDIR(i->mode) || k + 1 == dir->n_lower || is_opaque(i))
            break;
    }
    if (r < 0) {
        put_all(NULL, found, n);
        return r;
    }
    *ret = found;
    *ret_n = n;
    return 0;
}

bool ovl_in_lower(struct task *t, struct ovl_node *dir, const char *name)
{
    struct inode **lower;
    unsigned n;

    if (lower_lookup(t, dir, name, false, &lower, &n) < 0)
        return true; /* rather a whiteout too many */
    put_all(NULL, lower, n);
    return n > 0;
}

int ovl_lookup(struct task *t, struct inode *i, struct dentry *d)
{
    struct ovl_node *dir = ovl_node(i);
    struct inode *upper = NULL, *up_dir = ovl_upper(dir), *made, **lower = NULL;
    unsigned n_lower = 0;
    int r = 0;

    if (!S_ISDIR(i->mode))
        return -ENOTDIR;
    if (up_dir)
        r = ovl_real_lookup(t, up_dir, d->name, &upper);
    if (r < 0)
        return r;
    if (upper && ovl_is_whiteout(upper)) {
        inode_put(upper);
        return 0;
    }
    if (dir->n_lower && (!upper || (S_ISDIR(upper->mode) && !is_opaque(upper)) ||
                         (S_ISREG(upper->mode) && upper->ops->getxattr &&
                          upper->ops->getxattr(upper, OVL_METACOPY, NULL, 0) >= 0)))
        r = lower_lookup(t, dir, d->name, upper && S_ISDIR(upper->mode), &lower, &n_lower);
    if (r < 0) {
        inode_put(upper);
        return r;
    }
    if (!upper && !n_lower)
        return 0;
    r = ovl_node_new(i->super, dir, d->name, upper, lower, n_lower, &made);
    if (r == 0)
        dentry_set_inode(d, made);
    return r;
}

/* ---- listing ----------------------------------------------------------------------------------*/
struct seen {
    struct hash_node node;
    const char *name;
};

static bool was_seen(const struct hashmap *m, uint64_t hash, const char *name)
{
    struct hash_node *h = hashmap_first(m, hash);

    for (; h; h = hashmap_next_same(h))
        if (strcmp(hash_entry(h, struct seen, node)->name, name) == 0)
            return true;
    return false;
}

static int real_list(struct task *t, struct inode *dir, struct dir_list **ret)
{
    int r;

    if (!dir->ops->list)
        return -ENOTDIR;
    mutex_lock(&dir->dir_lock);
    r = dir->ops->list(t, dir, ret);
    mutex_unlock(&dir->dir_lock);
    return r;
}

struct merge {
    struct task *t;
    struct dir_list *out;
    struct hashmap names;
};

/* The number that stat will show for an entry of the upper layer: a copied file's first one. */
static uint64_t upper_entry_ino(struct merge *m, struct inode *dir, const char *name, uint64_t ino,
                                bool *ret_whiteout)
{
    struct inode *i = NULL;

    *ret_whiteout = false;
    if (ovl_real_lookup(m->t, dir, name, &i) < 0 || !i)
        return ino;
    *ret_whiteout = ovl_is_whiteout(i);
    ino = number_of(i, NULL);
    inode_put(i);
    return ino;
}

static int merge_entry(struct merge *m, struct inode *dir, bool is_upper, const struct dir_list *l,
                       unsigned k)
{
    const struct dir_list_entry *e = &l->entries[k];
    const char *name = dir_list_name(l, k);
    uint64_t hash = hash_seeded(name, e->len), ino = e->ino;
    bool whiteout = false;
    struct seen *s;

    if (was_seen(&m->names, hash, name))
        return 0;
    s = malloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->name = name;
    if (hashmap_add(&m->names, &s->node, hash) < 0) {
        free(s);
        return -ENOMEM;
    }
    if (is_upper || e->type == DT_CHR)
        ino = upper_entry_ino(m, dir, name, ino, &whiteout);
    if (!is_upper)
        ino = e->ino;
    return whiteout ? 0 : dir_list_add(m->out, name, e->len, ino, e->type);
}

static void free_names(struct hashmap *m)
{
    struct hash_node *h = hashmap_next(m, NULL), *next;

    for (; h; h = next) {
        next = hashmap_next(m, h);
        free(hash_entry(h, struct seen, node));
    }
    hashmap_fini(m);
}

static int merge_lists(struct task *t, struct ovl_node *n, struct dir_list **ret)
{
    struct merge m = {.t = t, .out = dir_list_new(), .names = HASHMAP_INIT};
    struct dir_list *l[OVL_LAYERS_MAX + 1] = {NULL};
    struct inode *upper = ovl_upper(n);
    unsigned layers = n->n_lower + 1, k, j;
    int r = m.out ? 0 : -ENOMEM;

    for (k = 0; k < layers && r == 0; k++) {
        struct inode *dir = k ? n->lower[k - 1] : upper;

        if (!dir)
            continue;
        r = real_list(t, dir, &l[k]);
        for (j = 0; r == 0 && j < l[k]->n; j++)
            r = merge_entry(&m, dir, k == 0, l[k], j);
    }
    free_names(&m.names);
    for (k = 0; k < layers; k++)
        dir_list_put(l[k]);
    if (r < 0) {
        dir_list_put(m.out);
        return r;
    }
    *ret = m.out;
    return 0;
}

int ovl_list(struct task *t, struct inode *dir, struct dir_list **ret)
{
    struct ovl_node *n = ovl_node(dir);
    int r = 0;

    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    if (!ovl_upper(n) && n->n_lower == 1 && ovl_of(dir)->n_lower_supers == 1)
        return real_list(t, n->lower[0], ret);
    if (!n->list)
        r = merge_lists(t, n, &n->list);
    if (r == 0)
        *ret = dir_list_get(n->list);
    return r;
}

void ovl_forget_list(struct ovl_node *dir)
{
    dir_list_put(dir->list);
    dir->list = NULL;
}
