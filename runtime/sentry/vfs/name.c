/* The way back: from a path to its name (getcwd, /proc/PID/fd, maps). Built from the end. */
#include "runtime/sentry/vfs/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct back {
    char *buf;
    size_t at; /* first used byte */
};

static bool prepend(struct back *b, const char *s, size_t len)
{
    if (b->at < len + 1)
        return false;
    b->at -= len;
    memcpy(b->buf + b->at, s, len);
    b->buf[--b->at] = '/';
    return true;
}

/* True if an ancestor or the dentry itself was removed. */
static bool is_deleted_locked(const struct path *p)
{
    const struct dentry *d = p->dentry;

    return d != d->super->root && d->inode && !d->hashed &&
           (d->parent == d || d->inode->nlink == 0 || d->unlinked);
}

static ssize_t name_locked(const struct path *p, const struct path *root, bool deleted, char *buf,
                           size_t size)
{
    struct back b = {.buf = buf, .at = size};
    const struct mount *m = p->mount;
    const struct dentry *d = p->dentry;
    bool reached = false;
    size_t len;

    if (deleted && is_deleted_locked(p)) {
        if (size < 10)
            return -ENAMETOOLONG;
        b.at -= 10;
        memcpy(buf + b.at, " (deleted)", 10);
    }
    for (;;) {
        if (m == root->mount && d == root->dentry) {
            reached = true;
            break;
        }
        if (m && d == m->root) {
            if (m->parent == m)
                break;
            d = m->mountpoint;
            m = m->parent;
            continue;
        }
        if (d->parent == d) { /* anonymous: a name of its own */
            if (!prepend(&b, d->name, d->name_len))
                return -ENAMETOOLONG;
            reached = true;
            break;
        }
        if (!prepend(&b, d->name, d->name_len))
            return -ENAMETOOLONG;
        d = d->parent;
    }
    if (b.at == size || buf[b.at] == ' ') {
        if (!b.at)
            return -ENAMETOOLONG;
        buf[--b.at] = '/';
    }
    if (!reached) {
        const char *u = "(unreachable)";

        if (b.at < strlen(u))
            return -ENAMETOOLONG;
        b.at -= strlen(u);
        memcpy(buf + b.at, u, strlen(u));
    }
    len = size - b.at;
    memmove(buf, buf + b.at, len);
    if (len < size)
        buf[len] = '\0';
    return (ssize_t)len;
}

ssize_t path_name(const struct path *p, const struct path *root, bool deleted, char *buf,
                  size_t size)
{
    ssize_t n;

    mutex_lock(&g_tree_lock);
    n = name_locked(p, root, deleted, buf, size);
    mutex_unlock(&g_tree_lock);
    return n;
}

ssize_t task_path_name(struct task *t, const struct path *p, char *buf, size_t size)
{
    struct path root;
    ssize_t n;

    task_root(t, &root);
    n = path_name(p, &root, true, buf, size);
    path_put(&root);
    return n;
}

static ssize_t clamp(int n, size_t size)
{
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : n;
}

/* "socket:[%lu]" and its like: names of anonymous files, with their number. */
static ssize_t anonymous_name(const struct file *f, char *buf, size_t size)
{
    const char *name = f->ops->name ? f->ops->name : "anon_inode:[file]";
    const char *hole = strstr(name, "%lu");

    if (!hole)
        return clamp(snprintf(buf, size, "%s", name), size);
    return clamp(snprintf(buf, size, "%.*s%llu%s", (int)(hole - name), name,
                          (unsigned long long)f->ino, hole + 3),
                 size);
}

ssize_t file_name(struct task *t, struct file *f, char *buf, size_t size)
{
    if (!f->path.dentry)
        return anonymous_name(f, buf, size);
    if (f->ops->name && !f->path.mount)
        return anonymous_name(f, buf, size);
    return task_path_name(t, &f->path, buf, size);
}
