/* Size of the vector state in a signal frame. */
#include "runtime/platform/internal.h"

#include <cpuid.h>

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
