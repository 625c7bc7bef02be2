#pragma once
/* Reference counts. get: relaxed (the caller already holds one); put: release, then acquire on
 * zero. */
#include <stdbool.h>
#include <stdint.h>

struct ref {
    uint32_t n;
};

static inline void ref_init(struct ref *r)
{
    r->n = 1;
}

static inline void ref_get(struct ref *r)
{
    (void)__atomic_fetch_add(&r->n, 1, __ATOMIC_RELAXED);
}

/* True if this was the last one. */
static inline bool ref_put(struct ref *r)
{
    return __atomic_sub_fetch(&r->n, 1, __ATOMIC_ACQ_REL) == 0;
}

/* Takes one unless the count is already zero (objects found through a table that holds none). */
static inline bool ref_get_unless_zero(struct ref *r)
{
    uint32_t n = __atomic_load_n(&r->n, __ATOMIC_RELAXED);

    while (n)
        if (__atomic_compare_exchange_n(&r->n, &n, n + 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}
