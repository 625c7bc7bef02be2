/*
 * Directories of gofer mounts. On exclusive read-only mounts (lower layers) content is remembered,
 * and reading ahead never costs much more than what was asked for already: a few lookups that had
 * to ask buy a listing of names (which answers for missing ones) as far as it comes in a packet or
 * a few, lookups of many of its names one with attributes, which answers alone from then on.
 */
#include "runtime/sentry/fs/gofer/goferfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned g_known; /* entries remembered; atomic */

enum {
    MISSES_BEFORE_READING = 3,
    MISSES_PER_PACKET = 3, /* a packet of names takes as long as so many questions */
    ASKED_BEFORE_ATTRS = 8,
    ENTRIES_PER_ASKED = 8, /* so many attributes are read in the time of one question */
};

static void free_dir(struct gofer_dir *d)
{
    if (!d)
        return;
    if (d->known)
        (void)__atomic_sub_fetch(&g_known, d->list->n, __ATOMIC_RELAXED);
    hashmap_fini(&d->names);
    free(d->known);
    dir_list_put(d->list);
    free(d);
}

void gofer_forget_dir(struct gofer_node *n)
{
    free_dir(n->dir);
    n->dir = NULL;
    n->misses = 0;
    n->next_read = 0;
}

struct reading {
    struct goferfs *fs;
    struct dir_list *list;
    struct gofer_known *known;
    unsigned capacity;
    bool keep;
    int error;
};

static int read_entry(void *arg, const char *name, const struct gofer_attr *attr,
                      uint64_t next_cookie)
{
    struct reading *r = arg;

    (void)next_cookie;
    if (!attr->mode)
        return 0;
    if (r->keep && r->list->n == r->capacity) {
        unsigned n = r->capacity ? r->capacity * 2 : 64;
        struct gofer_known *p = n > GOFERFS_DIR_MAX ? NULL : realloc(r->known, n * sizeof(*p));

        r->keep = p != NULL;
        if (p) {
            r->known = p;
            r->capacity = n;
        }
    }
    if (r->keep)
        r->known[r->list->n].attr = *attr;
    r->error = dir_list_add(r->list, name, strlen(name),
                            attr->dev == r->fs->root_dev
                                ? attr->ino
                                : attr->ino ^ (attr->dev * 0x9e3779b97f4a7c15ULL) << 20,
                            IFTODT(attr->mode));
    return r->error;
}

/* Names may not move any more: the list is complete. */
static void index_names(struct gofer_dir *d)
{
    unsigned i;

    for (i = 0; i < d->list->n; i++) {
        d->known[i].name = dir_list_name(d->list, i);
        if (hashmap_add(&d->names, &d->known[i].node,
                        hash_seeded(d->known[i].name, d->list->entries[i].len)) < 0)
            break;
    }
    if (i == d->list->n && __atomic_add_fetch(&g_known, i, __ATOMIC_RELAXED) <= GOFERFS_KNOWN_MAX)
        return;
    (void)__atomic_sub_fetch(&g_known, i == d->list->n ? i : 0, __ATOMIC_RELAXED);
    hashmap_fini(&d->names);
    free(d->known);
    d->known = NULL;
}

/* 1: it has more than max_packets of entries. */
static int read_dir(struct inode *i, unsigned flags, unsigned max_packets, struct gofer_dir **ret)
{
    struct goferfs *fs = goferfs_of(i);
    struct reading st = {.fs = fs, .list = dir_list_new(), .keep = fs->exclusive && fs->readonly};
    struct gofer_dir *d = calloc(1, sizeof(*d));
    char path[GOFER_PATH_MAX];
    uint64_t cookie = 0;
    bool end = false;
    int r = st.list && d ? gofer_path(gofer_node(i), NULL, path) : -ENOMEM;

    for (; r == 0 && !end; max_packets--)
        r = max_packets
                ? gofer_readdir(fs->g, fs->mount, path, flags, &cookie, read_entry, &st, &end)
                : 1;
    if (r) {
        dir_list_put(st.list);
        free(st.known);
        free(d);
        return r;
    }
    d->list = st.list;
    d->attrs = !(flags & GOFER_READDIR_NAMES);
    d->planned = GOFER_DIR_START;
    if (st.keep) {
        d->known = st.known;
        if (d->known || d->list->n == 0)
            index_names(d);
    } else {
        free(st.known);
    }
    *ret = d;
    return 0;
}

int gofer_dir_list(struct task *t, struct inode *dir, struct dir_list **ret)
{
    struct gofer_node *n = gofer_node(dir);
    bool unchanging = goferfs_of(dir)->exclusive && goferfs_of(dir)->readonly;
    struct gofer_dir *d;
    int r;

    (void)t;
    if (n->dir && n->dir->attrs) {
        *ret = dir_list_get(n->dir->list);
        if (unchanging)
            gofer_ahead_listed(n);
        return 0;
    }
    r = read_dir(dir, 0, UINT_MAX, &d);
    if (r < 0)
        return r;
    *ret = dir_list_get(d->list);
    if (goferfs_of(dir)->exclusive) {
        free_dir(n->dir);
        n->dir = d;
        if (unchanging)
            gofer_ahead_listed(n);
    } else {
        free_dir(d);
    }
    return 0;
}

const struct gofer_known *gofer_dir_known(const struct gofer_dir *d, const char *name, size_t len)
{
    struct hash_node *h = hashmap_first(&d->names, hash_seeded(name, len));

    for (; h; h = hashmap_next_same(h)) {
        const struct gofer_known *k = hash_entry(h, struct gofer_known, node);

        if (strcmp(k->name, name) == 0)
            return k;
    }
    return NULL;
}

static int ask(struct inode *dir, const char *name, struct gofer_attr *ret, char *link)
{
    struct goferfs *fs = goferfs_of(dir);
    char path[GOFER_PATH_MAX];
    int r = gofer_path(gofer_node(dir), name, path);

    return r < 0 ? r : gofer_stat(fs->g, fs->mount, path, ret, link);
}

/* Reads of the directory what its lookups so far are worth. dir_lock held. */
static void read_ahead(struct inode *dir, struct gofer_node *n)
{
    struct gofer_dir *d;

    if (!n->dir) {
        if (++n->misses < MAX(n->next_read, (unsigned)MISSES_BEFORE_READING))
            return;
        n->next_read = n->misses * 2;
        (void)read_dir(dir, GOFER_READDIR_NAMES, n->misses / MISSES_PER_PACKET, &n->dir);
    } else if (!n->dir->attrs && n->dir->asked >= ASKED_BEFORE_ATTRS &&
               n->dir->asked >= n->dir->list->n / ENTRIES_PER_ASKED) {
        n->dir->asked = 0;
        if (read_dir(dir, 0, UINT_MAX, &d) == 0) {
            free_dir(n->dir);
            n->dir = d;
        }
    }
}

/* Attributes of a name: known, or asked for into *a. */
static int find(struct inode *dir, const char *name, size_t len, struct gofer_attr *a, char *link,
                const struct gofer_attr **ret)
{
    const struct gofer_known *k;
    struct gofer_dir *d;

    if (goferfs_of(dir)->exclusive && goferfs_of(dir)->readonly)
        read_ahead(dir, gofer_node(dir));
    d = gofer_node(dir)->dir;
    link[0] = '\0';
    if (d && (d->known || !d->list->n)) {
        k = gofer_dir_known(d, name, len);
        if (!k)
            return -ENOENT;
        *ret = &k->attr;
        if (d->attrs)
            return 0;
        d->asked++;
    }
    *ret = a;
    return ask(dir, name, a, link);
}

int gofer_dir_lookup(struct task *t, struct inode *dir, struct dentry *d)
{
    const struct gofer_attr *known;
    struct gofer_attr a;
    char link[PATH_MAX];
    struct inode *i;
    int r;

    (void)t;
    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    r = find(dir, d->name, d->name_len, &a, link, &known);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = gofer_node_new(dir->super, gofer_node(dir), d->name, known, &i);
    if (r < 0)
        return r;
    if (link[0])
        inode_set_link(i, link, strlen(link));
    dentry_set_inode(d, i);
    return 0;
}

bool gofer_dir_revalidate(struct task *t, struct inode *dir, struct dentry *d)
{
    struct inode *i = d->inode;
    struct gofer_attr a;
    int r = ask(dir, d->name, &a, NULL);

    (void)t;
    if (r < 0 || !i)
        return r == -ENOENT && !i;
    if (a.ino != gofer_node(i)->host_ino || a.dev != gofer_node(i)->host_dev ||
        (a.mode & S_IFMT) != (i->mode & S_IFMT) || (S_ISLNK(a.mode) && a.ctime != i->ctime))
        return false;
    gofer_store_attr(i, &a);
    return true;
}
