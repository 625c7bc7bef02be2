/* New threads and forks. The new one gets a copy of its maker's signal frame, and waits. */
#include "runtime/platform/filter.h"
#include "runtime/platform/stub/stub.h"

enum { K_F_SETOWN_EX = 15 };

/*
 * The sentry's pid namespace numbers threads otherwise. Both hold the slots' open file: its owner
 * is set by our number and read by theirs.
 */
static void announce(long tid)
{
    struct {
        int32_t type, pid;
    } owner = {0, (int32_t)tid};

    (void)SYS3(__NR_fcntl, STUB_SLOTS, K_F_SETOWN_EX, &owner);
}

/* Areas are aligned alike: the copy lies at the same offset, and so keeps its alignment. */
static struct k_ucontext *copy_frame(struct area *from, struct area *to,
                                     const struct k_ucontext *uc)
{
    uint64_t delta = (uint64_t)to - (uint64_t)from;
    uint32_t fp_size = *(const uint32_t *)(uc->fpstate + 464 + 4); /* sw_reserved.extended_size */
    uint64_t end = uc->fpstate + fp_size;
    struct k_ucontext *copy = (struct k_ucontext *)((uint64_t)uc + delta);

    if (uc->fpstate < (uint64_t)uc || end > (uint64_t)from)
        return NULL;
    (void)stub_copy(copy, uc, end - (uint64_t)uc);
    copy->fpstate = uc->fpstate + delta;
    copy->stack.sp = (uint64_t)to + AREA_TOP - AREA_SIZE;
    return copy;
}

long op_thread(struct area *a, uint32_t index, struct k_ucontext *uc)
{
    struct area *child = area_at(a->base, index % SLOTS_MAX);
    struct k_ucontext *copy;
    uint64_t stack;
    long tid;

    area_init(child, a->base, a->code_size, index % SLOTS_MAX);
    copy = copy_frame(a, child, uc);
    if (!copy)
        return -E_FAULT;
    stack = ((uint64_t)copy - 256) & ~(uint64_t)15;
    tid = stub_clone(STUB_CLONE_THREAD, (void *)stack, &slot_of(child)->alive, copy);
    if (tid > 0)
        announce(tid);
    return tid;
}

/* In the child: its own slots and socket in the places of the parent's, then its pid to the sentry.
 */
static void become_fork(struct area *a, const int32_t fds[2])
{
    uint64_t slots = a->base + SLOTS_OFF;
    struct stub_proc *p = proc_of(a);
    long r = 0;

    r |= sys6(__NR_mmap, slots, SLOTS_BYTES, K_PROT_RW, K_MAP_SHARED | K_MAP_FIXED,
              (uint64_t)fds[1], 0) < 0;
    r |= SYS3(__NR_madvise, slots, SLOTS_BYTES, K_MADV_DONTFORK) < 0;
    r |= SYS2(__NR_dup2, fds[0], STUB_SOCK) < 0;
    r |= SYS2(__NR_dup2, fds[1], STUB_SLOTS) < 0;
    r |= SYS3(__NR_close_range, STUB_FIRST_FREE, ~0U, 0) < 0;
    (void)memset(p->tags, 0, sizeof(p->tags));
    (void)memset(p->donated, 0, sizeof(p->donated));
    p->lock = 0;
    p->patching = 0;
    p->breakpoint = 0;
    if (r || SYS5(__NR_sendto, STUB_SOCK, "f", 1, STUB_SEND_FLAGS, 0) != 1)
        (void)SYS1(__NR_exit, 5);
}

long op_fork(struct area *a, uint32_t tag, struct k_ucontext *uc)
{
    int32_t fds[2] = {-1, -1};
    int n = fds_take(proc_of(a), tag, fds);
    long pid = -E_INVAL;

    if (n == 2) {
        pid = SYS5(__NR_clone, STUB_CLONE_FORK, 0, 0, 0, 0);
        if (pid == 0) {
            become_fork(a, fds);
            stub_serve(a, uc);
        }
    }
    while (n > 0)
        fds_close(fds[--n]);
    return pid;
}
