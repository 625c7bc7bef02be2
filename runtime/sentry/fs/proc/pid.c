/* The rows of /proc/PID and /proc/PID/task/TID, and their small files and links. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/task/core.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/vfs/path.h"
#include "runtime/sentry/vfs/poll.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* ---- small texts ----------------------------------------------------------------------------- */
static SHOW(show_comm)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);

    return r < 0 ? r : buf_printf(out, "%.*s\n", COMM_SIZE - 1, w.task->comm);
}

static ssize_t store_comm(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);
    char comm[COMM_SIZE] = {0};

    if (r < 0)
        return r;
    if (w.process != t->process)
        return -EINVAL;
    memcpy(comm, data, MIN(size, sizeof(comm) - 1));
    comm[strcspn(comm, "\n")] = '\0';
    memcpy(w.task->comm, comm, sizeof(comm));
    return (ssize_t)size;
}

/* Checks that the caller may look, then shows a constant. */
static int show_checked(struct task *t, struct pseudo_node *n, struct buf *out, bool access,
                        const char *text)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, access, &w);

    return r < 0 ? r : buf_puts(out, text);
}

static SHOW(show_wchan)
{
    return show_checked(t, n, out, false, "0");
}

static SHOW(show_loginuid)
{
    return show_checked(t, n, out, false, "4294967295");
}

static SHOW(show_attr)
{
    return show_checked(t, n, out, false, "unconfined\n");
}

static SHOW(show_cgroup)
{
    return show_checked(t, n, out, false, "0::/\n");
}

static SHOW(show_cpuset)
{
    return show_checked(t, n, out, false, "/\n");
}

static SHOW(show_personality)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, true, &w);

    return r < 0 ? r : buf_printf(out, "%08x\n", w.process->personality);
}

static SHOW(show_timerslack)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);

    return r < 0 ? r : buf_printf(out, "%lu\n", w.task->timer_slack);
}

static ssize_t store_timerslack(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, true, &w);
    long v;

    if (r == 0)
        r = proc_parse_long(data, 0, LONG_MAX, &v);
    if (r < 0)
        return r;
    w.task->timer_slack = v ? (uint64_t)v : w.task->timer_slack_default;
    return (ssize_t)size;
}

/* What only a privileged debugger of the kernel gets to see: nobody here. */
static SHOW(show_refused)
{
    (void)t;
    (void)n;
    (void)out;
    return -EPERM;
}

/* ---- the OOM killer's knobs ------------------------------------------------------------------ */
static SHOW(show_oom_score_adj)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);

    return r < 0 ? r : buf_printf(out, "%d\n", w.process->oom_score_adj);
}

static ssize_t set_oom(struct task *t, struct pseudo_node *n, long adj)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    if (adj < w.process->oom_score_adj && !capable(t, CAP_SYS_RESOURCE))
        return -EACCES;
    w.process->oom_score_adj = (int)adj;
    return 0;
}

static ssize_t store_oom_score_adj(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    long v;
    ssize_t r = proc_parse_long(data, -1000, 1000, &v);

    if (r == 0)
        r = set_oom(t, n, v);
    return r < 0 ? r : (ssize_t)size;
}

static SHOW(show_oom_adj)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w), adj;

    if (r < 0)
        return r;
    adj = w.process->oom_score_adj;
    return buf_printf(out, "%d\n", adj == 1000 ? 15 : adj * 17 / 1000);
}

static ssize_t store_oom_adj(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    long v;
    ssize_t r = proc_parse_long(data, -17, 15, &v);

    if (r == 0)
        r = set_oom(t, n, v == 15 ? 1000 : v * 1000 / 17);
    return r < 0 ? r : (ssize_t)size;
}

static SHOW(show_oom_score)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);

    return r < 0 ? r : buf_printf(out, "%d\n", MAX(666 + w.process->oom_score_adj * 2 / 3, 0));
}

/* ---- what goes into a core file -------------------------------------------------------------- */
static SHOW(show_core_filter)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, false, &w);

    return r < 0 ? r : buf_printf(out, "%08x\n", w.process->core_filter);
}

static ssize_t store_core_filter(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    long v;
    int r = proc_parse_long(data, 0, UINT32_MAX, &v);

    if (r == 0)
        r = proc_target(t, n, false, &w);
    if (r < 0)
        return r;
    __atomic_store_n(&w.process->core_filter, (uint32_t)v & CORE_FILTER_MASK, __ATOMIC_RELAXED);
    return (ssize_t)size;
}

/* ---- user namespaces ------------------------------------------------------------------------- */
static int show_map(struct task *t, struct pseudo_node *n, struct buf *out, bool gids)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    const struct userns *ns;
    struct cred *c;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    c = proc_cred(w.task);
    ns = c->userns;
    if (!ns) {
        r = buf_printf(out, "%10u %10u %10u\n", 0U, 0U, UINT32_MAX);
    } else {
        const struct idmap *m = gids ? &ns->gids : &ns->uids;

        for (unsigned i = 0; i < m->n; i++) {
            uint32_t outside = gids ? gid_from_kernel(t->cred->userns, m->range[i].kernel)
                                    : uid_from_kernel(t->cred->userns, m->range[i].kernel);

            /* Seen from the namespace itself, the parent's numbers are meant. */
            if (t->cred->userns == ns)
                outside = gids ? gid_from_kernel(ns->parent, m->range[i].kernel)
                               : uid_from_kernel(ns->parent, m->range[i].kernel);
            r = buf_printf(out, "%10u %10u %10u\n", m->range[i].inside, outside, m->range[i].count);
        }
    }
    cred_put(c);
    return r;
}

static SHOW(show_uid_map)
{
    return show_map(t, n, out, false);
}

static SHOW(show_gid_map)
{
    return show_map(t, n, out, true);
}

static SHOW(show_setgroups)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct cred *c;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    c = proc_cred(w.task);
    r = buf_puts(out, !c->userns || c->userns->setgroups_allowed ? "allow\n" : "deny\n");
    cred_put(c);
    return r;
}

static ssize_t store_setgroups(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct cred *c;
    bool allow = strncmp(data, "allow", 5) == 0;
    ssize_t r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    if (!allow && strncmp(data, "deny", 4) != 0)
        return -EINVAL;
    c = proc_cred(w.task);
    mutex_lock(&g_tasks_lock);
    r = (ssize_t)size;
    if (!c->userns || !cred_capable_in(t->cred, c->userns, CAP_SYS_ADMIN))
        r = -EPERM;
    else if (!allow && !c->userns->gids.n)
        c->userns->setgroups_allowed = false;
    else if (allow != c->userns->setgroups_allowed)
        r = -EPERM;
    mutex_unlock(&g_tasks_lock);
    cred_put(c);
    return r;
}

/* Reads "inside outside count" lines; outside is in the parent namespace. */
static int parse_map(char *data, const struct userns *parent, bool gids, struct idmap *m)
{
    char *save = NULL;

    for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned inside, outside, count;
        uint32_t kernel;
        char extra;

        if (m->n == ID_RANGES ||
            sscanf(line, "%u %u %u %c", &inside, &outside, &count, &extra) != 3)
            return -EINVAL;
        if (!count || inside + count < inside || outside + count < outside)
            return -EINVAL;
        kernel = gids ? gid_to_kernel(parent, outside) : uid_to_kernel(parent, outside);
        if (kernel == ID_INVALID ||
            (gids ? gid_to_kernel(parent, outside + count - 1)
                  : uid_to_kernel(parent, outside + count - 1)) != kernel + count - 1)
            return -EPERM;
        for (unsigned i = 0; i < m->n; i++)
            if (inside < m->range[i].inside + m->range[i].count &&
                m->range[i].inside < inside + count)
                return -EINVAL;
        m->range[m->n].inside = inside;
        m->range[m->n].kernel = kernel;
        m->range[m->n++].count = count;
    }
    return m->n ? 0 : -EINVAL;
}

/* user_namespaces(7), "Defining user and group ID mappings": who may write this map? */
static bool may_map(const struct task *t, const struct userns *ns, const struct idmap *m, bool gids)
{
    const struct cred *c = t->cred;

    if (!cred_capable_in(c, ns, CAP_SYS_ADMIN))
        return false;
    if (cred_capable_in(c, ns->parent, gids ? CAP_SETGID : CAP_SETUID))
        return true;
    /* An unprivileged owner may map just itself. */
    if (m->n != 1 || m->range[0].count != 1 || ns->owner != c->euid)
        return false;
    if (gids)
        return !ns->setgroups_allowed && m->range[0].kernel == c->egid;
    return m->range[0].kernel == c->euid;
}

static ssize_t store_map(struct task *t, struct pseudo_node *n, char *data, size_t size, bool gids)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct idmap m = {0}, *to;
    struct userns *ns;
    struct cred *c;
    ssize_t r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    c = proc_cred(w.task);
    ns = c->userns;
    r = ns ? parse_map(data, ns->parent, gids, &m) : -EPERM;
    mutex_lock(&g_tasks_lock);
    if (r == 0) {
        to = gids ? &ns->gids : &ns->uids;
        if (to->n || !may_map(t, ns, &m, gids))
            r = -EPERM;
        else
            *to = m;
    }
    if (r == 0)
        tasks_republish_locked(ns);
    mutex_unlock(&g_tasks_lock);
    cred_put(c);
    return r < 0 ? r : (ssize_t)size;
}

static ssize_t store_uid_map(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    return store_map(t, n, data, size, false);
}

static ssize_t store_gid_map(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    return store_map(t, n, data, size, true);
}

/* ---- links ----------------------------------------------------------------------------------- */
static int follow_exe(struct task *t, struct pseudo_node *n, struct path *ret)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct mm *mm;
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mm = proc_mm(w.task);
    if (!mm)
        return -ENOENT;
    mutex_lock(&mm->lock);
    r = mm->exe && mm->exe->path.dentry ? 0 : -ENOENT;
    if (r == 0) {
        *ret = mm->exe->path;
        path_get(ret);
    }
    mutex_unlock(&mm->lock);
    mm_put(mm);
    return r;
}

static int follow_fs(struct task *t, struct pseudo_node *n, bool root, struct path *ret)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mutex_lock(&g_tasks_lock);
    r = w.task->fs ? 0 : -ENOENT;
    if (r == 0) {
        mutex_lock(&w.task->fs->lock);
        *ret = root ? w.task->fs->root : w.task->fs->cwd;
        path_get(ret);
        mutex_unlock(&w.task->fs->lock);
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

static int follow_cwd(struct task *t, struct pseudo_node *n, struct path *ret)
{
    return follow_fs(t, n, false, ret);
}

static int follow_root(struct task *t, struct pseudo_node *n, struct path *ret)
{
    return follow_fs(t, n, true, ret);
}

static ssize_t name_of(struct task *t, struct path *p, char *buf, size_t size)
{
    ssize_t len = task_path_name(t, p, buf, size);

    path_put(p);
    return len;
}

#define READLINK_OF(name)                                                                          \
    static ssize_t readlink_##name(struct task *t, struct pseudo_node *n, char *buf, size_t size)  \
    {                                                                                              \
        struct path p;                                                                             \
        int r = follow_##name(t, n, &p);                                                           \
                                                                                                   \
        return r < 0 ? r : name_of(t, &p, buf, size);                                              \
    }
READLINK_OF(exe)
READLINK_OF(cwd)
READLINK_OF(root)

/* ---- mounts ---------------------------------------------------------------------------------- */
static int show_mounts_as(struct task *t, struct pseudo_node *n, struct buf *out,
                          enum mounts_format format)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct mntns *ns = NULL;
    struct path root = {0};
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mutex_lock(&g_tasks_lock);
    if (w.task->ns && w.task->fs) {
        ns = mntns_get(w.task->ns->mnt);
        mutex_lock(&w.task->fs->lock);
        root = w.task->fs->root;
        path_get(&root);
        mutex_unlock(&w.task->fs->lock);
    }
    mutex_unlock(&g_tasks_lock);
    if (!ns)
        return -EINVAL;
    r = mounts_show(ns, &root, format, out);
    path_put(&root);
    mntns_put(ns);
    return r;
}

static SHOW(show_mounts)
{
    return show_mounts_as(t, n, out, MOUNTS_PLAIN);
}

static SHOW(show_mountinfo)
{
    return show_mounts_as(t, n, out, MOUNTS_INFO);
}

static SHOW(show_mountstats)
{
    return show_mounts_as(t, n, out, MOUNTS_STATS);
}

/* Whose children the threads of a process have in common: all are shown with its first thread. */
static SHOW(show_children)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    const struct pidns *ns = proc_pidns(t, n);
    const struct process *child;
    int r = proc_target(t, n, false, &w);

    if (r < 0 || w.task->pid != w.process->pid)
        return r;
    mutex_lock(&g_tasks_lock);
    list_for_each_entry (child, &w.process->children, sibling) {
        r = buf_printf(out, "%d ", pid_in(child->pid, ns));
        if (r < 0)
            break;
    }
    mutex_unlock(&g_tasks_lock);
    return r;
}

/* ---- rows ------------------------------------------------------------------------------------ */
#define R(n, perm, f)                                                                              \
    {                                                                                              \
        .name = n, .mode = S_IFREG | (perm), .show = f                                             \
    }
#define RW(n, perm, f, s)                                                                          \
    {                                                                                              \
        .name = n, .mode = S_IFREG | (perm), .show = f, .store = s                                 \
    }
#define LINK(n)                                                                                    \
    {                                                                                              \
        .name = #n, .mode = S_IFLNK | 0777, .readlink = readlink_##n, .follow = follow_##n         \
    }

static const struct pseudo_entry attr_rows[] = {R("current", 0444, show_attr),
                                                R("exec", 0444, proc_show_empty),
                                                R("prev", 0444, show_attr),
                                                {0}};

/* What a process and a thread both have. */
#define COMMON_ROWS                                                                                \
    {.name = "attr", .mode = S_IFDIR | 0555, .entries = attr_rows},                                \
        R("auxv", 0400, proc_show_auxv), R("cgroup", 0444, show_cgroup),                           \
        R("cmdline", 0444, proc_show_cmdline), RW("comm", 0644, show_comm, store_comm),            \
        R("cpuset", 0444, show_cpuset), LINK(cwd), R("environ", 0400, proc_show_environ),          \
        LINK(exe), {.name = "fd", .mode = S_IFDIR | 0500, .dynamic = &proc_fds},                   \
        {.name = "fdinfo", .mode = S_IFDIR | 0500, .dynamic = &proc_fdinfos},                      \
        RW("gid_map", 0644, show_gid_map, store_gid_map), R("io", 0400, proc_show_io),             \
        R("limits", 0444, proc_show_limits), RW("loginuid", 0644, show_loginuid, NULL),            \
        R("maps", 0444, proc_show_maps),                                                           \
        {.name = "mem", .mode = S_IFREG | 0600, .fops = &proc_mem_ops, .open = open_mem},          \
        R("mountinfo", 0444, show_mountinfo), R("mounts", 0444, show_mounts),                      \
        {.name = "net", .mode = S_IFDIR | 0555, .dynamic = &proc_net_files},                       \
        {.name = "ns", .mode = S_IFDIR | 0511, .entries = proc_ns_rows},                           \
        RW("oom_adj", 0644, show_oom_adj, store_oom_adj), R("oom_score", 0444, show_oom_score),    \
        RW("oom_score_adj", 0644, show_oom_score_adj, store_oom_score_adj),                        \
        R("personality", 0400, show_personality), LINK(root), R("sched", 0644, proc_show_sched),   \
        R("schedstat", 0444, proc_show_schedstat), R("sessionid", 0444, show_loginuid),            \
        R("smaps", 0444, proc_show_smaps), R("smaps_rollup", 0444, proc_show_smaps_rollup),        \
        R("stack", 0400, show_refused), R("stat", 0444, proc_show_stat),                           \
        R("statm", 0444, proc_show_statm), R("status", 0444, proc_show_status),                    \
        R("syscall", 0400, show_refused), RW("uid_map", 0644, show_uid_map, store_uid_map),        \
        R("wchan", 0444, show_wchan)

static int open_mem(struct task *t, struct pseudo_node *n, struct file *f)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};

    (void)f;
    return proc_target(t, n, true, &w);
}

/* Its links tell programs how many threads they have. */
static void count_threads(struct task *t, struct pseudo_node *n, struct attr *a)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};

    if (proc_target(t, n, false, &w) < 0)
        return;
    mutex_lock(&g_tasks_lock);
    a->nlink = 2 + w.process->n_threads;
    mutex_unlock(&g_tasks_lock);
}

const struct pseudo_entry proc_pid_rows[] = {
    COMMON_ROWS,
    RW("coredump_filter", 0644, show_core_filter, store_core_filter),
    R("mountstats", 0400, show_mountstats),
    RW("setgroups", 0644, show_setgroups, store_setgroups),
    {.name = "task", .mode = S_IFDIR | 0555, .dynamic = &proc_tids, .attr = count_threads},
    RW("timerslack_ns", 0666, show_timerslack, store_timerslack),
    {0}};

const struct pseudo_entry proc_tid_rows[] = {COMMON_ROWS, R("children", 0444, show_children), {0}};
