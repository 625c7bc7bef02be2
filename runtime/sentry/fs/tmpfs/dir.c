/* Directories of tmpfs: names in a hash and in order of creation. dir_lock of what is changed is
 * held by the caller. */
#include "runtime/sentry/fs/tmpfs/tmpfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tmpfs_dirent *find(struct tmpfs_inode *dir, const char *name, size_t len)
{
    struct hash_node *n = hashmap_first(&dir->names, hash_seeded(name, len));

    for (; n; n = hashmap_next_same(n)) {
        struct tmpfs_dirent *e = hash_entry(n, struct tmpfs_dirent, node);

        if (e->len == len && memcmp(e->name, name, len) == 0)
            return e;
    }
    return NULL;
}

static void changed(struct tmpfs_inode *dir)
{
    dir_list_put(dir->list);
    dir->list = NULL;
    inode_touch(&dir->inode, ATTR_MTIME | ATTR_CTIME);
}

/* Takes over the inode reference on success. */
static int add(struct tmpfs_inode *dir, const char *name, size_t len, struct inode *i)
{
    struct tmpfs_dirent *e = malloc(sizeof(*e) + len + 1);

    if (!e)
        return -ENOMEM;
    memcpy(e->name, name, len);
    e->name[len] = '\0';
    e->len = (unsigned)len;
    e->inode = i;
    if (hashmap_add(&dir->names, &e->node, hash_seeded(name, len)) < 0) {
        free(e);
        return -ENOMEM;
    }
    list_append(&dir->entries, &e->link);
    dir->inode.size += 20;
    changed(dir);
    return 0;
}

/* The inode reference goes to the caller. */
static struct inode *take(struct tmpfs_inode *dir, struct tmpfs_dirent *e)
{
    struct inode *i = e->inode;

    (void)hashmap_remove(&dir->names, &e->node);
    list_remove(&e->link);
    free(e);
    dir->inode.size -= 20;
    changed(dir);
    return i;
}

static void adjust_nlink(struct inode *i, int by)
{
    mutex_lock(&i->lock);
    i->nlink = (uint32_t)((int)i->nlink + by);
    i->ctime = time_realtime();
    mutex_unlock(&i->lock);
}

int tmpfs_lookup(struct task *t, struct inode *dir, struct dentry *d)
{
    struct tmpfs_dirent *e;

    (void)t;
    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    e = find(tmpfs_inode(dir), d->name, d->name_len);
    if (e)
        dentry_set_inode(d, inode_get(e->inode));
    return 0;
}

int tmpfs_make(struct task *t, struct inode *dir, struct dentry *d, const struct inode_new *what)
{
    struct inode *i;
    int r;

    (void)t;
    if (find(tmpfs_inode(dir), d->name, d->name_len))
        return -EEXIST;
    r = tmpfs_inode_new(dir->super, what, &i);
    if (r < 0)
        return r;
    r = add(tmpfs_inode(dir), d->name, d->name_len, i);
    if (r < 0) {
        inode_put(i);
        return r;
    }
    if (S_ISDIR(what->mode))
        adjust_nlink(dir, 1);
    dentry_set_inode(d, inode_get(i));
    return 0;
}

int tmpfs_link(struct task *t, struct inode *dir, struct dentry *d, struct inode *target)
{
    int r;

    (void)t;
    if (find(tmpfs_inode(dir), d->name, d->name_len))
        return -EEXIST;
    if (target->nlink >= INT32_MAX)
        return -EMLINK;
    r = add(tmpfs_inode(dir), d->name, d->name_len, inode_get(target));
    if (r < 0) {
        inode_put(target);
        return r;
    }
    adjust_nlink(target, 1);
    dentry_set_inode(d, inode_get(target));
    return 0;
}

int tmpfs_unlink(struct task *t, struct inode *dir, struct dentry *d)
{
    struct tmpfs_dirent *e = find(tmpfs_inode(dir), d->name, d->name_len);
    struct inode *i;

    (void)t;
    if (!e)
        return -ENOENT;
    i = take(tmpfs_inode(dir), e);
    adjust_nlink(i, -1);
    inode_put(i);
    return 0;
}

static int remove_dir(struct tmpfs_inode *dir, struct tmpfs_dirent *e)
{
    struct inode *i = e->inode;

    if (!list_empty(&tmpfs_inode(i)->entries))
        return -ENOTEMPTY;
    (void)take(dir, e);
    adjust_nlink(i, -(int)i->nlink);
    adjust_nlink(&dir->inode, -1);
    inode_put(i);
    return 0;
}

int tmpfs_rmdir(struct task *t, struct inode *dir, struct dentry *d)
{
    struct tmpfs_dirent *e = find(tmpfs_inode(dir), d->name, d->name_len);

    (void)t;
    return e ? remove_dir(tmpfs_inode(dir), e) : -ENOENT;
}

static int exchange(struct tmpfs_inode *od, struct tmpfs_dirent *oe, struct tmpfs_inode *nd,
                    struct tmpfs_dirent *ne)
{
    struct inode *i = oe->inode;
    int moved = S_ISDIR(oe->inode->mode) - S_ISDIR(ne->inode->mode);

    oe->inode = ne->inode;
    ne->inode = i;
    if (od != nd && moved) {
        adjust_nlink(&od->inode, -moved);
        adjust_nlink(&nd->inode, moved);
    }
    changed(od);
    changed(nd);
    inode_touch(oe->inode, ATTR_CTIME);
    inode_touch(ne->inode, ATTR_CTIME);
    return 0;
}

static int replace_target(struct tmpfs_inode *nd, struct tmpfs_dirent *ne)
{
    struct inode *i;

    if (S_ISDIR(ne->inode->mode))
        return remove_dir(nd, ne);
    i = take(nd, ne);
    adjust_nlink(i, -1);
    inode_put(i);
    return 0;
}

int tmpfs_rename(struct task *t, struct inode *old_dir, struct dentry *old_d, struct inode *new_dir,
                 struct dentry *new_d, unsigned flags)
{
    struct tmpfs_inode *od = tmpfs_inode(old_dir), *nd = tmpfs_inode(new_dir);
    struct tmpfs_dirent *oe = find(od, old_d->name, old_d->name_len);
    struct tmpfs_dirent *ne = find(nd, new_d->name, new_d->name_len);
    struct inode_new whiteout = {.mode = S_IFCHR};
    struct inode *i, *w = NULL;
    int r = 0;

    (void)t;
    if (!oe)
        return -ENOENT;
    if (flags & RENAME_EXCHANGE)
        return ne ? exchange(od, oe, nd, ne) : -ENOENT;
    if (ne && (flags & RENAME_NOREPLACE))
        return -EEXIST;
    if (flags & RENAME_WHITEOUT)
        r = tmpfs_inode_new(old_dir->super, &whiteout, &w);
    if (r == 0 && ne)
        r = replace_target(nd, ne);
    if (r < 0) {
        inode_put(w);
        return r;
    }
    i = inode_get(oe->inode);
    r = add(nd, new_d->name, new_d->name_len, i);
    if (r < 0) {
        inode_put(i);
        inode_put(w);
        return r;
    }
    inode_put(take(od, oe));
    if (S_ISDIR(i->mode) && od != nd) {
        adjust_nlink(old_dir, -1);
        adjust_nlink(new_dir, 1);
    }
    inode_touch(i, ATTR_CTIME);
    if (w && add(od, old_d->name, old_d->name_len, w) < 0)
        inode_put(w);
    return 0;
}

int tmpfs_list(struct task *t, struct inode *dir, struct dir_list **ret)
{
    struct tmpfs_inode *ti = tmpfs_inode(dir);
    struct tmpfs_dirent *e;
    int r = 0;

    (void)t;
    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    if (!ti->list) {
        struct dir_list *l = dir_list_new();

        if (!l)
            return -ENOMEM;
        list_for_each_entry (e, &ti->entries, link) {
            r = dir_list_add(l, e->name, e->len, e->inode->ino, IFTODT(e->inode->mode));
            if (r < 0) {
                dir_list_put(l);
                return r;
            }
        }
        ti->list = l;
    }
    *ret = dir_list_get(ti->list);
    return 0;
}

/* A whole tree may hang here when a superblock goes: freed without recursion, by moving the
 * entries of each subdirectory that only we hold up to this list. */
void tmpfs_dir_free(struct tmpfs_inode *ti)
{
    while (!list_empty(&ti->entries)) {
        struct tmpfs_dirent *e = list_first(&ti->entries, struct tmpfs_dirent, link);
        struct inode *i = e->inode;

        list_remove(&e->link);
        if (S_ISDIR(i->mode) && i->ref.n == 1) {
            struct tmpfs_inode *sub = tmpfs_inode(i);

            while (!list_empty(&sub->entries)) {
                struct tmpfs_dirent *c = list_first(&sub->entries, struct tmpfs_dirent, link);

                list_remove(&c->link);
                list_append(&ti->entries, &c->link);
            }
        }
        inode_put(i);
        free(e);
    }
    hashmap_fini(&ti->names);
    dir_list_put(ti->list);
}
