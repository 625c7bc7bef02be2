/*
 * The loop of a task: guest code runs until it traps, the sentry thread answers, signals are
 * delivered on the way back. Sentry threads are kept for the next task when theirs ends: starting
 * one costs more than a fork.
 */
#include "runtime/sentry/task/run.h"

#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/clone.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/time/timers.h"
#include "runtime/sentry/vfs/async.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { NR_FUTEX_WAITV = 449, STACK_BYTES = 256 << 10, SPARE_THREADS = 4 };

static void handle_syscall(struct task *t)
{
    struct plat_regs *r = plat_regs(t->th);
    struct sysargs a = {{r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9}};
    uint64_t nr = r->orig_rax;
    long result;

    t->sysno = nr;
    t->no_restart = false;
    t->n_syscalls++;
    if (t->trace) {
        if (!trace_syscall_enter(t)) {
            trace_syscall_exit(t);
            return;
        }
        r = plat_regs(t->th);
        a = (struct sysargs){{r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9}};
        nr = t->sysno = (unsigned)r->orig_rax;
    }
    result = syscall_dispatch(t, nr, &a);
    async_flush();
    if (!t->th)
        return;
    if (t->set_regs) /* rt_sigreturn, execve: the registers are final already */
        t->set_regs = false;
    else
        plat_regs(t->th)->rax = (uint64_t)result;
    if (t->trace) {
        trace_syscall_exit(t);
        result = (long)plat_regs(t->th)->rax;
    }
    /* The signal may be another thread's by now: the guest never sees these numbers. */
    if (result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK)
        signal_deliver(t);
}

static void handle_fault(struct task *t, const struct plat_exit *ex)
{
    struct l_siginfo info = {.signo = ex->signo, .code = ex->code};

    info.fault.addr = ex->address;
    if (ex->signo == SIGSEGV && ex->code == SEGV_MAPERR && mm_grow_down(t, ex->address)) {
        t->no_restart = true;
        return;
    }
    if (t->trace && ex->signo == SIGTRAP && ex->code == TRAP_TRACE && !trace_stepped(t, &info))
        return;
    t->fault_address = ex->address;
    t->fault_err = ex->err;
    t->fault_trapno = ex->trapno;
    t->no_restart = true;
    signal_force(t, ex->signo, &info);
}

static void handle_op_failed(struct task *t, const struct plat_exit *ex)
{
    mm_operation_failed(t);
    plat_regs(t->th)->rax = (uint64_t) - (int64_t)ex->op_errno;
    t->no_restart = true;
}

/* The host process is gone: its own kernel killed it (out of memory), or hostile code broke it. */
static void handle_dead(struct task *t)
{
    task_exit_request(t, SIGKILL, true);
}

static bool futex_waits(uint64_t op)
{
    op &= FUTEX_CMD_MASK;
    return op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
}

/* A native futex call was broken off. A wait is restarted unless a handler runs; with a timeout it
 * would start over, so that becomes EINTR only through a handler, as Linux's restart block does.
 * All others had not begun and are always done. */
static void handle_futex(struct task *t)
{
    struct plat_regs *r = plat_regs(t->th);

    t->sysno = r->orig_rax;
    t->no_restart = false;
    r->rax = (uint64_t)(t->sysno == NR_FUTEX_WAITV || futex_waits(r->rsi) ? -ERESTARTSYS
                                                                          : -ERESTARTNOINTR);
    signal_deliver(t); /* without a signal, too: it is waited on */
}

static void handle(struct task *t, const struct plat_exit *ex)
{
    switch (ex->event) {
    case PLAT_SYSCALL:
        handle_syscall(t);
        break;
    case PLAT_FAULT:
        handle_fault(t, ex);
        break;
    case PLAT_INTERRUPTED:
        t->no_restart = true;
        break;
    case PLAT_FUTEX:
        handle_futex(t);
        break;
    case PLAT_OP_FAILED:
        handle_op_failed(t, ex);
        break;
    case PLAT_DEAD:
        handle_dead(t);
        break;
    }
}

/* `pause` of the container: guest code stands still, calls in progress go on until they return. */
static void wait_while_frozen(struct task *t)
{
    const struct container *c = t->process->container;

    while (__atomic_load_n(&c->frozen, __ATOMIC_SEQ_CST) && !signal_fatal_pending(t)) {
        task_sleep_begin(t);
        if (__atomic_load_n(&c->frozen, __ATOMIC_SEQ_CST) && !signal_fatal_pending(t))
            task_sleep_uninterruptible(t);
    }
}

/* in_guest is set. */
static void run_once(struct task *t)
{
    struct plat_exit ex;
    bool started = t->started; /* and so past the point of changing its registers */

    t->started = false;
    if (t->trace && !started)
        trace_before_guest(t);
    plat_run(t->th, &ex);
    if (ex.changed) {
        signal_mask_changed(t);
        calls_told(t);
    }
    __atomic_store_n(&t->in_guest, 0, __ATOMIC_RELEASE);
    if (t->forced_trap_flag)
        trace_after_guest(t);
    if (t->forked && ex.event != PLAT_INTERRUPTED)
        task_fork_done(t, ex.event == PLAT_OP_FAILED);
    handle(t, &ex);
}

static bool is_frozen(const struct task *t)
{
    return __atomic_load_n(&t->process->container->frozen, __ATOMIC_RELAXED);
}

/* Something is to be done before its guest code goes on. */
static bool wanted(const struct task *t)
{
    return is_frozen(t) || signal_pending(t) || t->restore_mask || t->killed ||
           t->process->group_exit || __atomic_load_n(&t->mm->sample_wanted, __ATOMIC_RELAXED) ||
           __atomic_load_n(&t->cpu_wanted, __ATOMIC_RELAXED);
}

/* Does it; false: the task is to end. */
static bool attend(struct task *t)
{
    task_fork_settle(t); /* others wait for the child's process, and this may take long */
    if (is_frozen(t))
        wait_while_frozen(t);
    if (signal_pending(t) || t->restore_mask)
        signal_deliver(t);
    if (t->killed || t->process->group_exit)
        return false;
    if (__atomic_load_n(&t->mm->sample_wanted, __ATOMIC_RELAXED))
        mm_sample(t);
    if (__atomic_load_n(&t->cpu_wanted, __ATOMIC_RELAXED) &&
        __atomic_exchange_n(&t->cpu_wanted, 0, __ATOMIC_SEQ_CST))
        timers_thread_cpu(t, task_cpu_look(t));
    return true;
}

static void run(struct task *t)
{
    t->no_restart = true;
    if (t->started)
        run_once(t);
    for (;;) {
        if (wanted(t)) {
            if (!attend(t))
                return;
            continue;
        }
        __atomic_store_n(&t->in_guest, 1, __ATOMIC_SEQ_CST);
        if (signal_pending(t) || is_frozen(t)) {
            __atomic_store_n(&t->in_guest, 0, __ATOMIC_SEQ_CST);
            continue;
        }
        run_once(t);
    }
}

/* ---- sentry threads
 * ------------------------------------------------------------------------------ */

struct worker {
    struct worker *next;
    struct task *task; /* atomic; also the futex word's companion */
    uint32_t word;
};

static struct mutex g_spare_lock = MUTEX_INIT;
static struct worker *g_spare;
static unsigned g_n_spare;

static void live(struct task *t)
{
    task_set_current(t);
    t->cpu_before = time_clock(CLOCK_THREAD_CPUTIME_ID);
    mutex_lock(&g_tasks_lock);
    t->host_tid = (int)syscall(SYS_gettid);
    mutex_unlock(&g_tasks_lock);
    run(t);
    task_exit(t);
    task_set_current(NULL);
    task_put(t);
}

/* Puts w aside until it gets another task; false: enough are waiting, end. */
static bool park(struct worker *w)
{
    mutex_lock(&g_spare_lock);
    if (g_n_spare >= SPARE_THREADS) {
        mutex_unlock(&g_spare_lock);
        return false;
    }
    w->task = NULL;
    __atomic_store_n(&w->word, 0, __ATOMIC_RELAXED);
    w->next = g_spare;
    g_spare = w;
    g_n_spare++;
    mutex_unlock(&g_spare_lock);
    while (!__atomic_load_n(&w->word, __ATOMIC_ACQUIRE))
        (void)syscall(SYS_futex, &w->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return true;
}

static void *worker_main(void *arg)
{
    struct worker w = {.task = arg};

    do
        live(w.task);
    while (park(&w));
    return NULL;
}

/* A wake-up takes its time: meanwhile the guest's code may as well run. */
static void start_early(struct task *t)
{
    __atomic_store_n(&t->in_guest, 1, __ATOMIC_SEQ_CST);
    if (t->trace || signal_pending(t) ||
        __atomic_load_n(&t->process->container->frozen, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&t->in_guest, 0, __ATOMIC_SEQ_CST);
        return;
    }
    t->started = true;
    plat_start(t->th);
}

static bool hand_to_spare(struct task *t)
{
    struct worker *w;

    mutex_lock(&g_spare_lock);
    w = g_spare;
    if (w) {
        g_spare = w->next;
        g_n_spare--;
        w->task = t;
    }
    mutex_unlock(&g_spare_lock);
    if (!w)
        return false;
    start_early(t);
    __atomic_store_n(&w->word, 1, __ATOMIC_RELEASE);
    (void)syscall(SYS_futex, &w->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return true;
}

int task_start(struct task *t)
{
    pthread_attr_t attr;
    int r;

    if (hand_to_spare(t))
        return 0;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&t->thread, &attr, worker_main, t);
    (void)pthread_attr_destroy(&attr);
    return r ? -EAGAIN : 0;
}

/* ---- accounting
 * ------------------------------------------------------------------------------------ */

static struct timeval to_timeval(nsec_t ns)
{
    return (struct timeval){.tv_sec = ns / NSEC_PER_SEC, .tv_usec = ns % NSEC_PER_SEC / 1000};
}

/* CPU clock of a host process (clock_getcpuclockid(3) without its checks): the guest code's time.
 */
static nsec_t host_cpu_time(pid_t pid)
{
    return pid > 0 ? time_clock((clockid_t)((~(unsigned)pid << 3) | 2)) : 0;
}

/* Of the thread that runs t's calls, since it does. */
static nsec_t sentry_cpu_time(const struct task *t)
{
    nsec_t now = time_clock((clockid_t)((~(unsigned)t->host_tid << 3) | 6));

    return MAX(now - t->cpu_before, (nsec_t)0);
}

/* Guest code's time in t's memory, without that of processes that shared it and are gone. */
static nsec_t space_cpu_time(const struct task *t)
{
    nsec_t gone = t->mm ? __atomic_load_n(&t->mm->cpu_gone, __ATOMIC_RELAXED) : 0;

    return MAX(host_cpu_time(plat_space_pid(plat_space_of(t->th))) - gone, (nsec_t)0);
}

struct plat_thread *task_take_host(struct task *t)
{
    struct sighand *s;
    struct plat_thread *th;

    mutex_lock(&g_tasks_lock);
    s = t->process->sighand;
    mutex_lock(&s->lock);
    t->blocked = signal_mask(t); /* it lay with the host thread */
    th = t->th;
    t->th = NULL;
    mutex_unlock(&s->lock);
    mutex_unlock(&g_tasks_lock);
    return th;
}

nsec_t task_cpu(const struct task *t)
{
    return __atomic_load_n(&t->cpu_guest, __ATOMIC_RELAXED) +
           (t->host_tid ? sentry_cpu_time(t) : 0);
}

static nsec_t of_host(const struct rusage *host)
{
    return (host->ru_utime.tv_sec + host->ru_stime.tv_sec) * NSEC_PER_SEC +
           (host->ru_utime.tv_usec + host->ru_stime.tv_usec) * 1000L;
}

nsec_t task_cpu_look(struct task *t)
{
    struct rusage host;
    nsec_t guest;

    if (mm_usage(t, true, &host)) {
        guest = of_host(&host);
        __atomic_store_n(&t->cpu_guest, guest, __ATOMIC_RELAXED);
    }
    return task_cpu(t);
}

bool task_cpu_ask(struct task *t)
{
    if (!t->th || t->exiting || !__atomic_load_n(&t->in_guest, __ATOMIC_SEQ_CST) ||
        plat_waits(t->th))
        return false;
    __atomic_store_n(&t->cpu_wanted, 1, __ATOMIC_SEQ_CST);
    task_kick(t);
    return true;
}

/* The time of a process that ends with t. If another one shares its memory (CLONE_VM without
 * CLONE_THREAD), it is t's alone that is known for certain. */
static nsec_t last_cpu_time(struct task *t)
{
    struct rusage host;
    nsec_t cpu;

    if (!t->mm || mm_users(t->mm) == 1)
        return space_cpu_time(t);
    cpu = mm_usage(t, true, &host) ? of_host(&host) : 0;
    (void)__atomic_fetch_add(&t->mm->cpu_gone, cpu, __ATOMIC_RELAXED);
    return cpu;
}

void task_account(struct task *t)
{
    struct rusage *u = &t->usage, host;

    u->ru_stime = to_timeval(time_clock(CLOCK_THREAD_CPUTIME_ID) - t->cpu_before);
    if (t->th && t->process->n_threads == 1)
        u->ru_utime = to_timeval(last_cpu_time(t));
    /* The last one tells of the whole process. */
    if (t->mm && mm_users(t->mm) == 1 && mm_usage(t, false, &host)) {
        u->ru_maxrss = host.ru_maxrss;
        u->ru_minflt = host.ru_minflt;
        u->ru_majflt = host.ru_majflt;
    }
    u->ru_nvcsw = (long)t->n_syscalls;
}

void task_usage(struct task *t, struct rusage *ret)
{
    struct rusage host = {0};

    *ret = (struct rusage){0};
    (void)mm_usage(t, true, &host);
    timeradd(&host.ru_utime, &host.ru_stime, &ret->ru_utime);
    ret->ru_stime = to_timeval(time_clock(CLOCK_THREAD_CPUTIME_ID) - t->cpu_before);
    ret->ru_maxrss = host.ru_maxrss;
    ret->ru_minflt = host.ru_minflt;
    ret->ru_majflt = host.ru_majflt;
    ret->ru_nvcsw = (long)t->n_syscalls;
}

void task_account_old_image(struct task *t)
{
    struct timeval cpu = {0};

    if (t->th && mm_users(t->mm) == 1)
        cpu = to_timeval(space_cpu_time(t));
    mutex_lock(&g_tasks_lock);
    timeradd(&t->process->exited_usage.ru_utime, &cpu, &t->process->exited_usage.ru_utime);
    mutex_unlock(&g_tasks_lock);
}

void process_usage_locked(struct process *p, struct rusage *ret)
{
    struct task *t = process_any_task_locked(p), *each;

    *ret = p->exited_usage;
    list_for_each_entry (each, &p->threads, thread_link)
        if (each->host_tid) {
            struct timeval cpu = to_timeval(sentry_cpu_time(each));

            timeradd(&ret->ru_stime, &cpu, &ret->ru_stime);
        }
    if (t && t->th && t->mm) {
        struct timeval cpu = to_timeval(space_cpu_time(t));

        timeradd(&ret->ru_utime, &cpu, &ret->ru_utime);
        ret->ru_maxrss = MAX(ret->ru_maxrss, MAX(t->mm->peak_kb, (long)(t->mm->rss >> 10)));
        ret->ru_minflt += t->mm->min_faults;
        ret->ru_majflt += t->mm->maj_faults;
    }
}
