/* /proc/PID/fd, fdinfo and ns. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/fs/proc/reopen.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/path.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
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
#define INITIAL_USERNS_INO 4026531837UL
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
        return INITIAL_IPCNS_INO;
    default:
        return CGROUPNS_INO;
    }
}

static ssize_t readlink_ns(struct task *t, struct pseudo_node *n, char *buf, size_t size,
                           const char *name, unsigned which)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    uint64_t ino = 0;
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mutex_lock(&g_tasks_lock);
    if (w.task->ns)
        ino = ns_number(w.task, which);
    mutex_unlock(&g_tasks_lock);
    return ino ? snprintf(buf, size, "%s:[%lu]", name, ino) : -ENOENT;
}

#define NS_LINK(name, which)                                                                       \
    static ssize_t readlink_ns_##name(struct task *t, struct pseudo_node *n, char *buf,            \
                                      size_t size)                                                 \
    {                                                                                              \
        return readlink_ns(t, n, buf, size, #name, which);                                         \
    }
NS_LINK(mnt, NS_MNT)
NS_LINK(uts, NS_UTS)
NS_LINK(ipc, NS_IPC)
NS_LINK(pid, NS_PID)
NS_LINK(user, NS_USER)
NS_LINK(net, NS_NET)
NS_LINK(cgroup, NS_CGROUP)

#define NS_ROW(file, which)                                                                        \
    {                                                                                              \
        .name = file, .mode = S_IFLNK | 0777, .readlink = readlink_ns_##which                      \
    }
const struct pseudo_entry proc_ns_rows[] = {
    NS_ROW("cgroup", cgroup), NS_ROW("ipc", ipc), NS_ROW("mnt", mnt),
    NS_ROW("net", net),       NS_ROW("pid", pid), NS_ROW("pid_for_children", pid),
    NS_ROW("user", user),     NS_ROW("uts", uts), {0}};
