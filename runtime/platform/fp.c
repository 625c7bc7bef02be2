/* Vector state as a signal frame holds it: its size, and the way to and from the stub. */
#include "runtime/platform/internal.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

enum { LEGACY = 512 + 64, MAGIC2 = 4, AMX_FIRST = 17 };

/*
 * As the kernel computes it for a process that did not ask for AMX: the standard layout of all
 * enabled features, and the closing magic.
 */
static size_t measure(void)
{
    unsigned a, b, c, d, lo, hi, size = LEGACY;

    if (!__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
        return 512;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    for (unsigned i = 2; i < AMX_FIRST; i++) {
        if (!(lo & 1U << i) || !__get_cpuid_count(0xd, i, &a, &b, &c, &d))
            continue;
        if (a + b > size)
            size = a + b;
    }
    return size + MAGIC2;
}

/* Asked for at every execve and signal; cpuid is slow where a hypervisor answers it. */
size_t plat_fp_size(void)
{
    static atomic_size_t size;
    size_t known = atomic_load_explicit(&size, memory_order_relaxed);

    if (!known) {
        known = measure();
        atomic_store_explicit(&size, known, memory_order_relaxed);
    }
    return known;
}

/* Where the stub sees its slot's data. */
static uint64_t data_address(const struct plat_thread *th)
{
    return th->space->base + SLOTS_OFF + (uint64_t)th->index * SLOT_SIZE +
           offsetof(struct slot, data);
}

static bool fits(void)
{
    return plat_fp_size() <= SLOT_DATA;
}

int plat_fp_get(struct plat_thread *th, void *data)
{
    int r = fits() ? plat_flush(th) : -EOPNOTSUPP;

    if (r == 0)
        r = plat_fp_store(th, data_address(th));
    if (r == 0)
        r = plat_flush(th);
    if (r == 0)
        memcpy(data, th->slot->data, plat_fp_size());
    return r;
}

int plat_fp_set(struct plat_thread *th, const void *data)
{
    int r = fits() ? plat_flush(th) : -EOPNOTSUPP;

    if (r < 0)
        return r;
    memcpy(th->slot->data, data, plat_fp_size());
    r = plat_fp_load(th, data_address(th));
    return r < 0 ? r : plat_flush(th);
}
