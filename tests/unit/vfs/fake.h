#pragma once
/* A task without a platform: enough of one for the VFS. */
#include "runtime/sentry/fs/overlay/overlay.h"
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/internal.h"
#include "runtime/sentry/vfs/ops.h"
#include "runtime/sentry/vfs/setup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

struct fake {
    struct process process;
    struct task task;
    struct fs_context fs;
    struct cred *cred;
    struct namespaces ns;
    struct mntns *mnt;
};

static inline struct task *fake_init_on(struct fake *k, struct super *s)
{
    struct mount *m;
    unsigned i;

    memset(k, 0, sizeof(*k));
    m = mount_new(s, s->root, MS_RELATIME, "test");
    super_put(s);
    k->mnt = mntns_new(m);
    mutex_lock(&g_tree_lock);
    mount_enter_ns_locked(k->mnt, m);
    mutex_unlock(&g_tree_lock);
    for (i = 0; i < RLIM_NLIMITS; i++)
        k->process.rlimits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    k->process.rlimits[RLIMIT_NOFILE] = (struct rlimit){1 << 20, 1 << 20};
    ref_init(&k->process.ref);
    k->cred = cred_new();
    k->cred->permitted = k->cred->effective = CAP_ALL;
    ref_init(&k->fs.ref);
    k->fs.umask = 022;
    k->fs.root = k->fs.cwd = (struct path){.mount = m, .dentry = m->root};
    path_get(&k->fs.root);
    path_get(&k->fs.cwd);
    ref_init(&k->ns.ref);
    k->ns.mnt = k->mnt;
    k->task.process = &k->process;
    k->task.fs = &k->fs;
    k->task.cred = k->cred;
    k->task.ns = &k->ns;
    k->task.files = fdtable_new();
    ref_init(&k->task.ref);
    return &k->task;
}

static inline struct task *fake_init(struct fake *k)
{
    struct super *s;

    cr_assert_eq(tmpfs_super_new("mode=755", 64 << 20, &s), 0);
    return fake_init_on(k, s);
}

/* An unprivileged user from now on. */
static inline void fake_user(struct fake *k, uint32_t id)
{
    k->cred->permitted = k->cred->effective = 0;
    k->cred->uid = k->cred->euid = k->cred->suid = k->cred->fsuid = id;
    k->cred->gid = k->cred->egid = k->cred->sgid = k->cred->fsgid = id;
}

static inline void fake_fini(struct fake *k)
{
    fdtable_put(&k->task, k->task.files);
    path_put(&k->fs.root);
    path_put(&k->fs.cwd);
    mntns_put(k->mnt);
    cred_put(k->cred);
}

static inline int do_open(struct task *t, const char *name, unsigned flags, struct file **f)
{
    const struct open_how_k how = {.flags = flags, .mode = 0644};

    return vfs_open(t, AT_FDCWD, name, &how, f);
}

static inline void put_file(struct task *t, const char *name, const char *text)
{
    struct file *f;

    cr_assert_eq(do_open(t, name, O_CREAT | O_WRONLY | O_TRUNC, &f), 0, "create %s", name);
    cr_assert_eq(vfs_write_kernel(t, f, text, strlen(text), 0), (ssize_t)strlen(text));
    file_put(f);
}

/* The content, or "ERRNO". */
static inline const char *get_file(struct task *t, const char *name)
{
    static char buf[4096];
    struct file *f;
    int r = do_open(t, name, O_RDONLY, &f);
    ssize_t n;

    if (r < 0)
        return strerror(-r);
    n = vfs_read_kernel(t, f, buf, sizeof(buf) - 1, 0);
    file_put(f);
    buf[n < 0 ? 0 : n] = '\0';
    return buf;
}

static inline int exists(struct task *t, const char *name)
{
    struct path p;
    int r = path_lookup(t, AT_FDCWD, name, 0, &p);

    if (r == 0)
        path_put(&p);
    return r;
}

struct names {
    struct dir_emitter d;
    char text[4096];
};

static inline bool collect(struct dir_emitter *d, const char *name, size_t len, uint64_t ino,
                           unsigned type, uint64_t next)
{
    struct names *n = (struct names *)d;

    (void)ino;
    (void)type;
    (void)next;
    if (name[0] != '.')
        (void)snprintf(n->text + strlen(n->text), sizeof(n->text) - strlen(n->text), "%.*s ",
                       (int)len, name);
    return true;
}

static inline const char *list_dir(struct task *t, const char *name)
{
    static struct names n;
    struct file *f;
    int r = do_open(t, name, O_RDONLY | O_DIRECTORY, &f);

    n = (struct names){.d = {.emit = collect}};
    if (r < 0)
        return strerror(-r);
    r = f->ops->iterate(t, f, &n.d);
    file_put(f);
    return r < 0 ? strerror(-r) : n.text;
}
