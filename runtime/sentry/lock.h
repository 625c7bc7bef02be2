#pragma once
/*
 * The sentry's mutex: one futex word, no owner, not recursive; ranks are in LOCKING.md. Debug
 * builds remember the holder and assert what mutex_assert_held says.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct mutex {
    uint32_t word; /* 0 free, 1 held, 2 held and somebody sleeps */
#ifdef BERM_DEBUG
    int owner;
#endif
};

#define MUTEX_INIT                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }

void mutex_lock_slow(struct mutex *m);
void mutex_unlock_slow(struct mutex *m);
#ifdef BERM_DEBUG
int mutex_self(void);
#endif

static inline void mutex_lock(struct mutex *m)
{
    uint32_t free = 0;

    if (!__atomic_compare_exchange_n(&m->word, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        mutex_lock_slow(m);
#ifdef BERM_DEBUG
    m->owner = mutex_self();
#endif
}

static inline bool mutex_trylock(struct mutex *m)
{
    uint32_t free = 0;
    bool got =
        __atomic_compare_exchange_n(&m->word, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);

#ifdef BERM_DEBUG
    if (got)
        m->owner = mutex_self();
#endif
    return got;
}

static inline void mutex_unlock(struct mutex *m)
{
#ifdef BERM_DEBUG
    m->owner = 0;
#endif
    if (__atomic_exchange_n(&m->word, 0, __ATOMIC_RELEASE) == 2)
        mutex_unlock_slow(m);
}

static inline void mutex_assert_held(const struct mutex *m)
{
    assert(__atomic_load_n(&m->word, __ATOMIC_RELAXED) != 0);
    (void)m;
}
