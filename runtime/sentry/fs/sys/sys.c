/*
 * /sys, as far as programs read it to learn about processors, memory, interfaces and cgroups. No
 * device of the host appears.
 */
#include "runtime/sentry/fs/sys/sys.h"
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/cgroup/cgroup.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/pseudo.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHOW(f) static int f(struct task *t, struct pseudo_node *n, struct buf *out)
#define UNUSED                                                                                     \
    (void)t;                                                                                       \
    (void)n
#define R(file, f)                                                                                 \
    {                                                                                              \
        .name = file, .mode = S_IFREG | 0444, .show = f                                            \
    }
#define D(dir, rows)                                                                               \
    {                                                                                              \
        .name = dir, .mode = S_IFDIR | 0555, .entries = rows                                       \
    }

static unsigned cpus_of(const struct task *t)
{
    unsigned n = t && t->process->container ? t->process->container->cpus : 0;

    return n ? n : MAX(g_sentry.host_cpus, 1U);
}

/* ---- processors
 * ------------------------------------------------------------------------------------ */
static int range(struct buf *out, unsigned n)
{
    return n > 1 ? buf_printf(out, "0-%u\n", n - 1) : buf_puts(out, "0\n");
}

SHOW(show_cpu_range)
{
    (void)n;
    return range(out, cpus_of(t));
}

SHOW(show_kernel_max)
{
    UNUSED;
    return buf_puts(out, "8191\n");
}

SHOW(show_one)
{
    UNUSED;
    return buf_puts(out, "1\n");
}

SHOW(show_zero)
{
    UNUSED;
    return buf_puts(out, "0\n");
}

SHOW(show_newline)
{
    UNUSED;
    return buf_puts(out, "\n");
}

SHOW(show_core_id)
{
    (void)t;
    return buf_printf(out, "%lu\n", n->number);
}

SHOW(show_siblings)
{
    (void)t;
    return buf_printf(out, "%lx\n", 1UL << (n->number & 31));
}

SHOW(show_siblings_list)
{
    (void)t;
    return buf_printf(out, "%lu\n", n->number);
}

SHOW(show_package_mask)
{
    unsigned count = cpus_of(t);

    (void)n;
    return buf_printf(out, "%x\n", count >= 32 ? ~0U : (1U << count) - 1);
}

static const struct pseudo_entry topology_rows[] = {R("cluster_id", show_zero),
                                                    R("core_cpus", show_siblings),
                                                    R("core_cpus_list", show_siblings_list),
                                                    R("core_id", show_core_id),
                                                    R("core_siblings", show_package_mask),
                                                    R("core_siblings_list", show_cpu_range),
                                                    R("die_id", show_zero),
                                                    R("package_cpus", show_package_mask),
                                                    R("package_cpus_list", show_cpu_range),
                                                    R("physical_package_id", show_zero),
                                                    R("thread_siblings", show_siblings),
                                                    R("thread_siblings_list", show_siblings_list),
                                                    {0}};

/* Levels of the cache directory index0..index3. */
static const struct cache {
    const char *level, *type, *size;
    bool shared;
} caches[] = {{"1", "Data", "32K", false},
              {"1", "Instruction", "32K", false},
              {"2", "Unified", "1024K", false},
              {"3", "Unified", "32768K", true}};

/* The cache's number is above the processor's. */
static const struct cache *cache_of(const struct pseudo_node *n)
{
    return &caches[n->number >> 32 & 3];
}

SHOW(show_cache_level)
{
    (void)t;
    return buf_printf(out, "%s\n", cache_of(n)->level);
}

SHOW(show_cache_type)
{
    (void)t;
    return buf_printf(out, "%s\n", cache_of(n)->type);
}

SHOW(show_cache_size)
{
    (void)t;
    return buf_printf(out, "%s\n", cache_of(n)->size);
}

SHOW(show_cache_line)
{
    UNUSED;
    return buf_puts(out, "64\n");
}

SHOW(show_cache_ways)
{
    UNUSED;
    return buf_puts(out, "8\n");
}

SHOW(show_cache_cpus)
{
    if (cache_of(n)->shared)
        return range(out, cpus_of(t));
    return buf_printf(out, "%lu\n", n->number & 0xffffffff);
}

SHOW(show_cache_map)
{
    unsigned count = cpus_of(t);

    if (cache_of(n)->shared)
        return buf_printf(out, "%x\n", count >= 32 ? ~0U : (1U << count) - 1);
    return buf_printf(out, "%lx\n", 1UL << (n->number & 31));
}

static const struct pseudo_entry cache_rows[] = {R("coherency_line_size", show_cache_line),
                                                 R("id", show_zero),
                                                 R("level", show_cache_level),
                                                 R("shared_cpu_list", show_cache_cpus),
                                                 R("shared_cpu_map", show_cache_map),
                                                 R("size", show_cache_size),
                                                 R("type", show_cache_type),
                                                 R("ways_of_associativity", show_cache_ways),
                                                 {0}};
static const struct pseudo_entry cache_row = {.mode = S_IFDIR | 0555, .entries = cache_rows};

/* The number behind prefix in name, below limit; -1 if it is none. */
static long number_in(const char *name, const char *prefix, unsigned limit)
{
    size_t len = strlen(prefix);
    char *end;
    unsigned long nr;

    if (strncmp(name, prefix, len) != 0 || name[len] < '0' || name[len] > '9')
        return -1;
    nr = strtoul(name + len, &end, 10);
    return *end || nr >= limit || (name[len] == '0' && name[len + 1]) ? -1 : (long)nr;
}

typedef bool (*emit_fn)(void *arg, const char *name, unsigned type, uint64_t ino, int64_t next_pos);

static int emit_numbered(const char *prefix, unsigned limit, int64_t *pos, emit_fn emit, void *arg)
{
    char name[32];

    for (; *pos < (int64_t)limit; (*pos)++) {
        (void)snprintf(name, sizeof(name), "%s%lu", prefix, (unsigned long)*pos);
        if (!emit(arg, name, DT_DIR, 0, *pos + 1))
            break;
    }
    return 0;
}

static int lookup_cache(struct task *t, struct pseudo_node *dir, const char *name,
                        struct pseudo_found *ret)
{
    long nr = number_in(name, "index", ARRAY_SIZE(caches));

    (void)t;
    if (nr < 0)
        return -ENOENT;
    *ret = (struct pseudo_found){.row = &cache_row,
                                 .number = (dir->number & 0xffffffff) | (uint64_t)nr << 32};
    return 0;
}

static int iterate_cache(struct task *t, struct pseudo_node *dir, int64_t *pos, emit_fn emit,
                         void *arg)
{
    (void)t;
    (void)dir;
    return emit_numbered("index", ARRAY_SIZE(caches), pos, emit, arg);
}

static bool always_valid(struct task *t, struct pseudo_node *n)
{
    UNUSED;
    return true;
}

static const struct pseudo_dynamic cache_dirs = {lookup_cache, iterate_cache, always_valid};
static const struct pseudo_entry cpu_n_rows[] = {
    {.name = "cache", .mode = S_IFDIR | 0555, .dynamic = &cache_dirs},
    R("online", show_one),
    D("topology", topology_rows),
    {0}};
static const struct pseudo_entry cpu_n_row = {.mode = S_IFDIR | 0555, .entries = cpu_n_rows};

static int lookup_cpu(struct task *t, struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    long nr = number_in(name, "cpu", cpus_of(t));

    (void)dir;
    if (nr < 0)
        return -ENOENT;
    *ret = (struct pseudo_found){.row = &cpu_n_row, .number = (uint64_t)nr};
    return 0;
}

static int iterate_cpu(struct task *t, struct pseudo_node *dir, int64_t *pos, emit_fn emit,
                       void *arg)
{
    (void)dir;
    return emit_numbered("cpu", cpus_of(t), pos, emit, arg);
}

static const struct pseudo_dynamic cpu_dirs = {lookup_cpu, iterate_cpu, always_valid};
static const struct pseudo_entry cpu_rows[] = {
    R("kernel_max", show_kernel_max), R("isolated", show_newline),
    R("offline", show_newline),       R("online", show_cpu_range),
    R("possible", show_cpu_range),    R("present", show_cpu_range),
    {.dynamic = &cpu_dirs},           {0}};

/* ---- memory nodes
 * ----------------------------------------------------------------------------------- */
SHOW(show_node_meminfo)
{
    unsigned long total = g_sentry.host_memory / 1024;
    const struct container *c = t->process->container;

    (void)n;
    if (c && c->memory_limit && c->memory_limit / 1024 < total)
        total = c->memory_limit / 1024;
    return buf_printf(out, "Node 0 MemTotal:       %8lu kB\nNode 0 MemFree:        %8lu kB\n",
                      total, total / 2);
}

SHOW(show_distance)
{
    UNUSED;
    return buf_puts(out, "10\n");
}

static const struct pseudo_entry node0_rows[] = {R("cpulist", show_cpu_range),
                                                 R("cpumap", show_package_mask),
                                                 R("distance", show_distance),
                                                 R("meminfo", show_node_meminfo),
                                                 {0}};
static const struct pseudo_entry node_rows[] = {R("has_cpu", show_zero),
                                                R("has_memory", show_zero),
                                                R("has_normal_memory", show_zero),
                                                D("node0", node0_rows),
                                                R("online", show_zero),
                                                R("possible", show_zero),
                                                {0}};

/* ---- transparent huge pages: the host's, for guest memory is the host's
 * ------------------------------ */
SHOW(show_thp)
{
    UNUSED;
    return buf_puts(out, "always [madvise] never\n");
}

SHOW(show_hpage_size)
{
    UNUSED;
    return buf_puts(out, "2097152\n");
}

static const struct pseudo_entry empty_rows[] = {{0}};
static const struct pseudo_entry thp_rows[] = {R("defrag", show_thp),
                                               R("enabled", show_thp),
                                               R("hpage_pmd_size", show_hpage_size),
                                               R("shmem_enabled", show_thp),
                                               R("use_zero_page", show_one),
                                               {0}};
static const struct pseudo_entry mm_rows[] = {
    D("hugepages", empty_rows), D("transparent_hugepage", thp_rows), {0}};
static const struct pseudo_entry kernel_rows[] = {
    D("debug", empty_rows), D("mm", mm_rows), D("security", empty_rows), {0}};

static const struct pseudo_entry system_rows[] = {D("cpu", cpu_rows), D("node", node_rows), {0}};
static const struct pseudo_entry virtual_rows[] = {
    {.name = "net", .mode = S_IFDIR | 0555, .dynamic = &sys_net_dirs}, {0}};
static const struct pseudo_entry devices_rows[] = {
    D("system", system_rows), D("virtual", virtual_rows), {0}};
static const struct pseudo_entry class_rows[] = {
    D("block", empty_rows),
    {.name = "net", .mode = S_IFDIR | 0555, .dynamic = &sys_net_dirs},
    D("tty", empty_rows),
    {0}};
/* A place to mount the cgroup file system on. */
static const struct pseudo_entry fs_rows[] = {D("cgroup", cgroup_rows), {0}};
static const struct pseudo_entry root_rows[] = {D("block", empty_rows),
                                                D("bus", empty_rows),
                                                D("class", class_rows),
                                                D("dev", empty_rows),
                                                D("devices", devices_rows),
                                                D("firmware", empty_rows),
                                                D("fs", fs_rows),
                                                D("kernel", kernel_rows),
                                                D("module", empty_rows),
                                                D("power", empty_rows),
                                                {0}};
static const struct pseudo_entry root_row = {.mode = S_IFDIR | 0555, .entries = root_rows};

static const struct super_ops sysfs_ops;

static int sysfs_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                       struct super **ret)
{
    (void)t;
    (void)args;
    return pseudo_super_new(type, &sysfs_ops, &root_row, NULL, NULL,
                            SUPER_NO_DEV | SUPER_NO_EXEC | SUPER_NO_ATIME, NULL, ret);
}

extern const struct fs_type sysfs_fs_type;
const struct fs_type sysfs_fs_type = {
    .name = "sysfs", .magic = 0x62656572, .no_dev = true, .userns = true, .mount = sysfs_mount};
