/*
 * Arguments that the sentry reads anyway are copied into the slot beforehand: that spares it a call
 * into this address space. Only inputs, and small ones.
 */
#include "runtime/platform/stub/stub.h"

enum kind {
    STRING = 1, /* a path */
    BYTES,      /* size in the next argument */
    PAIRS,      /* count of 8 bytes in the next argument */
    VECTOR,     /* count of 16 bytes in the next argument */
    FIXED,      /* `size` bytes */
};

struct ahead {
    uint8_t kind, arg, size;
};

enum { CALLS = 440 };

static const struct ahead table[CALLS] = {
    [1] = {BYTES, 1, 0},    /* write */
    [2] = {STRING, 0, 0},   /* open */
    [4] = {STRING, 0, 0},   /* stat */
    [6] = {STRING, 0, 0},   /* lstat */
    [7] = {PAIRS, 0, 0},    /* poll */
    [13] = {FIXED, 1, 32},  /* rt_sigaction */
    [14] = {FIXED, 1, 8},   /* rt_sigprocmask */
    [18] = {BYTES, 1, 0},   /* pwrite64 */
    [19] = {VECTOR, 1, 0},  /* readv */
    [20] = {VECTOR, 1, 0},  /* writev */
    [21] = {STRING, 0, 0},  /* access */
    [35] = {FIXED, 0, 16},  /* nanosleep */
    [38] = {FIXED, 1, 32},  /* setitimer */
    [42] = {BYTES, 1, 0},   /* connect */
    [44] = {BYTES, 1, 0},   /* sendto */
    [46] = {FIXED, 1, 56},  /* sendmsg */
    [47] = {FIXED, 1, 56},  /* recvmsg */
    [49] = {BYTES, 1, 0},   /* bind */
    [54] = {BYTES, 3, 0},   /* setsockopt */
    [76] = {STRING, 0, 0},  /* truncate */
    [80] = {STRING, 0, 0},  /* chdir */
    [82] = {STRING, 0, 0},  /* rename, the old name */
    [83] = {STRING, 0, 0},  /* mkdir */
    [84] = {STRING, 0, 0},  /* rmdir */
    [85] = {STRING, 0, 0},  /* creat */
    [86] = {STRING, 0, 0},  /* link */
    [87] = {STRING, 0, 0},  /* unlink */
    [88] = {STRING, 0, 0},  /* symlink */
    [89] = {STRING, 0, 0},  /* readlink */
    [90] = {STRING, 0, 0},  /* chmod */
    [92] = {STRING, 0, 0},  /* chown */
    [94] = {STRING, 0, 0},  /* lchown */
    [130] = {FIXED, 0, 8},  /* rt_sigsuspend */
    [137] = {STRING, 0, 0}, /* statfs */
    [191] = {STRING, 0, 0}, /* getxattr */
    [192] = {STRING, 0, 0}, /* lgetxattr */
    [230] = {FIXED, 2, 16}, /* clock_nanosleep */
    [233] = {FIXED, 3, 12}, /* epoll_ctl */
    [254] = {STRING, 1, 0}, /* inotify_add_watch */
    [257] = {STRING, 1, 0}, /* openat */
    [258] = {STRING, 1, 0}, /* mkdirat */
    [260] = {STRING, 1, 0}, /* fchownat */
    [262] = {STRING, 1, 0}, /* newfstatat */
    [263] = {STRING, 1, 0}, /* unlinkat */
    [264] = {STRING, 1, 0}, /* renameat */
    [267] = {STRING, 1, 0}, /* readlinkat */
    [268] = {STRING, 1, 0}, /* fchmodat */
    [269] = {STRING, 1, 0}, /* faccessat */
    [271] = {PAIRS, 0, 0},  /* ppoll */
    [280] = {STRING, 1, 0}, /* utimensat */
    [286] = {FIXED, 2, 32}, /* timerfd_settime */
    [302] = {FIXED, 2, 16}, /* prlimit64 */
    [332] = {STRING, 1, 0}, /* statx */
    [435] = {BYTES, 0, 0},  /* clone3 */
    [437] = {STRING, 1, 0}, /* openat2 */
    [439] = {STRING, 1, 0}, /* faccessat2 */
};

static uint64_t size_of(const struct ahead *h, const uint64_t args[6])
{
    uint64_t n = args[(h->arg + 1) % 6];

    switch (h->kind) {
    case FIXED:
        return h->size;
    case PAIRS:
        return n > SLOT_AHEAD ? 0 : n * 8;
    case VECTOR:
        return n > SLOT_AHEAD ? 0 : n * 16;
    default:
        return n;
    }
}

/* What the sentry wants to know of a thread or process that ends. */
static void copy_last_words(struct slot *s, bool process)
{
    if (process)
        (void)SYS2(__NR_getrusage, 0, s->ahead + AHEAD_USAGE);
    if (!s->robust || stub_copy(s->ahead, (const void *)s->robust, ROBUST_HEAD) < 0)
        return;
    s->ahead_addr = s->robust;
    s->ahead_size = ROBUST_HEAD;
}

void copy_ahead(struct slot *s, uint64_t nr, const uint64_t args[6])
{
    const struct ahead *h;
    uint64_t addr, size;

    if (s->ahead_size) /* the line stays where it is if there is nothing to say */
        s->ahead_size = 0;
    if (nr == __NR_exit || nr == __NR_exit_group)
        copy_last_words(s, nr == __NR_exit_group);
    if (nr >= CALLS || !table[nr].kind)
        return;
    h = &table[nr];
    addr = args[h->arg];
    if (!addr)
        return;
    if (h->kind == STRING) {
        size = (uint64_t)stub_string(s->ahead, (const void *)addr, SLOT_AHEAD);
    } else {
        size = size_of(h, args);
        if (size == 0 || size > SLOT_AHEAD || stub_copy(s->ahead, (const void *)addr, size) < 0)
            return;
    }
    s->ahead_addr = addr;
    s->ahead_size = (uint32_t)size;
}
