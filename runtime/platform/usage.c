/* What only the guest's own process can ask the host: which pages are there, its faults. */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

_Static_assert(AHEAD_USAGE + sizeof(struct rusage) <= SLOT_AHEAD, "fits");

static int ask(struct plat_thread *th, uint32_t kind, uint64_t a, uint64_t b)
{
    struct slot_op *op = ops_add(th, kind);

    if (!op)
        return -ENOMEM;
    op->a[0] = a;
    op->a[1] = b;
    return 0;
}

/* One flush for as many as there is room for. */
static int resident_part(struct plat_thread *th, struct plat_range *ranges, size_t n)
{
    int r = plat_flush(th);

    for (size_t i = 0; i < n && r == 0; i++)
        r = ask(th, OP_RESIDENT, ranges[i].addr, ranges[i].size);
    if (r == 0)
        r = plat_flush(th);
    for (size_t i = 0; i < n && r == 0; i++) {
        uint64_t pages = __atomic_load_n(&th->slot->ops[i].a[2], __ATOMIC_RELAXED);

        ranges[i].resident = pages < ranges[i].size / 4096 ? pages : ranges[i].size / 4096;
    }
    return r;
}

int plat_resident(struct plat_thread *th, struct plat_range *ranges, size_t n)
{
    int r = 0;

    for (size_t at = 0; at < n && r == 0; at += SLOT_OPS)
        r = resident_part(th, ranges + at, n - at < SLOT_OPS ? n - at : SLOT_OPS);
    return r;
}

int plat_mincore(struct plat_thread *th, uint64_t addr, size_t pages, uint8_t *vec)
{
    int r = pages <= PLAT_MINCORE_MAX ? plat_flush(th) : -EINVAL;

    if (r == 0)
        r = ask(th, OP_MINCORE, addr, pages * 4096);
    if (r == 0)
        r = plat_flush(th);
    if (r == 0)
        memcpy(vec, th->slot->data, pages);
    return r;
}

/* It comes with exit_group, unasked. */
static bool usage_ahead(const struct plat_thread *th, struct rusage *ret)
{
    if (!th->ahead || th->regs.orig_rax != SYS_exit_group)
        return false;
    memcpy(ret, th->slot->ahead + AHEAD_USAGE, sizeof(*ret));
    return true;
}

int plat_usage(struct plat_thread *th, bool of_thread, struct rusage *ret)
{
    int r;

    if (!of_thread && usage_ahead(th, ret))
        return 0;
    r = plat_flush(th);

    if (r == 0)
        r = ask(th, OP_USAGE, (uint64_t)(int64_t)(of_thread ? RUSAGE_THREAD : RUSAGE_SELF), 0);
    if (r == 0)
        r = plat_flush(th);
    if (r == 0)
        memcpy(ret, th->slot->data, sizeof(*ret));
    return r;
}

int plat_set_affinity(struct plat_thread *th, uint64_t mask)
{
    pid_t pid = atomic_load(&th->space->pid), tid = th->tid ? th->tid : pid;
    cpu_set_t own, set;
    unsigned n = 0;

    CPU_ZERO(&set);
    if (!pid || sched_getaffinity(0, sizeof(own), &own) < 0)
        return -ESRCH;
    for (int cpu = 0; cpu < CPU_SETSIZE && n < 64; cpu++)
        if (CPU_ISSET(cpu, &own) && (mask >> n++ & 1))
            CPU_SET(cpu, &set);
    return sched_setaffinity(tid, sizeof(set), &set) < 0 ? -errno : 0;
}
