/* /proc/PID/fd, fdinfo and ns. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/ipc/ipcns.h"
#include "runtime/sentry/fs/proc/nsfs.h"
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/fs/proc/reopen.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/path.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>

/* The descriptor table of whom the node is about, with a reference. */
static int files_of(struct task *t, struct pseudo_node *n, struct fdtable **ret)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mutex_lock(&g_tasks_lock);
    r = w.task->files ? 0 : -ENOENT;
    if (r == 0)
        *ret = fdtable_get(w.task->files);
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* The file of a fd/N or fdinfo/N node: reference, -ENOENT ... */
static int file_of(struct task *t, struct pseudo_node *n, struct file **ret, bool *ret_cloexec)
{
    struct fdtable *ft;
    int r = files_of(t, n, &ft);

    if (r < 0)
        return r;
    *ret = fdtable_file(ft, (int)(n->number & 0x7fffffff), ret_cloexec);
    fdtable_put(t, ft);
    return *ret ? 0 : -ENOENT;
}

static int follow_fd(struct task *t, struct pseudo_node *n, struct path *ret)
{
    struct file *f;
    bool cloexec;
    int r = file_of(t, n, &f, &cloexec);

    if (r < 0)
        return r;
    if (f->path.dentry) {
        *ret = f->path;
        path_get(ret);
    } else {
        r = reopen_path(f, ret);
    }
    file_put(f);
    return r;
}

static ssize_t readlink_fd(struct task *t, struct pseudo_node *n, char *buf, size_t size)
{
    struct file *f;
    bool cloexec;
    ssize_t r = file_of(t, n, &f, &cloexec);

    if (r < 0)
        return r;
    r = file_name(t, f, buf, size);
    file_put(f);
    return r;
}

static SHOW(show_fdinfo)
{
    struct file *f;
    bool cloexec;
    int r = file_of(t, n, &f, &cloexec);

    if (r < 0)
        return r;
    (void)buf_printf(out, "pos:\t%ld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%lu\n",
                     f->ops->seek ? f->pos : 0, f->flags | (cloexec ? O_CLOEXEC : 0),
                     f->path.mount ? f->path.mount->id : 0, f->inode ? f->inode->ino : f->ino);
    if (f->ops->show_fdinfo)
        f->ops->show_fdinfo(f, out);
    file_put(f);
    return 0;
}

static const struct pseudo_entry fd_row = {
    .mode = S_IFLNK | 0700, .readlink = readlink_fd, .follow = follow_fd};
static const struct pseudo_entry fdinfo_row = {.mode = S_IFREG | 0400, .show = show_fdinfo};

static int lookup_with(struct task *t, struct pseudo_node *dir, const char *name,
                       const struct pseudo_entry *row, struct pseudo_found *ret)
{
    struct fdtable *ft;
    struct file *f;
    bool cloexec;
    long fd;
    int r = files_of(t, dir, &ft);

    if (r < 0)
        return r;
    if (name[0] < '0' || name[0] > '9' || proc_parse_long(name, 0, INT_MAX, &fd) < 0 ||
        (name[0] == '0' && name[1])) {
        fdtable_put(t, ft);
        return -ENOENT;
    }
    f = fdtable_file(ft, (int)fd, &cloexec);
    fdtable_put(t, ft);
    if (!f)
        return -ENOENT;
    *ret = (struct pseudo_found){.row = row,
                                 .inherit = true,
                                 .uid = dir->inode.uid,
                                 .gid = dir->inode.gid,
                                 .number = PROC_KIND(dir) | (uint64_t)fd};
    /* A link's mode says how the file is open. */
    if (S_ISLNK(row->mode))
        ret->mode = S_IFLNK | 0100 | (file_readable(f) ? 0400 : 0) | (file_writable(f) ? 0200 : 0);
    file_put(f);
    return 0;
}

static int lookup_fd(struct task *t, struct pseudo_node *dir, const char *name,
                     struct pseudo_found *ret)
{
    return lookup_with(t, dir, name, &fd_row, ret);
}

static int lookup_fdinfo(struct task *t, struct pseudo_node *dir, const char *name,
                         struct pseudo_found *ret)
{
    return lookup_with(t, dir, name, &fdinfo_row, ret);
}

static int iterate_with(struct task *t, struct pseudo_node *dir, int64_t *pos,
                        bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                     int64_t next_pos),
                        void *arg, unsigned type)
{
    struct fdtable *ft;
    char name[16];
    int r = files_of(t, dir, &ft);

    if (r < 0)
        return r;
    for (int fd = fdtable_next(ft, (int)*pos); fd >= 0; fd = fdtable_next(ft, fd + 1)) {
        (void)snprintf(name, sizeof(name), "%d", fd);
        if (!emit(arg, name, type, 0, fd + 1))
            break;
        *pos = fd + 1;
    }
    fdtable_put(t, ft);
    return 0;
}

static int iterate_fds(struct task *t, struct pseudo_node *dir, int64_t *pos,
                       bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                    int64_t next_pos),
                       void *arg)
{
    return iterate_with(t, dir, pos, emit, arg, DT_LNK);
}

static int iterate_fdinfos(struct task *t, struct pseudo_node *dir, int64_t *pos,
                           bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                        int64_t next_pos),
                           void *arg)
{
    return iterate_with(t, dir, pos, emit, arg, DT_REG);
}

const struct pseudo_dynamic proc_fds = {.lookup = lookup_fd, .iterate = iterate_fds};
const struct pseudo_dynamic proc_fdinfos = {.lookup = lookup_fdinfo, .iterate = iterate_fdinfos};

/* ---- ns: links that show which namespace --------------------------------------------------------
 */
enum { NS_MNT = 1, NS_UTS, NS_IPC, NS_PID, NS_USER, NS_NET, NS_CGROUP };
#define INITIAL_USERNS_INO NSFS_INITIAL_USERNS
#define INITIAL_IPCNS_INO  4026531839UL
#define CGROUPNS_INO       4026531835UL

/* tasks_lock held. */
static uint64_t ns_number(const struct task *task, unsigned which)
{
    switch (which) {
    case NS_MNT:
        return task->ns->mnt ? task->ns->mnt->ino : 0;
    case NS_UTS:
        return task->ns->uts ? task->ns->uts->ino : 0;
    case NS_PID:
        return task->process->pidns->ino;
    case NS_USER:
        return task->cred && task->cred->userns ? task->cred->userns->ino : INITIAL_USERNS_INO;
    case NS_NET:
        return task->ns->net ? task->ns->net->ino : 0;
    case NS_IPC:
        return task->ns->ipc ? task->ns->ipc->ino : INITIAL_IPCNS_INO;
    default:
        return CGROUPNS_INO;
    }
}

/* One a row of /proc/PID/ns, in the order of the rows. */
static const struct ns_kind {
    const char *name;
    unsigned which;
    int type;
} ns_kinds[] = {{"cgroup", NS_CGROUP, CLONE_NEWCGROUP}, {"ipc", NS_IPC, CLONE_NEWIPC},
                {"mnt", NS_MNT, CLONE_NEWNS},           {"net", NS_NET, CLONE_NEWNET},
                {"pid", NS_PID, CLONE_NEWPID},          {"user", NS_USER, CLONE_NEWUSER},
                {"uts", NS_UTS, CLONE_NEWUTS}};

static const struct ns_kind *ns_kind_of(const struct pseudo_node *n)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ns_kinds); i++)
        if (strncmp(n->row->name, ns_kinds[i].name, strlen(ns_kinds[i].name)) == 0)
            return &ns_kinds[i];
    return &ns_kinds[0];
}

/* What the link leads to, with references. */
static int ns_target(struct task *t, struct pseudo_node *n, struct nsfs_ref *ret)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    const struct ns_kind *kind = ns_kind_of(n);
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    *ret = (struct nsfs_ref){.type = kind->type};
    mutex_lock(&g_tasks_lock);
    if (w.task->ns && w.task->cred) {
        ret->ino = ns_number(w.task, kind->which);
        ret->all = namespaces_get(w.task->ns);
        ret->pidns = pidns_get(w.process->pidns);
        ret->cred = cred_get(w.task->cred);
    }
    mutex_unlock(&g_tasks_lock);
    return ret->all ? 0 : -ENOENT;
}

static ssize_t readlink_ns(struct task *t, struct pseudo_node *n, char *buf, size_t size)
{
    struct nsfs_ref what;
    struct path p;
    int r = ns_target(t, n, &what);

    if (r < 0)
        return r;
    (void)snprintf(buf, size, "%s:[%lu]", ns_kind_of(n)->name, what.ino);
    r = nsfs_path(&what, "ns", &p); /* takes the references */
    if (r == 0)
        path_put(&p);
    return (ssize_t)strlen(buf);
}

static int follow_ns(struct task *t, struct pseudo_node *n, struct path *ret)
{
    struct nsfs_ref what;
    char name[32];
    int r = ns_target(t, n, &what);

    if (r < 0)
        return r;
    (void)snprintf(name, sizeof(name), "%s:[%lu]", ns_kind_of(n)->name, what.ino);
    return nsfs_path(&what, name, ret);
}

#define NS_ROW(file)                                                                               \
    {                                                                                              \
        .name = file, .mode = S_IFLNK | 0777, .readlink = readlink_ns, .follow = follow_ns         \
    }
const struct pseudo_entry proc_ns_rows[] = {
    NS_ROW("cgroup"), NS_ROW("ipc"), NS_ROW("mnt"),
    NS_ROW("net"),    NS_ROW("pid"), NS_ROW("pid_for_children"),
    NS_ROW("user"),   NS_ROW("uts"), {0}};
