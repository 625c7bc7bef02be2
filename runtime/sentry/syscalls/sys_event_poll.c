/* poll, ppoll, select, pselect6: guest structures around vfs/poll.c. */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/deadline.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/time.h>

enum { POLL_INLINE = 16, SELECT_MAX = 1 << 20, SELECT_INLINE_WORDS = 16 };

/* ---- timeouts -------------------------------------------------------------------------------- */
static int deadline_checked(const struct timespec *ts, nsec_t *ret)
{
    if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC)
        return -EINVAL;
    *ret = ts->tv_sec || ts->tv_nsec ? deadline_after(timespec_to_ns(ts)) : 0;
    return 0;
}

int deadline_from_timespec(struct task *t, gaddr_t addr, nsec_t *ret)
{
    struct timespec ts;

    *ret = DEADLINE_NONE;
    if (!addr)
        return 0;
    if (copy_in(t, &ts, addr, sizeof(ts)) < 0)
        return -EFAULT;
    return deadline_checked(&ts, ret);
}

nsec_t deadline_from_ms(int ms)
{
    if (ms < 0)
        return DEADLINE_NONE;
    return ms ? deadline_after((nsec_t)ms * 1000000) : 0;
}

/* personality(2): the time that is left is not told. */
static bool keeps_timeout(const struct task *t)
{
    return t->process->personality & STICKY_TIMEOUTS;
}

static struct timespec time_left(nsec_t deadline)
{
    nsec_t left = deadline ? deadline - time_monotonic() : 0;

    return ns_to_timespec(left > 0 ? left : 0);
}

int deadline_left_to_timespec(struct task *t, gaddr_t addr, nsec_t deadline)
{
    struct timespec ts;

    if (!addr || deadline == DEADLINE_NONE || keeps_timeout(t))
        return 0;
    ts = time_left(deadline);
    return copy_out(t, addr, &ts, sizeof(ts));
}

int temporary_mask_from(struct task *t, gaddr_t addr, uint64_t size)
{
    l_sigset_t mask;

    if (!addr)
        return 0;
    if (size != sizeof(mask))
        return -EINVAL;
    if (copy_in(t, &mask, addr, sizeof(mask)) < 0)
        return -EFAULT;
    signal_set_temporary_mask(t, mask);
    return 0;
}

/* ---- poll ------------------------------------------------------------------------------------ */
static long poll_open(struct task *t, struct pollfd *fds, struct poll_entry *e, unsigned n)
{
    long bad = 0;

    for (unsigned i = 0; i < n; i++) {
        e[i] = (struct poll_entry){.events = (uint16_t)fds[i].events};
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        e[i].file = fd_get(t, fds[i].fd);
        if (!e[i].file) {
            fds[i].revents = POLLNVAL;
            bad++;
        }
    }
    return bad;
}

static long poll_run(struct task *t, struct pollfd *fds, struct poll_entry *e, unsigned n,
                     nsec_t deadline)
{
    long bad = poll_open(t, fds, e, n), r;

    r = poll_entries(t, e, n, bad ? 0 : deadline);
    for (unsigned i = 0; i < n; i++) {
        if (!e[i].file)
            continue;
        fds[i].revents = (short)e[i].revents;
        file_put(e[i].file);
    }
    return r < 0 ? r : r + bad;
}

static long do_poll(struct task *t, gaddr_t addr, unsigned n, nsec_t deadline)
{
    struct pollfd inline_fds[POLL_INLINE], *fds = inline_fds;
    struct poll_entry inline_entries[POLL_INLINE], *e = inline_entries;
    long r = -ENOMEM;

    if (n > task_rlimit(t, RLIMIT_NOFILE))
        return -EINVAL;
    if (n > POLL_INLINE) {
        fds = calloc(n, sizeof(*fds));
        e = calloc(n, sizeof(*e));
    }
    if (!fds || !e)
        goto out;
    r = -EFAULT;
    if (n && copy_in(t, fds, addr, n * sizeof(*fds)) < 0)
        goto out;
    r = poll_run(t, fds, e, n, deadline);
    if (r >= 0 && n && copy_out(t, addr, fds, n * sizeof(*fds)) < 0)
        r = -EFAULT;
out:
    if (fds != inline_fds)
        free(fds);
    if (e != inline_entries)
        free(e);
    return r;
}

static long poll_restart(struct task *t)
{
    long r = do_poll(t, t->restart_args[0], (unsigned)t->restart_args[1], t->restart_deadline);

    return r == -ERESTARTSYS ? -ERESTART_RESTARTBLOCK : r;
}

long sys_poll(struct task *t, const struct sysargs *a)
{
    t->restart_args[0] = a->v[0];
    t->restart_args[1] = (unsigned)a->v[1];
    t->restart_deadline = deadline_from_ms((int)a->v[2]);
    t->restart_fn = poll_restart;
    return poll_restart(t);
}

long sys_ppoll(struct task *t, const struct sysargs *a)
{
    nsec_t deadline;
    long r = deadline_from_timespec(t, a->v[2], &deadline);

    if (r == 0)
        r = temporary_mask_from(t, a->v[3], a->v[4]);
    if (r < 0)
        return r;
    r = do_poll(t, a->v[0], (unsigned)a->v[1], deadline);
    if (deadline_left_to_timespec(t, a->v[2], deadline) < 0 && r == -ERESTARTSYS)
        return -EINTR;
    return r == -ERESTARTSYS ? -ERESTARTNOHAND : r;
}

/* ---- select ---------------------------------------------------------------------------------- */
/* What each of the three sets asks for, and what answers it (fs/select.c of Linux). */
static const struct select_kind {
    uint32_t events, answered_by;
} select_kinds[3] = {
    {POLLIN | POLLRDNORM, POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR},
    {POLLOUT | POLLWRNORM, POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR},
    {POLLPRI, POLLPRI},
};

struct select_sets {
    unsigned n, words; /* descriptors, 64-bit words a set */
    gaddr_t addr[3];
    uint64_t *bits[3]; /* in and out */
};

static bool set_has(const uint64_t *bits, unsigned fd)
{
    return bits[fd / 64] >> (fd % 64) & 1;
}

static unsigned wanted_kinds(const struct select_sets *s, unsigned fd)
{
    unsigned kinds = 0;

    for (unsigned k = 0; k < 3; k++)
        kinds |= (unsigned)set_has(s->bits[k], fd) << k;
    return kinds;
}

/* One entry a descriptor that is in a set; e[].file are references. Their number, or -EBADF. */
static long select_open(struct task *t, const struct select_sets *s, struct poll_entry *e,
                        unsigned *fds)
{
    unsigned count = 0;

    for (unsigned fd = 0; fd < s->n; fd++) {
        unsigned kinds = wanted_kinds(s, fd);

        if (!kinds)
            continue;
        e[count] = (struct poll_entry){.file = fd_get(t, (int)fd)};
        for (unsigned k = 0; k < 3; k++)
            e[count].events |= kinds >> k & 1 ? select_kinds[k].events : 0;
        fds[count] = fd;
        if (!e[count].file) {
            while (count)
                file_put(e[--count].file);
            return -EBADF;
        }
        count++;
    }
    return count;
}

static long select_answer(const struct select_sets *s, struct poll_entry *e, const unsigned *fds,
                          unsigned count)
{
    long bits = 0;

    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < 3; k++) {
            uint64_t bit = 1ULL << (fds[i] % 64), *word = &s->bits[k][fds[i] / 64];

            if (!(*word & bit))
                continue;
            if (e[i].revents & select_kinds[k].answered_by)
                bits++;
            else
                *word &= ~bit;
        }
        file_put(e[i].file);
    }
    return bits;
}

static unsigned count_bits(const struct select_sets *s)
{
    unsigned n = 0;

    for (unsigned w = 0; w < s->words; w++)
        n += (unsigned)__builtin_popcountll(s->bits[0][w] | s->bits[1][w] | s->bits[2][w]);
    return n;
}

static long select_run(struct task *t, const struct select_sets *s, nsec_t deadline)
{
    unsigned n = count_bits(s);
    struct poll_entry *e = calloc(n + 1, sizeof(*e));
    unsigned *fds = calloc(n + 1, sizeof(*fds));
    long count = -ENOMEM, r;

    if (e && fds)
        count = select_open(t, s, e, fds);
    r = count;
    if (count >= 0) {
        r = poll_entries(t, e, (unsigned)count, deadline);
        if (r >= 0) {
            r = select_answer(s, e, fds, (unsigned)count);
        } else {
            for (long i = 0; i < count; i++)
                file_put(e[i].file);
        }
    }
    free(e);
    free(fds);
    return r;
}

static int select_copy(struct task *t, const struct select_sets *s, bool out)
{
    for (unsigned k = 0; k < 3; k++) {
        /* The guest's sets are whole longs: as many bytes as Linux moves. */
        size_t size = s->words * sizeof(uint64_t);
        int r = 0;

        if (s->addr[k] && size)
            r = out ? copy_out(t, s->addr[k], s->bits[k], size)
                    : copy_in(t, s->bits[k], s->addr[k], size);
        if (r < 0)
            return r;
    }
    if (!out && s->n % 64)
        for (unsigned k = 0; k < 3; k++)
            s->bits[k][s->words - 1] &= (1ULL << (s->n % 64)) - 1;
    return 0;
}

/* As large as Linux's table of t's descriptors would be: select(2) looks no further. */
static unsigned table_size(struct task *t)
{
    unsigned size = 64;

    for (int fd = fdtable_next(t->files, 0); fd >= 0; fd = fdtable_next(t->files, fd + 1))
        while ((unsigned)fd >= size)
            size *= 2;
    return size;
}

static long do_select(struct task *t, int n, const gaddr_t addr[3], nsec_t deadline)
{
    uint64_t inline_bits[3 * SELECT_INLINE_WORDS], *bits = inline_bits;
    struct select_sets s = {.addr = {addr[0], addr[1], addr[2]}};
    long r;

    if (n < 0)
        return -EINVAL;
    s.n = (unsigned)MIN(n, SELECT_MAX);
    if (s.n > 64)
        s.n = MIN(s.n, table_size(t));
    s.words = (s.n + 63) / 64;
    if (s.words > SELECT_INLINE_WORDS)
        bits = malloc(3 * s.words * sizeof(*bits));
    if (!bits)
        return -ENOMEM;
    memset(bits, 0, 3 * s.words * sizeof(*bits));
    for (unsigned k = 0; k < 3; k++)
        s.bits[k] = bits + (size_t)k * s.words;
    r = select_copy(t, &s, false);
    if (r == 0)
        r = select_run(t, &s, deadline);
    if (r >= 0 && select_copy(t, &s, true) < 0)
        r = -EFAULT;
    if (bits != inline_bits)
        free(bits);
    return r;
}

long sys_select(struct task *t, const struct sysargs *a)
{
    nsec_t deadline = DEADLINE_NONE;
    struct timeval tv;
    long r;

    if (a->v[4]) {
        struct timespec ts;

        if (copy_in(t, &tv, a->v[4], sizeof(tv)) < 0)
            return -EFAULT;
        /* Linux carries surplus microseconds over. */
        if (tv.tv_sec < 0 || tv.tv_usec < 0)
            return -EINVAL;
        ts.tv_sec = tv.tv_sec + tv.tv_usec / 1000000;
        ts.tv_nsec = tv.tv_usec % 1000000 * 1000;
        r = deadline_checked(&ts, &deadline);
        if (r < 0)
            return r;
    }
    r = do_select(t, (int)a->v[0], &a->v[1], deadline);
    if (a->v[4] && !keeps_timeout(t)) {
        struct timespec left = time_left(deadline);

        tv = (struct timeval){left.tv_sec, left.tv_nsec / 1000};
        if (copy_out(t, a->v[4], &tv, sizeof(tv)) < 0 && r == -ERESTARTSYS)
            return -EINTR;
    }
    return r == -ERESTARTSYS ? -ERESTARTNOHAND : r;
}

long sys_pselect6(struct task *t, const struct sysargs *a)
{
    struct {
        uint64_t addr, size;
    } mask = {0, 0};
    nsec_t deadline;
    long r;

    if (a->v[5] && copy_in(t, &mask, a->v[5], sizeof(mask)) < 0)
        return -EFAULT;
    r = deadline_from_timespec(t, a->v[4], &deadline);
    if (r == 0)
        r = temporary_mask_from(t, mask.addr, mask.size);
    if (r < 0)
        return r;
    r = do_select(t, (int)a->v[0], &a->v[1], deadline);
    if (deadline_left_to_timespec(t, a->v[4], deadline) < 0 && r == -ERESTARTSYS)
        return -EINTR;
    return r == -ERESTARTSYS ? -ERESTARTNOHAND : r;
}
