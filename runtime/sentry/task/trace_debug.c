/*
 * Debug registers (Intel's manual, volume 3, "Debug, branch profile"). The host's are not given to
 * guests: a tracee with an enabled point goes step by step, and after each the sentry looks whether
 * watched memory changed or an address was reached. So writing a value that was there already, and
 * what a system call writes, is not seen; watching reads is refused.
 */
#include "runtime/sentry/task/trace_debug.h"

#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/task/trace.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum { POINTS = 4, STATUS = 6, CONTROL = 7, ON_EXECUTION = 0, ON_WRITE = 1, SINGLE_STEP = 1 << 14 };

struct point {
    bool enabled;
    unsigned kind, size;
    uint64_t addr;
};

static struct point point_of(const struct trace_debug *d, unsigned i)
{
    static const unsigned char sizes[] = {1, 2, 8, 4};
    uint64_t control = d->control >> (16 + 4 * i);

    return (struct point){.enabled = d->control >> (2 * i) & 3,
                          .kind = control & 3,
                          .size = sizes[control >> 2 & 3],
                          .addr = d->addr[i]};
}

uint64_t trace_debug_get(const struct task *t, unsigned n)
{
    const struct trace_debug *d = &t->trace->debug;

    if (n < POINTS)
        return d->addr[n];
    return n == STATUS ? d->status : n == CONTROL ? d->control : 0;
}

static int check(const struct trace_debug *d)
{
    for (unsigned i = 0; i < POINTS; i++) {
        struct point p = point_of(d, i);

        if (!p.enabled)
            continue;
        if (p.addr >= TASK_SIZE_BYTES || (p.addr & (p.size - 1)) ||
            (p.kind == ON_EXECUTION && p.size != 1))
            return -EINVAL;
        if (p.kind != ON_EXECUTION && p.kind != ON_WRITE)
            return p.kind == 2 ? -EINVAL : -ENOSPC;
    }
    return 0;
}

int trace_debug_set(struct task *t, unsigned n, uint64_t value)
{
    struct trace_debug new = t->trace->debug;
    int r;

    if (n < POINTS) {
        if (value >= TASK_SIZE_BYTES)
            return -EINVAL;
        new.addr[n] = value;
    } else if (n == STATUS) {
        new.status = value;
    } else if (n == CONTROL) {
        new.control = value;
    } else {
        return -EIO;
    }
    r = check(&new);
    if (r == 0)
        t->trace->debug = new;
    return r;
}

static uint64_t value_at(struct task *t, const struct point *p)
{
    uint64_t value = 0;

    (void)plat_space_read(plat_space_of(t->th), p->addr, &value, p->size);
    return value;
}

bool trace_debug_armed(struct task *t)
{
    struct trace_debug d = {0};
    bool armed = false;

    mutex_lock(&g_tasks_lock);
    if (t->trace)
        d = t->trace->debug;
    mutex_unlock(&g_tasks_lock);
    for (unsigned i = 0; i < POINTS && (d.control & 0xff); i++) {
        struct point p = point_of(&d, i);

        armed |= p.enabled;
        if (p.enabled && p.kind == ON_WRITE)
            t->watched[i] = value_at(t, &p);
    }
    return armed;
}

bool trace_debug_hit(struct task *t, bool step, struct l_siginfo *info)
{
    struct trace_debug d = {0};
    uint64_t hit = 0;

    mutex_lock(&g_tasks_lock);
    if (t->trace)
        d = t->trace->debug;
    mutex_unlock(&g_tasks_lock);
    for (unsigned i = 0; i < POINTS && (d.control & 0xff); i++) {
        struct point p = point_of(&d, i);

        if (p.enabled && (p.kind == ON_WRITE ? value_at(t, &p) != t->watched[i]
                                             : plat_regs(t->th)->rip == p.addr))
            hit |= 1U << i;
    }
    if (!hit && !step)
        return false;
    mutex_lock(&g_tasks_lock);
    if (t->trace)
        t->trace->debug.status = hit | (step ? SINGLE_STEP : 0);
    mutex_unlock(&g_tasks_lock);
    if (!step)
        info->code = TRAP_HWBKPT;
    return true;
}
