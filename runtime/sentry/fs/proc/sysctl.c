/*
 * /proc/sys. Most values are constants that programs ask for; those that a guest may set are kept
 * for the sandbox, checked against a range, and have the effect that their comment names.
 */
#include "runtime/sentry/fs/event/inotify.h"
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/userns.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* ---- texts -------------------------------------------------------------------------------------
 */
#define TEXT(function, text)                                                                       \
    static SHOW(function)                                                                          \
    {                                                                                              \
        (void)t;                                                                                   \
        (void)n;                                                                                   \
        return buf_puts(out, text "\n");                                                           \
    }
TEXT(show_ostype, SENTRY_SYSNAME)
TEXT(show_osrelease, SENTRY_RELEASE)
TEXT(show_os_version, SENTRY_VERSION)
TEXT(show_core_pattern, "core")
TEXT(show_printk, "4\t4\t1\t7")
TEXT(show_modprobe, "")
TEXT(show_dentry_state, "0\t0\t45\t0\t0\t0")
TEXT(show_inode_nr, "0\t0")
TEXT(show_congestion_available, "reno cubic")
TEXT(show_qdisc, "fq_codel")
TEXT(show_zero, "0")
TEXT(show_one, "1")

/* ---- names -------------------------------------------------------------------------------------
 */
static int show_uts(struct task *t, struct buf *out, bool domain)
{
    struct utsns *uts = t->ns->uts;
    int r;

    mutex_lock(&uts->lock);
    r = buf_printf(out, "%s\n", domain ? uts->domainname : uts->nodename);
    mutex_unlock(&uts->lock);
    return r;
}

static SHOW(show_hostname)
{
    (void)n;
    return show_uts(t, out, false);
}

static SHOW(show_domainname)
{
    (void)n;
    return show_uts(t, out, true);
}

static ssize_t store_hostname(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    struct utsns *uts = t->ns->uts;
    size_t len = strcspn(data, "\n");

    (void)n;
    if (!cred_capable_in(t->cred, uts->userns, CAP_SYS_ADMIN))
        return -EPERM;
    if (len >= sizeof(uts->nodename))
        return -EINVAL;
    mutex_lock(&uts->lock);
    memset(uts->nodename, 0, sizeof(uts->nodename));
    memcpy(uts->nodename, data, len);
    mutex_unlock(&uts->lock);
    return (ssize_t)size;
}

static SHOW(show_cap_last)
{
    (void)t;
    (void)n;
    return buf_printf(out, "%d\n", CAP_LAST_CAP);
}

/* ---- random ------------------------------------------------------------------------------------
 */
static int show_uuid_of(struct buf *out, const unsigned char b[16])
{
    return buf_printf(out, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n",
                      b[0], b[1], b[2], b[3], b[4], b[5], (b[6] & 15) | 0x40, b[7],
                      (b[8] & 0x3f) | 0x80, b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static SHOW(show_uuid)
{
    unsigned char b[16];

    (void)t;
    (void)n;
    if (getrandom(b, sizeof(b), 0) != sizeof(b))
        return -EIO;
    return show_uuid_of(out, b);
}

/* One per sandbox: made when first asked for. */
static SHOW(show_boot_id)
{
    static struct mutex lock = MUTEX_INIT;
    static unsigned char id[16];
    static bool made;
    int r;

    (void)t;
    (void)n;
    mutex_lock(&lock);
    if (!made)
        made = getrandom(id, sizeof(id), 0) == sizeof(id);
    r = show_uuid_of(out, id);
    mutex_unlock(&lock);
    return r;
}

static SHOW(show_file_nr)
{
    (void)t;
    (void)n;
    return buf_printf(out, "%d\t0\t%ld\n", 1024, LONG_MAX);
}

static SHOW(show_port_start)
{
    (void)n;
    return buf_printf(out, "%d\n",
                      t->ns->net
                          ? __atomic_load_n(&t->ns->net->unprivileged_port_start, __ATOMIC_RELAXED)
                          : 1024);
}

static ssize_t store_port_start(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    long v;

    (void)n;
    if (!capable(t, CAP_NET_ADMIN) || !t->ns->net)
        return -EPERM;
    if (proc_parse_long(data, 0, 65535, &v) < 0)
        return -EINVAL;
    __atomic_store_n(&t->ns->net->unprivileged_port_start, (int)v, __ATOMIC_RELAXED);
    return (ssize_t)size;
}

/* ---- numbers: one row each ----------------------------------------------------------------------
 */
enum number {
    N_PID_MAX = 1,
    N_THREADS_MAX,
    N_NGROUPS_MAX,
    N_OVERFLOWUID,
    N_OVERFLOWGID,
    N_SHMMAX,
    N_SHMALL,
    N_SHMMNI,
    N_SHM_RMID_FORCED,
    N_MSGMAX,
    N_MSGMNB,
    N_MSGMNI,
    N_PTY_MAX,
    N_PANIC,
    N_SCHED_RT_RUNTIME,
    N_SCHED_RT_PERIOD,
    N_RANDOMIZE,
    N_DMESG_RESTRICT,
    N_KPTR_RESTRICT,
    N_PERF_PARANOID,
    N_UNPRIV_BPF,
    N_SYSRQ,
    N_SCHED_AUTOGROUP,
    N_CORE_USES_PID,
    N_ENTROPY,
    N_POOLSIZE,
    N_OVERCOMMIT,
    N_OVERCOMMIT_RATIO,
    N_MAX_MAP_COUNT,
    N_MMAP_MIN_ADDR,
    N_SWAPPINESS,
    N_DIRTY_RATIO,
    N_DIRTY_BACKGROUND,
    N_DROP_CACHES,
    N_NR_HUGEPAGES,
    N_VFS_CACHE_PRESSURE,
    N_MIN_FREE,
    N_FILE_MAX,
    N_NR_OPEN,
    N_PIPE_MAX,
    N_PIPE_SOFT,
    N_PIPE_HARD,
    N_AIO_MAX,
    N_AIO_NR,
    N_PROTECTED_HARDLINKS,
    N_PROTECTED_SYMLINKS,
    N_PROTECTED_FIFOS,
    N_PROTECTED_REGULAR,
    N_SUID_DUMPABLE,
    N_LEASE_TIME,
    N_LEASES,
    N_INOTIFY_INSTANCES,
    N_INOTIFY_QUEUE,
    N_INOTIFY_WATCHES,
    N_MQ_MSG_MAX,
    N_MQ_MSGSIZE_MAX,
    N_MQ_QUEUES,
    N_MQ_MSG_DEFAULT,
    N_MQ_MSGSIZE_DEFAULT,
    N_EPOLL_WATCHES,
    N_MAX_USER_NS,
    N_SOMAXCONN,
    N_RMEM_MAX,
    N_WMEM_MAX,
    N_RMEM_DEFAULT,
    N_WMEM_DEFAULT,
    N_NETDEV_BACKLOG,
    N_OPTMEM,
    N_IP_FORWARD,
    N_TTL,
    N_SYNCOOKIES,
    N_FIN_TIMEOUT,
    N_KEEPALIVE_TIME,
    N_KEEPALIVE_INTVL,
    N_KEEPALIVE_PROBES,
    N_SYN_RETRIES,
    N_TW_REUSE,
    N_FASTOPEN,
    N_SYN_BACKLOG,
    N_DGRAM_QLEN,
    N_MAX
};

/* value: atomic. min > max: read-only. A guest's write changes what is shown, and nothing else. */
static struct {
    long value, min, max;
} g_numbers[N_MAX] = {
    [N_PID_MAX] = {PID_LIMIT, 301, PID_LIMIT},
    [N_THREADS_MAX] = {63000, 1, 63000},
    [N_NGROUPS_MAX] = {NGROUPS_LIMIT, 1, 0},
    [N_OVERFLOWUID] = {65534, 1, 0},
    [N_OVERFLOWGID] = {65534, 1, 0},
    [N_SHMMAX] = {1L << 40, 0, LONG_MAX},
    [N_SHMALL] = {(1L << 40) / 4096, 0, LONG_MAX},
    [N_SHMMNI] = {4096, 0, 32768},
    [N_SHM_RMID_FORCED] = {0, 0, 1},
    [N_MSGMAX] = {8192, 0, 65536},
    [N_MSGMNB] = {16384, 0, 1048576},
    [N_MSGMNI] = {32000, 0, 32768},
    [N_PTY_MAX] = {4096, 1, 0},
    [N_PANIC] = {0, 1, 0},
    [N_SCHED_RT_RUNTIME] = {950000, 1, 0},
    [N_SCHED_RT_PERIOD] = {1000000, 1, 0},
    [N_RANDOMIZE] = {2, 1, 0},
    [N_DMESG_RESTRICT] = {0, 1, 0},
    [N_KPTR_RESTRICT] = {2, 1, 0},
    [N_PERF_PARANOID] = {4, 1, 0},
    [N_UNPRIV_BPF] = {2, 1, 0},
    [N_SYSRQ] = {0, 1, 0},
    [N_SCHED_AUTOGROUP] = {0, 1, 0},
    [N_CORE_USES_PID] = {0, 1, 0},
    [N_ENTROPY] = {256, 1, 0},
    [N_POOLSIZE] = {256, 1, 0},
    [N_OVERCOMMIT] = {0, 0, 2},
    [N_OVERCOMMIT_RATIO] = {50, 0, 100},
    [N_MAX_MAP_COUNT] = {65530, 1, 0},
    [N_MMAP_MIN_ADDR] = {65536, 1, 0},
    [N_SWAPPINESS] = {60, 0, 200},
    [N_DIRTY_RATIO] = {20, 0, 100},
    [N_DIRTY_BACKGROUND] = {10, 0, 100},
    [N_DROP_CACHES] = {0, 1, 4},
    [N_NR_HUGEPAGES] = {0, 1, 0},
    [N_VFS_CACHE_PRESSURE] = {100, 0, 1000},
    [N_MIN_FREE] = {67584, 1, 0},
    [N_FILE_MAX] = {LONG_MAX, 1, 0},
    [N_NR_OPEN] = {1048576, 1, 0},
    [N_PIPE_MAX] = {1048576, 4096, 1048576},
    [N_PIPE_SOFT] = {16384, 1, 0},
    [N_PIPE_HARD] = {0, 1, 0},
    [N_AIO_MAX] = {65536, 1, 0},
    [N_AIO_NR] = {0, 1, 0},
    [N_PROTECTED_HARDLINKS] = {1, 1, 0},
    [N_PROTECTED_SYMLINKS] = {1, 1, 0},
    [N_PROTECTED_FIFOS] = {0, 1, 0},
    [N_PROTECTED_REGULAR] = {0, 1, 0},
    [N_SUID_DUMPABLE] = {0, 1, 0},
    [N_LEASE_TIME] = {45, 1, 0},
    [N_LEASES] = {1, 1, 0},
    [N_INOTIFY_INSTANCES] = {INOTIFY_INSTANCES_MAX, 1, 0},
    [N_INOTIFY_QUEUE] = {INOTIFY_QUEUE_MAX, 1, 0},
    [N_INOTIFY_WATCHES] = {INOTIFY_WATCHES_MAX, 1, 0},
    [N_MQ_MSG_MAX] = {10, 1, 0},
    [N_MQ_MSGSIZE_MAX] = {8192, 1, 0},
    [N_MQ_QUEUES] = {256, 1, 0},
    [N_MQ_MSG_DEFAULT] = {10, 1, 0},
    [N_MQ_MSGSIZE_DEFAULT] = {8192, 1, 0},
    [N_EPOLL_WATCHES] = {1048576, 1, 0},
    [N_MAX_USER_NS] = {31000, 1, 0},
    [N_SOMAXCONN] = {4096, 1, 65535},
    [N_RMEM_MAX] = {212992, 1, 0},
    [N_WMEM_MAX] = {212992, 1, 0},
    [N_RMEM_DEFAULT] = {212992, 1, 0},
    [N_WMEM_DEFAULT] = {212992, 1, 0},
    [N_NETDEV_BACKLOG] = {1000, 1, 0},
    [N_OPTMEM] = {20480, 1, 0},
    [N_IP_FORWARD] = {0, 1, 0},
    [N_TTL] = {64, 1, 0},
    [N_SYNCOOKIES] = {1, 0, 2},
    [N_FIN_TIMEOUT] = {60, 1, 3600},
    [N_KEEPALIVE_TIME] = {7200, 1, 32767},
    [N_KEEPALIVE_INTVL] = {75, 1, 32767},
    [N_KEEPALIVE_PROBES] = {9, 1, 127},
    [N_SYN_RETRIES] = {6, 1, 127},
    [N_TW_REUSE] = {2, 0, 2},
    [N_FASTOPEN] = {1, 1, 0},
    [N_SYN_BACKLOG] = {512, 1, 65535},
    [N_DGRAM_QLEN] = {512, 1, 0},
};

static SHOW(show_number)
{
    (void)t;
    return buf_printf(out, "%ld\n", __atomic_load_n(&g_numbers[n->number].value, __ATOMIC_RELAXED));
}

static ssize_t store_number(struct task *t, struct pseudo_node *n, char *data, size_t size)
{
    long v;

    if (g_numbers[n->number].min > g_numbers[n->number].max || !capable(t, CAP_SYS_ADMIN))
        return -EPERM;
    if (proc_parse_long(data, g_numbers[n->number].min, g_numbers[n->number].max, &v) < 0)
        return -EINVAL;
    __atomic_store_n(&g_numbers[n->number].value, v, __ATOMIC_RELAXED);
    return (ssize_t)size;
}

/* ---- texts that a pod's spec may set -----------------------------------------------------------
 */
enum text { T_SEM, T_PORT_RANGE, T_PING_RANGE, T_TCP_MEM, T_TCP_RMEM, T_TCP_WMEM, T_CONGESTION };

/* Changed while the sandbox is made, constant afterwards. */
static char g_texts[][64] = {
    [T_SEM] = "32000\t1024000000\t500\t32000",
    [T_PORT_RANGE] = "32768\t60999",
    [T_PING_RANGE] = "0\t2147483647",
    [T_TCP_MEM] = "88560\t118080\t177120",
    [T_TCP_RMEM] = "4096\t131072\t6291456",
    [T_TCP_WMEM] = "4096\t16384\t4194304",
    [T_CONGESTION] = "cubic",
};

static SHOW(show_text)
{
    (void)t;
    return buf_printf(out, "%s\n", g_texts[n->number]);
}

/* ---- rows --------------------------------------------------------------------------------------
 */
#define S(n, f)                                                                                    \
    {                                                                                              \
        .name = n, .mode = S_IFREG | 0444, .show = f                                               \
    }
#define N(n, which)                                                                                \
    {                                                                                              \
        .name = n, .mode = S_IFREG | 0644, .show = show_number, .store = store_number,             \
        .number = which                                                                            \
    }
#define T(n, which)                                                                                \
    {                                                                                              \
        .name = n, .mode = S_IFREG | 0444, .show = show_text, .number = which                      \
    }
#define D(n, rows)                                                                                 \
    {                                                                                              \
        .name = n, .mode = S_IFDIR | 0555, .entries = rows                                         \
    }

static const struct pseudo_entry random_rows[] = {S("boot_id", show_boot_id),
                                                  N("entropy_avail", N_ENTROPY),
                                                  N("poolsize", N_POOLSIZE),
                                                  S("uuid", show_uuid),
                                                  {0}};
static const struct pseudo_entry pty_rows[] = {
    N("max", N_PTY_MAX), S("nr", show_zero), N("reserve", N_PTY_MAX), {0}};
static const struct pseudo_entry kernel_rows[] = {
    S("cap_last_cap", show_cap_last),
    S("core_pattern", show_core_pattern),
    N("core_uses_pid", N_CORE_USES_PID),
    N("dmesg_restrict", N_DMESG_RESTRICT),
    {.name = "domainname", .mode = S_IFREG | 0444, .show = show_domainname},
    {.name = "hostname", .mode = S_IFREG | 0644, .show = show_hostname, .store = store_hostname},
    N("kptr_restrict", N_KPTR_RESTRICT),
    S("modprobe", show_modprobe),
    N("msgmax", N_MSGMAX),
    N("msgmnb", N_MSGMNB),
    N("msgmni", N_MSGMNI),
    N("ngroups_max", N_NGROUPS_MAX),
    S("osrelease", show_osrelease),
    S("ostype", show_ostype),
    N("overflowgid", N_OVERFLOWGID),
    N("overflowuid", N_OVERFLOWUID),
    N("panic", N_PANIC),
    N("perf_event_paranoid", N_PERF_PARANOID),
    N("pid_max", N_PID_MAX),
    S("printk", show_printk),
    D("pty", pty_rows),
    D("random", random_rows),
    N("randomize_va_space", N_RANDOMIZE),
    N("sched_autogroup_enabled", N_SCHED_AUTOGROUP),
    N("sched_rt_period_us", N_SCHED_RT_PERIOD),
    N("sched_rt_runtime_us", N_SCHED_RT_RUNTIME),
    T("sem", T_SEM),
    N("shm_rmid_forced", N_SHM_RMID_FORCED),
    N("shmall", N_SHMALL),
    N("shmmax", N_SHMMAX),
    N("shmmni", N_SHMMNI),
    N("sysrq", N_SYSRQ),
    S("tainted", show_zero),
    N("threads-max", N_THREADS_MAX),
    N("unprivileged_bpf_disabled", N_UNPRIV_BPF),
    S("version", show_os_version),
    {0}};
static const struct pseudo_entry vm_rows[] = {N("dirty_background_ratio", N_DIRTY_BACKGROUND),
                                              N("dirty_ratio", N_DIRTY_RATIO),
                                              N("drop_caches", N_DROP_CACHES),
                                              N("max_map_count", N_MAX_MAP_COUNT),
                                              N("min_free_kbytes", N_MIN_FREE),
                                              N("mmap_min_addr", N_MMAP_MIN_ADDR),
                                              N("nr_hugepages", N_NR_HUGEPAGES),
                                              N("overcommit_memory", N_OVERCOMMIT),
                                              N("overcommit_ratio", N_OVERCOMMIT_RATIO),
                                              N("swappiness", N_SWAPPINESS),
                                              N("vfs_cache_pressure", N_VFS_CACHE_PRESSURE),
                                              {0}};
static const struct pseudo_entry inotify_rows[] = {N("max_queued_events", N_INOTIFY_QUEUE),
                                                   N("max_user_instances", N_INOTIFY_INSTANCES),
                                                   N("max_user_watches", N_INOTIFY_WATCHES),
                                                   {0}};
static const struct pseudo_entry epoll_rows[] = {N("max_user_watches", N_EPOLL_WATCHES), {0}};
static const struct pseudo_entry mqueue_rows[] = {N("msg_default", N_MQ_MSG_DEFAULT),
                                                  N("msg_max", N_MQ_MSG_MAX),
                                                  N("msgsize_default", N_MQ_MSGSIZE_DEFAULT),
                                                  N("msgsize_max", N_MQ_MSGSIZE_MAX),
                                                  N("queues_max", N_MQ_QUEUES),
                                                  {0}};
static const struct pseudo_entry fs_rows[] = {N("aio-max-nr", N_AIO_MAX),
                                              N("aio-nr", N_AIO_NR),
                                              S("dentry-state", show_dentry_state),
                                              D("epoll", epoll_rows),
                                              N("file-max", N_FILE_MAX),
                                              S("file-nr", show_file_nr),
                                              S("inode-nr", show_inode_nr),
                                              D("inotify", inotify_rows),
                                              N("lease-break-time", N_LEASE_TIME),
                                              N("leases-enable", N_LEASES),
                                              D("mqueue", mqueue_rows),
                                              N("nr_open", N_NR_OPEN),
                                              N("pipe-max-size", N_PIPE_MAX),
                                              N("pipe-user-pages-hard", N_PIPE_HARD),
                                              N("pipe-user-pages-soft", N_PIPE_SOFT),
                                              N("protected_fifos", N_PROTECTED_FIFOS),
                                              N("protected_hardlinks", N_PROTECTED_HARDLINKS),
                                              N("protected_regular", N_PROTECTED_REGULAR),
                                              N("protected_symlinks", N_PROTECTED_SYMLINKS),
                                              N("suid_dumpable", N_SUID_DUMPABLE),
                                              {0}};
static const struct pseudo_entry user_rows[] = {N("max_user_namespaces", N_MAX_USER_NS), {0}};
static const struct pseudo_entry core_rows[] = {S("default_qdisc", show_qdisc),
                                                N("netdev_max_backlog", N_NETDEV_BACKLOG),
                                                N("optmem_max", N_OPTMEM),
                                                N("rmem_default", N_RMEM_DEFAULT),
                                                N("rmem_max", N_RMEM_MAX),
                                                N("somaxconn", N_SOMAXCONN),
                                                N("wmem_default", N_WMEM_DEFAULT),
                                                N("wmem_max", N_WMEM_MAX),
                                                {0}};
static const struct pseudo_entry ipv4_rows[] = {
    N("ip_default_ttl", N_TTL),
    N("ip_forward", N_IP_FORWARD),
    T("ip_local_port_range", T_PORT_RANGE),
    S("ip_nonlocal_bind", show_zero),
    {.name = "ip_unprivileged_port_start",
     .mode = S_IFREG | 0644,
     .show = show_port_start,
     .store = store_port_start},
    T("ping_group_range", T_PING_RANGE),
    S("tcp_allowed_congestion_control", show_congestion_available),
    S("tcp_available_congestion_control", show_congestion_available),
    T("tcp_congestion_control", T_CONGESTION),
    N("tcp_fastopen", N_FASTOPEN),
    N("tcp_fin_timeout", N_FIN_TIMEOUT),
    N("tcp_keepalive_intvl", N_KEEPALIVE_INTVL),
    N("tcp_keepalive_probes", N_KEEPALIVE_PROBES),
    N("tcp_keepalive_time", N_KEEPALIVE_TIME),
    N("tcp_max_syn_backlog", N_SYN_BACKLOG),
    T("tcp_mem", T_TCP_MEM),
    T("tcp_rmem", T_TCP_RMEM),
    S("tcp_sack", show_one),
    N("tcp_syn_retries", N_SYN_RETRIES),
    N("tcp_syncookies", N_SYNCOOKIES),
    S("tcp_timestamps", show_one),
    N("tcp_tw_reuse", N_TW_REUSE),
    S("tcp_window_scaling", show_one),
    T("tcp_wmem", T_TCP_WMEM),
    {0}};
static const struct pseudo_entry ipv6_conf_one[] = {
    S("accept_ra", show_one), S("disable_ipv6", show_zero), S("forwarding", show_zero), {0}};
static const struct pseudo_entry ipv6_conf[] = {
    D("all", ipv6_conf_one), D("default", ipv6_conf_one), D("lo", ipv6_conf_one), {0}};
static const struct pseudo_entry ipv6_rows[] = {
    S("bindv6only", show_zero), D("conf", ipv6_conf), {0}};
static const struct pseudo_entry unix_rows[] = {N("max_dgram_qlen", N_DGRAM_QLEN), {0}};
static const struct pseudo_entry net_rows[] = {
    D("core", core_rows), D("ipv4", ipv4_rows), D("ipv6", ipv6_rows), D("unix", unix_rows), {0}};
const struct pseudo_entry proc_sys_rows[] = {D("fs", fs_rows),   D("kernel", kernel_rows),
                                             D("net", net_rows), D("user", user_rows),
                                             D("vm", vm_rows),   {0}};

/* ---- from the pod's spec -----------------------------------------------------------------------
 */
static const struct pseudo_entry *find_row(const struct pseudo_entry *rows, const char *path)
{
    size_t n = strcspn(path, "./");

    for (; rows->name; rows++)
        if (strlen(rows->name) == n && strncmp(rows->name, path, n) == 0)
            return !path[n] ? rows : rows->entries ? find_row(rows->entries, path + n + 1) : NULL;
    return NULL;
}

int sysctl_set(const char *key, const char *value)
{
    const struct pseudo_entry *row = find_row(proc_sys_rows, key);
    long v;

    if (!row)
        return -ENOENT;
    if (row->show == show_text) {
        (void)snprintf(g_texts[row->number], sizeof(g_texts[0]), "%s", value);
        for (char *p = g_texts[row->number]; *p; p++)
            *p = *p == ' ' ? '\t' : *p;
        return 0;
    }
    if (row->show != show_number && row->show != show_port_start)
        return -EOPNOTSUPP;
    if (sscanf(value, "%ld", &v) != 1)
        return -EINVAL;
    if (row->show == show_number)
        __atomic_store_n(&g_numbers[row->number].value, v, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&g_sentry.net->unprivileged_port_start, (int)v, __ATOMIC_RELAXED);
    return 0;
}
