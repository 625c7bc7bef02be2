#pragma once
/*
 * Inside of the platform: the sentry's side.
 *
 * Locks: plat.lock (pool), space.lock (threads, indices, tags, handshake of a fork); the first may
 * not be taken while the second is held. What belongs to a running plat_thread needs none.
 */
#include "runtime/platform/slot.h"
#include <pthread.h>
#include <stdatomic.h>

enum { POOL_MAX = 2, TAGS_UNDER_WAY = 48, WAKES_MAX = 16 };

struct plat_space {
    struct plat *plat;
    struct plat_space *next_doomed; /* plat.doomed, with plat.lock */
    bool listed;                    /* in that list */
    atomic_int refs;                /* one a thread, one of the watcher */
    atomic_bool dead;               /* the host process is gone */
    int sock, memfd, pidfd;
    _Atomic(pid_t) pid; /* 0: a fork that has not been heard of yet */
    uint8_t *slots;
    struct plat_layout layout;
    uint64_t base;
    pthread_mutex_t lock;
    pthread_mutex_t clone_lock; /* one thread is made at a time: the slots' owner names it */
    unsigned n_threads;
    uint32_t next_tag, lent_generation;
    atomic_int tags_under_way;
    struct plat_thread **threads; /* by index */
    unsigned n_indices;           /* used so far */
    struct patches *patches;
    struct {
        uint64_t addr;
        int n;
    } wakes[WAKES_MAX]; /* plat_space_futex_wake */
    unsigned n_wakes;
};

struct plat {
    atomic_int refs;
    int zygote_sock, epoll_fd, event_fd;
    pthread_t watcher;
    atomic_bool stop;
    bool direct; /* data plane: stubs may use lent sockets */
    bool orphan; /* the watcher itself dropped the last reference */
    pthread_mutex_t lock;
    pthread_mutex_t zygote_lock;
    struct plat_space *doomed;
    struct plat_space *pool[POOL_MAX];
    unsigned n_pool, want_pool, n_execs;
    struct plat_space *spare; /* for the next fork: no process yet, */
    int spare_sock;           /* and the child's end of its socket */
    bool forks;               /* there was one: a spare is worth its memory */
};

enum thread_place { IN_SENTRY, IN_GUEST };

struct plat_thread {
    struct plat_space *space;
    struct slot *slot;
    unsigned index;
    pid_t tid; /* in the sentry's pid namespace */
    atomic_int place;
    atomic_bool interrupt;
    atomic_bool doomed, waits;   /* plat_doom; the stub has the turn */
    bool ending, deaf;           /* plat_ending; and it did not answer in time */
    atomic_uint n_waits;         /* hand-overs so far */
    unsigned owed;               /* the watcher's: the hand-over that it saw waiting, */
    int64_t owed_since;          /* and since when, ms; 0: none */
    struct plat_regs regs, seen; /* seen: as the guest came in */
    bool started;                /* by plat_start: the next plat_run only waits */
    bool patched;                /* it came in by the trampoline */
    uint32_t n_ops, data_used, n_tags;
    struct {
        const void *file;
        int fd;
        uint32_t tag, n_ops; /* n_ops: how many there were with it; 0: none */
    } mapped;                /* the file mapping queued last */
    bool copies_queued;
    bool ahead;   /* what the stub copied ahead is still what the guest's memory holds */
    uint64_t gap; /* moving average of the guest's time between its calls, ticks */
    /* Steering away from the stub's CPU (turn.c): hand-overs on one CPU in a row, when the next
     * attempt may be made, and how long to wait after a vain one; in ticks. */
    unsigned same_cpu;
    uint64_t steered_at, steer_wait;
};

static inline struct slot *slot_at(const struct plat_space *s, unsigned index)
{
    return (struct slot *)(s->slots + (size_t)index * SLOT_SIZE);
}

/* guest_fd: 0 to PLAT_LENT_MAX - 1. */
static inline struct lent *lent_at(struct plat_space *s, int guest_fd)
{
    return (struct lent *)(s->slots + LENT_OFF) + guest_fd;
}

/* turn.c */
void turn_init(void);
uint32_t turn_spin_ticks(void);
/* From a time stamp of a stub to now; 0 for what cannot be. */
uint64_t turn_ns_since(uint64_t stamp);
/* Hands the slot to the stub and waits for its event. Returns the event, 0 if the space is dead. */
uint32_t turn_exchange(struct plat_thread *th, uint32_t command);
void turn_post(struct plat_thread *th, uint32_t command);
/* The second half of turn_exchange, after a turn_post. */
uint32_t turn_wait(struct plat_thread *th);
int futex_wake_all(uint32_t *word);

/* ops.c */
struct slot_op *ops_add(struct plat_thread *th, uint32_t kind);
int ops_send_fds(struct plat_thread *th, const int *fds, int n, uint32_t *ret_tag);

/* space.c */
/* Socket pair, memfd and slots; no process yet. theirs[0] socket, [1] slots for the stub. */
int space_alloc(struct plat *p, int theirs[2], struct plat_space **ret);
/* The same, from the one that is kept for the next fork if there is one. */
int space_take_spare(struct plat *p, int theirs[2], struct plat_space **ret);
/* Makes that one, where forks are made. */
void space_fill_spare(struct plat *p);
void space_drop_spare(struct plat *p);
/* Waits for the stub's first word, learns its pid from the kernel, watches it. */
int space_handshake(struct plat_space *s);
/* The same for a fork, once; cheap afterwards. */
int space_ready(struct plat_space *s);
void space_died(struct plat_space *s);
/* Asks the zygote for a stub; and waits for it. One that isn't finished ends with the zygote only.
 */
int space_begin(struct plat *p, struct plat_space **ret);
int space_finish(struct plat_space *s);

/* patch.c */
/* `hot`: the stub has counted already. */
void patch_consider(struct plat_thread *th, bool hot);
void patch_off(struct plat_thread *th);
void patches_free(struct patches *p);

/* thread.c */
int thread_alloc(struct plat_space *s, unsigned index, struct plat_thread **ret);
void thread_free(struct plat_thread *th);

/* watch.c */
void plat_unref(struct plat *p);
void plat_destroy(struct plat *p);

int watch_start(struct plat *p);
void watch_stop(struct plat *p);
int watch_add(struct plat_space *s);
void watch_kick(struct plat *p);
