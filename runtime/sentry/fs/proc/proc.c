/*
 * /proc: its root, the numbered directories, and who may look. Each file is a row of a table and
 * one function (pseudo.h).
 *
 * A mount shows the pid namespace of the task that mounted it; one made while a container is built
 * shows the container's.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/ipc/sysv.h"
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/access.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/inode.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

extern const struct fs_type proc_fs_type;

/* A mount's numbers are those of its maker's namespace. A container's own is made before it has a
 * task: there, the container's. */
struct pidns *proc_pidns(struct task *t, const struct pseudo_node *n)
{
    struct pidns *ns = n->inode.super->private;

    return ns ? ns : t->process->container->pidns;
}

/* ---- whom a node is about -------------------------------------------------------------------- */
int proc_target(struct task *t, struct pseudo_node *n, bool access, struct proc_target *ret)
{
    struct pid *pid = n->object;
    struct task *task = NULL;
    int r = -ESRCH;

    mutex_lock(&g_tasks_lock);
    if (PROC_KIND(n) == PROC_OF_THREAD) {
        task = pid->task;
    } else if (pid->process) {
        task = process_any_task_locked(pid->process);
        if (!task)
            task = pid->process->leader;
    }
    if (task)
        r = access && !task_may_access_locked(t, task, ACCESS_BY_FSIDS) ? -EACCES : 0;
    if (r == 0)
        *ret = (struct proc_target){.task = task_get(task),
                                    .process = process_get(task->process),
                                    .thread = PROC_KIND(n) == PROC_OF_THREAD};
    mutex_unlock(&g_tasks_lock);
    return r;
}

void proc_target_fini(struct proc_target *p)
{
    if (p->task)
        task_put(p->task);
    if (p->process)
        process_put(p->process);
    *p = (struct proc_target){0};
}

struct mm *proc_mm(struct task *target)
{
    struct mm *mm;

    mutex_lock(&g_tasks_lock);
    mm = target->mm ? mm_get(target->mm) : NULL;
    mutex_unlock(&g_tasks_lock);
    return mm;
}

struct cred *proc_cred(struct task *target)
{
    struct cred *c;

    mutex_lock(&g_tasks_lock);
    c = cred_get(target->cred);
    mutex_unlock(&g_tasks_lock);
    return c;
}

int proc_parse_long(const char *data, long min, long max, long *ret)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(data, &end, 0);
    while (*end == '\n' || *end == ' ' || *end == '\t')
        end++;
    if (errno || end == data || *end || v < min || v > max)
        return -EINVAL;
    *ret = v;
    return 0;
}

/* ---- numbered directories -------------------------------------------------------------------- */
static void *object_get(void *object)
{
    return pid_get(object);
}

static void object_put(void *object)
{
    pid_put(object);
}

static const struct pseudo_object_ops pid_object_ops = {object_get, object_put};

/* A number as directories are named: 0 if the name is none. */
static int parse_number(const char *name)
{
    long nr = 0;

    if (name[0] < '1' || name[0] > '9')
        return 0;
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || nr > INT_MAX / 10)
            return 0;
        nr = nr * 10 + (*name - '0');
    }
    return nr > INT_MAX ? 0 : (int)nr;
}

/* Owner of a process's files: its effective ids, root's if it may not be dumped. */
static void owner_locked(const struct task *task, uint32_t *uid, uint32_t *gid)
{
    bool own = task->cred && (!task->mm || task->mm->dumpable);

    *uid = own ? task->cred->euid : 0;
    *gid = own ? task->cred->egid : 0;
}

static const struct task *task_of_locked(const struct pid *pid, uint64_t kind)
{
    if (kind == PROC_OF_THREAD)
        return pid->task;
    if (!pid->process)
        return NULL;
    return pid->process->leader ? pid->process->leader : process_any_task_locked(pid->process);
}

/* Fills ret for pid; tasks_lock held. */
static int found_locked(struct pid *pid, uint64_t kind, const struct pseudo_entry *row,
                        struct pseudo_found *ret)
{
    const struct task *task = task_of_locked(pid, kind);

    if (!task)
        return -ENOENT;
    *ret = (struct pseudo_found){
        .row = row, .object = pid_get(pid), .object_ops = &pid_object_ops, .number = kind};
    owner_locked(task, &ret->uid, &ret->gid);
    return 0;
}

static bool node_valid(struct task *t, struct pseudo_node *n)
{
    const struct task *task;
    uint32_t uid, gid;
    bool valid = false;

    (void)t;
    if (n->row == &proc_pause_row)
        return true;
    mutex_lock(&g_tasks_lock);
    task = task_of_locked(n->object, PROC_KIND(n));
    if (task) {
        owner_locked(task, &uid, &gid);
        valid = uid == n->inode.uid && gid == n->inode.gid;
    }
    mutex_unlock(&g_tasks_lock);
    return valid;
}

static const struct pseudo_entry pid_dir_row = {.mode = S_IFDIR | 0555, .entries = proc_pid_rows};
static const struct pseudo_entry tid_dir_row = {.mode = S_IFDIR | 0555, .entries = proc_tid_rows};

struct process *proc_process_of(const struct file *f)
{
    struct process *p = NULL;
    struct pseudo_node *n;

    if (!f->inode || !f->inode->super || f->inode->super->type != &proc_fs_type)
        return NULL;
    n = pseudo_node_of_file(f);
    if (n->row != &pid_dir_row)
        return NULL;
    mutex_lock(&g_tasks_lock);
    if (((struct pid *)n->object)->process)
        p = process_get(((struct pid *)n->object)->process);
    mutex_unlock(&g_tasks_lock);
    return p;
}

static int lookup_pid(struct task *t, struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    int nr = parse_number(name), r = -ENOENT;
    const struct pidns *ns;
    struct pid *pid;

    /* Without a task (masked paths) there are no numbers. */
    if (!nr || !t)
        return -ENOENT;
    ns = proc_pidns(t, dir);
    if (nr == 1 && ns->no_init) {
        *ret = (struct pseudo_found){.row = &proc_pause_row};
        return 0;
    }
    mutex_lock(&g_tasks_lock);
    pid = pid_find_locked(ns, nr);
    if (pid) /* a thread's number is not listed, but leads to it */
        r = found_locked(pid, pid->process ? PROC_OF_PROCESS : PROC_OF_THREAD, &pid_dir_row, ret);
    mutex_unlock(&g_tasks_lock);
    return r;
}

static int iterate_pids(struct task *t, struct pseudo_node *dir, int64_t *pos,
                        bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                     int64_t next_pos),
                        void *arg)
{
    const struct pidns *ns = proc_pidns(t, dir);
    char name[16];
    int nr = (int)*pos;

    for (;;) {
        mutex_lock(&g_tasks_lock);
        nr = nr == 0 && ns->no_init ? 1 : pidns_next_process_locked(ns, nr);
        mutex_unlock(&g_tasks_lock);
        if (nr <= 0)
            return 0;
        (void)snprintf(name, sizeof(name), "%d", nr);
        if (!emit(arg, name, DT_DIR, 0, nr))
            return 0;
        *pos = nr;
    }
}

static const struct pseudo_dynamic proc_pids = {lookup_pid, iterate_pids, node_valid};

/* The process of a directory of threads, which may be found by the number of any of them. */
static const struct process *process_of_locked(const struct pid *pid)
{
    return pid->process ? pid->process : pid->task ? pid->task->process : NULL;
}

static int lookup_tid(struct task *t, struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    int nr = parse_number(name), r = -ENOENT;
    struct pid *of = dir->object, *pid;

    if (!nr)
        return -ENOENT;
    mutex_lock(&g_tasks_lock);
    pid = pid_find_locked(proc_pidns(t, dir), nr);
    if (pid && pid->task && pid->task->process == process_of_locked(of))
        r = found_locked(pid, PROC_OF_THREAD, &tid_dir_row, ret);
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* The smallest thread number above `after`; tasks_lock held. Threads are few: a scan each. */
static int next_tid_locked(const struct process *p, const struct pidns *ns, int after)
{
    const struct task *task;
    int best = 0;

    if (!p)
        return 0;
    list_for_each_entry (task, &p->threads, thread_link) {
        int nr = task->pid ? pid_in(task->pid, ns) : 0;

        if (nr > after && (!best || nr < best))
            best = nr;
    }
    return best;
}

static int iterate_tids(struct task *t, struct pseudo_node *dir, int64_t *pos,
                        bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                     int64_t next_pos),
                        void *arg)
{
    const struct pidns *ns = proc_pidns(t, dir);
    const struct pid *of = dir->object;
    char name[16];
    int nr = (int)*pos;

    for (;;) {
        mutex_lock(&g_tasks_lock);
        nr = next_tid_locked(process_of_locked(of), ns, nr);
        mutex_unlock(&g_tasks_lock);
        if (!nr)
            return 0;
        (void)snprintf(name, sizeof(name), "%d", nr);
        if (!emit(arg, name, DT_DIR, 0, nr))
            return 0;
        *pos = nr;
    }
}

const struct pseudo_dynamic proc_tids = {lookup_tid, iterate_tids, node_valid};

/* ---- root ------------------------------------------------------------------------------------ */
static ssize_t readlink_self(struct task *t, struct pseudo_node *n, char *buf, size_t size)
{
    int nr;

    mutex_lock(&g_tasks_lock);
    nr = pid_in(t->process->pid, proc_pidns(t, n));
    mutex_unlock(&g_tasks_lock);
    return nr ? snprintf(buf, size, "%d", nr) : -ENOENT;
}

static ssize_t readlink_thread_self(struct task *t, struct pseudo_node *n, char *buf, size_t size)
{
    int tgid, tid;

    mutex_lock(&g_tasks_lock);
    tgid = pid_in(t->process->pid, proc_pidns(t, n));
    tid = pid_in(t->pid, proc_pidns(t, n));
    mutex_unlock(&g_tasks_lock);
    return tgid ? snprintf(buf, size, "%d/task/%d", tgid, tid) : -ENOENT;
}

static ssize_t readlink_mounts(struct task *t, struct pseudo_node *n, char *buf, size_t size)
{
    (void)t;
    (void)n;
    return snprintf(buf, size, "self/mounts");
}

static ssize_t readlink_net(struct task *t, struct pseudo_node *n, char *buf, size_t size)
{
    (void)t;
    (void)n;
    return snprintf(buf, size, "self/net");
}

#define FILE_ROW(n, f)                                                                             \
    {                                                                                              \
        .name = n, .mode = S_IFREG | 0444, .show = f                                               \
    }
static SHOW(show_ipc_shm)
{
    (void)n;
    return shm_show(t->ns->ipc, out);
}

static SHOW(show_ipc_sem)
{
    (void)n;
    return sem_show(t->ns->ipc, out);
}

static SHOW(show_ipc_msg)
{
    (void)n;
    return msg_show(t->ns->ipc, out);
}

static const struct pseudo_entry sysvipc_rows[] = {FILE_ROW("msg", show_ipc_msg),
                                                   FILE_ROW("sem", show_ipc_sem),
                                                   FILE_ROW("shm", show_ipc_shm),
                                                   {0}};
static const struct pseudo_entry root_rows[] = {
    {.name = "self", .mode = S_IFLNK | 0777, .readlink = readlink_self},
    {.name = "thread-self", .mode = S_IFLNK | 0777, .readlink = readlink_thread_self},
    {.name = "mounts", .mode = S_IFLNK | 0777, .readlink = readlink_mounts},
    {.name = "net", .mode = S_IFLNK | 0777, .readlink = readlink_net},
    FILE_ROW("cgroups", proc_show_cgroups),
    FILE_ROW("cmdline", proc_show_kernel_cmdline),
    FILE_ROW("consoles", proc_show_empty),
    FILE_ROW("cpuinfo", proc_show_cpuinfo),
    FILE_ROW("devices", proc_show_devices),
    FILE_ROW("diskstats", proc_show_empty),
    FILE_ROW("filesystems", proc_show_filesystems),
    FILE_ROW("interrupts", proc_show_interrupts),
    FILE_ROW("ioports", proc_show_ioports),
    FILE_ROW("loadavg", proc_show_loadavg),
    FILE_ROW("locks", proc_show_empty),
    FILE_ROW("meminfo", proc_show_meminfo),
    FILE_ROW("misc", proc_show_misc),
    FILE_ROW("modules", proc_show_empty),
    FILE_ROW("partitions", proc_show_partitions),
    FILE_ROW("stat", proc_show_system_stat),
    FILE_ROW("swaps", proc_show_swaps),
    {.name = "sys", .mode = S_IFDIR | 0555, .entries = proc_sys_rows},
    {.name = "sysvipc", .mode = S_IFDIR | 0555, .entries = sysvipc_rows},
    FILE_ROW("uptime", proc_show_uptime),
    FILE_ROW("version", proc_show_version),
    FILE_ROW("vmstat", proc_show_vmstat),
    {.dynamic = &proc_pids},
    {0}};
static const struct pseudo_entry root_row = {.mode = S_IFDIR | 0555, .entries = root_rows};

static void proc_put(struct super *s)
{
    if (s->private)
        pidns_put(s->private);
}

static const struct super_ops proc_super_ops = {.put = proc_put};

static int proc_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                      struct super **ret)
{
    struct pidns *ns = t ? pidns_get(task_pidns(t)) : NULL;
    int r;

    (void)args;
    r = pseudo_super_new(type, &proc_super_ops, &root_row, NULL, NULL,
                         SUPER_NO_DEV | SUPER_NO_EXEC | SUPER_NO_ATIME, ns, ret);
    if (r < 0 && ns)
        pidns_put(ns);
    return r;
}

const struct fs_type proc_fs_type = {
    .name = "proc", .magic = 0x9fa0, .no_dev = true, .userns = true, .mount = proc_mount};
