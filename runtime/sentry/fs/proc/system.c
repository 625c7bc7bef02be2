/* Files at the root of /proc that describe the machine: as the container's limits make it look. */
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/vfs/inode.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { TICKS = 100 };

#define UNUSED_SHOW_ARGS                                                                           \
    (void)t;                                                                                       \
    (void)n

static unsigned cpus_of(const struct task *t)
{
    unsigned n = t->process->container ? t->process->container->cpus : 0;

    return n ? n : MAX(g_sentry.host_cpus, 1U);
}

SHOW(proc_show_empty)
{
    UNUSED_SHOW_ARGS;
    (void)out;
    return 0;
}

SHOW(proc_show_version)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, SENTRY_SYSNAME " version " SENTRY_RELEASE
                                        " (berm@sandbox) (gcc) " SENTRY_VERSION "\n");
}

SHOW(proc_show_kernel_cmdline)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, "BOOT_IMAGE=/vmlinuz-" SENTRY_RELEASE " quiet\n");
}

/* ---- cpuinfo: identification by the CPU itself -------------------------------------------------
 */
struct cpu_id {
    char vendor[13], model_name[49];
    unsigned family, model, stepping, cache_kb, phys_bits, virt_bits, cpuid_level, clflush;
    uint32_t leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx, ext1_ecx, ext1_edx;
};

static void read_model(struct cpu_id *c)
{
    uint32_t r[12];

    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002 + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]))
            return;
    memcpy(c->model_name, r, sizeof(r));
}

static void read_cpu(struct cpu_id *c)
{
    uint32_t a = 0, b = 0, cx = 0, d = 0;

    memset(c, 0, sizeof(*c));
    if (__get_cpuid(0, &a, &b, &cx, &d)) {
        c->cpuid_level = a;
        memcpy(c->vendor, &b, 4);
        memcpy(c->vendor + 4, &d, 4);
        memcpy(c->vendor + 8, &cx, 4);
    }
    if (__get_cpuid(1, &a, &b, &c->leaf1_ecx, &c->leaf1_edx)) {
        c->stepping = a & 15;
        c->family = (a >> 8 & 15) + ((a >> 8 & 15) == 15 ? a >> 20 & 255 : 0);
        c->model = (a >> 4 & 15) | (a >> 12 & 0xf0);
        c->clflush = (b >> 8 & 255) * 8;
    }
    (void)__get_cpuid_count(7, 0, &a, &c->leaf7_ebx, &c->leaf7_ecx, &c->leaf7_edx);
    (void)__get_cpuid(0x80000001, &a, &b, &c->ext1_ecx, &c->ext1_edx);
    if (__get_cpuid(0x80000006, &a, &b, &cx, &d))
        c->cache_kb = cx >> 16;
    if (__get_cpuid(0x80000008, &a, &b, &cx, &d)) {
        c->phys_bits = a & 255;
        c->virt_bits = a >> 8 & 255;
    }
    read_model(c);
}

/* Names by bit, as /proc/cpuinfo spells them. */
static const char *const names_1_edx[32] = {
    "fpu",  "vme",  "de",   "pse", "tsc",  "msr", "pae",   "mce", "cx8",     "apic", NULL,
    "sep",  "mtrr", "pge",  "mca", "cmov", "pat", "pse36", "pn",  "clflush", NULL,   "dts",
    "acpi", "mmx",  "fxsr", "sse", "sse2", "ss",  "ht",    "tm",  "ia64",    "pbe"};
static const char *const names_1_ecx[32] = {
    "pni",    "pclmulqdq", "dtes64", "monitor", "ds_cpl",
    "vmx",    "smx",       "est",    "tm2",     "ssse3",
    NULL,     "sdbg",      "fma",    "cx16",    "xtpr",
    "pdcm",   NULL,        "pcid",   "dca",     "sse4_1",
    "sse4_2", "x2apic",    "movbe",  "popcnt",  "tsc_deadline_timer",
    "aes",    "xsave",     NULL,     "avx",     "f16c",
    "rdrand", "hypervisor"};
static const char *const names_7_ebx[32] = {
    "fsgsbase",   "tsc_adjust", NULL,         "bmi1",     "hle",      "avx2",     NULL,
    "smep",       "bmi2",       "erms",       "invpcid",  "rtm",      "cqm",      NULL,
    "mpx",        "rdt_a",      "avx512f",    "avx512dq", "rdseed",   "adx",      "smap",
    "avx512ifma", NULL,         "clflushopt", "clwb",     "intel_pt", "avx512pf", "avx512er",
    "avx512cd",   "sha_ni",     "avx512bw",   "avx512vl"};
static const char *const names_7_ecx[32] = {NULL,
                                            "avx512vbmi",
                                            "umip",
                                            "pku",
                                            "ospke",
                                            "waitpkg",
                                            "avx512_vbmi2",
                                            NULL,
                                            "gfni",
                                            "vaes",
                                            "vpclmulqdq",
                                            "avx512_vnni",
                                            "avx512_bitalg",
                                            "tme",
                                            "avx512_vpopcntdq",
                                            NULL,
                                            [22] = "rdpid"};
static const char *const names_7_edx[32] = {
    [2] = "avx512_4vnniw", [3] = "avx512_4fmaps", [4] = "fsrm",
    [10] = "md_clear",     [14] = "serialize",    [29] = "arch_capabilities"};
static const char *const names_ext1_edx[32] = {
    [11] = "syscall", [20] = "nx",     [22] = "mmxext", [25] = "fxsr_opt",
    [26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm"};
static const char *const names_ext1_ecx[32] = {
    [0] = "lahf_lm", [1] = "cmp_legacy", [2] = "svm",         [4] = "cr8_legacy",
    [5] = "abm",     [6] = "sse4a",      [7] = "misalignsse", [8] = "3dnowprefetch",
    [9] = "osvw",    [11] = "xop",       [16] = "fma4",       [22] = "topoext"};

static void flags(struct buf *out, const char *const names[32], uint32_t bits)
{
    for (unsigned i = 0; i < 32; i++)
        if (names[i] && bits >> i & 1)
            (void)buf_printf(out, " %s", names[i]);
}

static void show_cpu(struct buf *out, const struct cpu_id *c, unsigned i, unsigned count)
{
    (void)buf_printf(out, "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", i,
                     c->vendor, c->family, c->model);
    (void)buf_printf(out, "model name\t: %s\nstepping\t: %u\nmicrocode\t: 0xffffffff\n",
                     c->model_name, c->stepping);
    (void)buf_printf(out, "cpu MHz\t\t: 2000.000\ncache size\t: %u KB\nphysical id\t: 0\n",
                     c->cache_kb);
    (void)buf_printf(out, "siblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\n", count, i, count);
    (void)buf_printf(out, "apicid\t\t: %u\ninitial apicid\t: %u\nfpu\t\t: yes\n", i, i);
    (void)buf_printf(
        out, "fpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\nflags\t\t:", c->cpuid_level);
    flags(out, names_1_edx, c->leaf1_edx);
    flags(out, names_ext1_edx, c->ext1_edx);
    flags(out, names_1_ecx, c->leaf1_ecx);
    flags(out, names_ext1_ecx, c->ext1_ecx);
    flags(out, names_7_ebx, c->leaf7_ebx);
    flags(out, names_7_ecx, c->leaf7_ecx);
    flags(out, names_7_edx, c->leaf7_edx);
    (void)buf_printf(out, "\nbugs\t\t:\nbogomips\t: 4000.00\nclflush size\t: %u\n", c->clflush);
    (void)buf_printf(out,
                     "cache_alignment\t: %u\naddress sizes\t: %u bits physical, %u bits virtual\n",
                     c->clflush, c->phys_bits, c->virt_bits);
    (void)buf_puts(out, "power management:\n\n");
}

SHOW(proc_show_cpuinfo)
{
    unsigned count = cpus_of(t);
    struct cpu_id c;

    (void)n;
    read_cpu(&c);
    for (unsigned i = 0; i < count; i++)
        show_cpu(out, &c, i, count);
    return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */
/* Total and free as the container may use them; kB. */
static void memory_of(const struct task *t, unsigned long *total, unsigned long *available)
{
    const struct container *c = t->process->container;
    struct sysinfo si;
    unsigned long limit = c ? c->memory_limit / 1024 : 0, used = 0;

    if (sysinfo(&si) < 0) {
        *total = *available = g_sentry.host_memory / 1024;
        return;
    }
    *total = si.totalram / 1024 * si.mem_unit;
    *available = (si.freeram + si.bufferram) / 1024 * si.mem_unit;
    if (!limit || limit >= *total)
        return;
    used = *total - *available;
    *total = limit;
    *available = MIN(*available, limit - MIN(limit / 4, used));
}

SHOW(proc_show_meminfo)
{
    static const char *const zero[] = {"SwapCached", "SwapTotal",   "SwapFree",    "Dirty",
                                       "Writeback",  "Mlocked",     "Unevictable", "NFS_Unstable",
                                       "Bounce",     "HugetlbSize", "WritebackTmp"};
    unsigned long total, available, used;

    (void)n;
    memory_of(t, &total, &available);
    used = total - available;
    (void)buf_printf(out, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\n", total, available);
    (void)buf_printf(out, "MemAvailable:   %8lu kB\nBuffers:        %8u kB\n", available, 0U);
    (void)buf_printf(out, "Cached:         %8lu kB\nActive:         %8lu kB\n", used / 4, used / 2);
    (void)buf_printf(out, "Inactive:       %8lu kB\nActive(anon):   %8lu kB\n", used / 4, used / 4);
    (void)buf_printf(out, "Inactive(anon): %8u kB\nActive(file):   %8lu kB\n", 0U, used / 4);
    (void)buf_printf(out, "Inactive(file): %8lu kB\nAnonPages:      %8lu kB\n", used / 4, used / 2);
    (void)buf_printf(out, "Mapped:         %8lu kB\nShmem:          %8u kB\n", used / 8, 0U);
    for (unsigned i = 0; i < ARRAY_SIZE(zero); i++)
        (void)buf_printf(out, "%s:%*u kB\n", zero[i], 23 - (int)strlen(zero[i]), 0U);
    (void)buf_printf(out, "Slab:           %8u kB\nSReclaimable:   %8u kB\n", 0U, 0U);
    (void)buf_printf(out, "SUnreclaim:     %8u kB\nKernelStack:    %8u kB\n", 0U, 0U);
    (void)buf_printf(out, "PageTables:     %8u kB\nCommitLimit:    %8lu kB\n", 0U, total / 2);
    (void)buf_printf(out, "Committed_AS:   %8lu kB\nVmallocTotal:   34359738367 kB\n", used);
    return buf_puts(out, "VmallocUsed:           0 kB\nVmallocChunk:          0 kB\n"
                         "AnonHugePages:         0 kB\nHugePages_Total:       0\n"
                         "HugePages_Free:        0\nHugePages_Rsvd:        0\n"
                         "HugePages_Surp:        0\nHugepagesize:       2048 kB\n"
                         "Hugetlb:               0 kB\nDirectMap4k:      104428 kB\n");
}

SHOW(proc_show_vmstat)
{
    unsigned long total, available;

    (void)n;
    memory_of(t, &total, &available);
    return buf_printf(out,
                      "nr_free_pages %lu\nnr_dirty 0\nnr_writeback 0\npgpgin 0\npgpgout 0\n"
                      "pswpin 0\npswpout 0\npgfault 0\npgmajfault 0\noom_kill 0\n",
                      available / 4);
}

/* ---- time and load -----------------------------------------------------------------------------
 */
/* CPU time of all processes together, in ticks. */
static void cpu_ticks(long *user, long *system)
{
    struct process *p;
    struct rusage u;
    int nr = 0;

    *user = *system = 0;
    mutex_lock(&g_tasks_lock);
    while ((nr = pidns_next_process_locked(g_sentry.pidns, nr)) > 0) {
        p = process_find_locked(g_sentry.pidns, nr);
        if (!p || p->state != PROCESS_ALIVE)
            continue;
        process_usage_locked(p, &u);
        *user += u.ru_utime.tv_sec * TICKS + u.ru_utime.tv_usec / (1000000 / TICKS);
        *system += u.ru_stime.tv_sec * TICKS + u.ru_stime.tv_usec / (1000000 / TICKS);
    }
    mutex_unlock(&g_tasks_lock);
}

SHOW(proc_show_uptime)
{
    nsec_t up = time_clock(CLOCK_BOOTTIME);
    long user, sys, cs = (long)(up / (NSEC_PER_SEC / TICKS)), idle;

    (void)n;
    cpu_ticks(&user, &sys);
    idle = cs * (long)cpus_of(t) - user - sys;
    idle = MAX(idle, 0L);
    return buf_printf(out, "%ld.%02ld %ld.%02ld\n", cs / 100, cs % 100, idle / 100, idle % 100);
}

SHOW(proc_show_system_stat)
{
    unsigned count = cpus_of(t);
    nsec_t up = time_clock(CLOCK_BOOTTIME);
    long user, sys, total = (long)(up / (NSEC_PER_SEC / TICKS)) * (long)count, idle;

    (void)n;
    cpu_ticks(&user, &sys);
    idle = total - user - sys;
    idle = MAX(idle, 0L);
    (void)buf_printf(out, "cpu  %ld 0 %ld %ld 0 0 0 0 0 0\n", user, sys, idle);
    for (unsigned i = 0; i < count; i++)
        (void)buf_printf(out, "cpu%u %ld 0 %ld %ld 0 0 0 0 0 0\n", i, user / count, sys / count,
                         idle / count);
    return buf_printf(out,
                      "intr 0\nctxt 0\nbtime %ld\nprocesses %u\nprocs_running 1\n"
                      "procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
                      (long)((time_realtime() - up) / NSEC_PER_SEC),
                      (unsigned)g_sentry.pidns->last);
}

#define LOAD(i) ((double)si.loads[i] / (1 << SI_LOAD_SHIFT))
SHOW(proc_show_loadavg)
{
    struct sysinfo si = {0};
    unsigned running = 0, total = 0;
    const struct pidns *ns = proc_pidns(t, n);
    int nr = 0, last;

    (void)sysinfo(&si);
    mutex_lock(&g_tasks_lock);
    while ((nr = pidns_next_process_locked(ns, nr)) > 0) {
        const struct process *p = process_find_locked(ns, nr);
        const struct task *task;

        if (!p)
            continue;
        list_for_each_entry (task, &p->threads, thread_link) {
            total++;
            running += __atomic_load_n(&task->in_guest, __ATOMIC_RELAXED) != 0;
        }
    }
    last = ns->last;
    mutex_unlock(&g_tasks_lock);
    return buf_printf(out, "%.2f %.2f %.2f %u/%u %d\n", LOAD(0), LOAD(1), LOAD(2), MAX(running, 1U),
                      total, last);
}

/* ---- lists -------------------------------------------------------------------------------------
 */
SHOW(proc_show_filesystems)
{
    const struct fs_type *type;
    unsigned i = 0;

    UNUSED_SHOW_ARGS;
    while ((type = fs_type_next(&i)))
        (void)buf_printf(out, "%s\t%s\n", type->no_dev ? "nodev" : "", type->name);
    return 0;
}

SHOW(proc_show_devices)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n"
                         "  5 /dev/ptmx\n128 ptm\n136 pts\n\nBlock devices:\n");
}

SHOW(proc_show_misc)
{
    UNUSED_SHOW_ARGS;
    (void)out;
    return 0;
}

SHOW(proc_show_partitions)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, "major minor  #blocks  name\n\n");
}

SHOW(proc_show_swaps)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

SHOW(proc_show_interrupts)
{
    unsigned count = cpus_of(t);

    (void)n;
    (void)buf_puts(out, "    ");
    for (unsigned i = 0; i < count; i++)
        (void)buf_printf(out, "       CPU%u", i);
    return buf_puts(out, "\n");
}

SHOW(proc_show_cgroups)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\n"
                         "cpu\t0\t1\t1\nmemory\t0\t1\t1\npids\t0\t1\t1\n");
}

SHOW(proc_show_ioports)
{
    UNUSED_SHOW_ARGS;
    return buf_puts(out, "0000-0000 : PCI conf1\n");
}
