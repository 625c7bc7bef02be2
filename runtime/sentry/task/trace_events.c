/* The events at which a tracee stops, in the order and with the codes of ptrace(2). */
#include "runtime/sentry/task/trace_internal.h"

#include "runtime/sentry/sentry.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/trace_debug.h"
#include "runtime/sentry/task/userns.h"

#include <linux/ptrace.h>
#include <sched.h>
#include <signal.h>

#define TRAP_FLAG 0x100UL

/* Information of a stop that is no signal: the code of the stop itself. */
static struct l_siginfo own_info(const struct task *t, int code)
{
    struct l_siginfo info;

    siginfo_user(&info, SIGTRAP, t);
    info.code = code;
    return info;
}

static int stop_own(struct task *t, int code, uint8_t op, uint64_t message)
{
    const struct l_siginfo info = own_info(t, code);

    return trace_stop(
        t, &(struct trace_stop){
               .code = code, .why = CLD_TRAPPED, .info = &info, .op = op, .message = message});
}

/* What a stop outside of signal delivery goes on with is sent. */
static void send_own(struct task *t, int sig)
{
    if (sig > 0 && sig <= L_NSIG)
        (void)signal_send_task(t, sig, NULL);
}

static enum trace_mode mode_of(struct task *t, unsigned *ret_options, bool *ret_step)
{
    enum trace_mode mode = TRACE_RUN;

    *ret_options = 0;
    *ret_step = false;
    mutex_lock(&g_tasks_lock);
    if (t->trace) {
        mode = t->trace->mode;
        *ret_options = t->trace->options;
        *ret_step = t->trace->step;
    }
    mutex_unlock(&g_tasks_lock);
    return mode;
}

bool trace_syscall_enter(struct task *t)
{
    unsigned options;
    bool step;
    enum trace_mode mode = mode_of(t, &options, &step);
    int code = SIGTRAP | (options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0);

    if (mode == TRACE_RUN)
        return true;
    send_own(t, stop_own(t, code, PTRACE_SYSCALL_INFO_ENTRY, PTRACE_EVENTMSG_SYSCALL_ENTRY));
    return mode != TRACE_EMULATE && !signal_fatal_pending(t) &&
           (int)plat_regs(t->th)->orig_rax >= 0;
}

void trace_syscall_exit(struct task *t)
{
    unsigned options;
    bool step;
    enum trace_mode mode = mode_of(t, &options, &step);
    int code = SIGTRAP | (options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0);

    if (signal_fatal_pending(t))
        return;
    if (mode == TRACE_SYSCALL) {
        send_own(t, stop_own(t, code, PTRACE_SYSCALL_INFO_EXIT, PTRACE_EVENTMSG_SYSCALL_EXIT));
    } else if (step) {
        struct l_siginfo info = {.signo = SIGTRAP, .code = TRAP_BRKPT};

        info.fault.addr = plat_regs(t->th)->rip;
        signal_force(t, SIGTRAP, &info);
    }
}

bool trace_wants(struct task *t, int event)
{
    bool wants;

    if (!t->trace)
        return false;
    mutex_lock(&g_tasks_lock);
    wants = t->trace && (t->trace->options & (1U << event));
    mutex_unlock(&g_tasks_lock);
    return wants;
}

void trace_event(struct task *t, int event, uint64_t message)
{
    send_own(t, stop_own(t, SIGTRAP | event << 8, PTRACE_SYSCALL_INFO_NONE, message));
}

int trace_seccomp(struct task *t, unsigned data)
{
    if (!trace_wants(t, PTRACE_EVENT_SECCOMP))
        return -ENOSYS;
    send_own(t,
             stop_own(t, SIGTRAP | PTRACE_EVENT_SECCOMP << 8, PTRACE_SYSCALL_INFO_SECCOMP, data));
    return signal_fatal_pending(t) || (int)plat_regs(t->th)->orig_rax < 0;
}

int trace_signal(struct task *t, int sig, struct l_siginfo *info)
{
    int instead;
    struct task *tracer;

    instead = trace_stop(t, &(struct trace_stop){.code = sig, .why = CLD_TRAPPED, .info = info});
    if (signal_fatal_pending(t) || instead <= 0 || instead > L_NSIG)
        return 0;
    mutex_lock(&g_tasks_lock);
    tracer = t->trace ? process_any_task_locked(t->trace->tracer) : NULL;
    if (t->trace)
        *info = t->trace->info; /* PTRACE_SETSIGINFO */
    if (instead != info->signo) {
        *info = (struct l_siginfo){.signo = instead, .code = SI_USER};
        if (tracer) {
            info->rt.pid = pid_in(tracer->process->pid, task_pidns(t));
            info->rt.uid = uid_from_kernel(t->cred->userns, tracer->cred->uid);
        }
    }
    mutex_unlock(&g_tasks_lock);
    return instead;
}

void trace_handler_entered(struct task *t)
{
    unsigned options;
    bool step;

    (void)mode_of(t, &options, &step);
    if (step)
        send_own(t, stop_own(t, SIGTRAP, PTRACE_SYSCALL_INFO_NONE, 0));
}

/* PTRACE_EVENT_STOP: its signal is the group stop's, if one is in force. */
static void event_stop(struct task *t, int sig)
{
    const struct l_siginfo info = own_info(t, sig | PTRACE_EVENT_STOP << 8);

    (void)trace_stop(t, &(struct trace_stop){.code = sig | PTRACE_EVENT_STOP << 8,
                                             .why = CLD_STOPPED,
                                             .info = &info,
                                             .event_stop = true});
}

bool trace_stop_if_wanted(struct task *t)
{
    struct process *p = t->process;
    bool stop;
    int sig;

    if (!t->trace_request)
        return false;
    mutex_lock(&g_tasks_lock);
    t->trace_request = false;
    stop = t->trace && t->trace->want_stop;
    if (stop)
        t->trace->want_stop = false;
    mutex_lock(&p->sighand->lock);
    sig = p->stopped ? p->stop_signal : SIGTRAP;
    if (stop && p->stopped)
        t->stop_seen = p->stop_count;
    signal_recalc_locked(t);
    mutex_unlock(&p->sighand->lock);
    mutex_unlock(&g_tasks_lock);
    if (stop)
        event_stop(t, sig);
    return stop;
}

void trace_group_stop(struct task *t)
{
    struct process *p = t->process;
    bool seized = false;
    int sig;

    mutex_lock(&g_tasks_lock);
    mutex_lock(&p->sighand->lock);
    t->stop_seen = p->stop_count;
    sig = p->stop_signal;
    signal_recalc_locked(t);
    mutex_unlock(&p->sighand->lock);
    seized = t->trace && t->trace->seized;
    mutex_unlock(&g_tasks_lock);
    if (seized)
        event_stop(t, sig);
    else
        (void)trace_stop(t, &(struct trace_stop){.code = sig, .why = CLD_STOPPED});
}

/* ---- life ------------------------------------------------------------------------------------ */

int trace_pid_seen(struct task *t, const struct task *of)
{
    int tid = 0;

    if (!t->trace)
        return 0;
    mutex_lock(&g_tasks_lock);
    if (t->trace)
        tid = pid_in(of->pid, t->trace->tracer->pidns);
    mutex_unlock(&g_tasks_lock);
    return tid;
}

void trace_exec(struct task *t, int old_tid)
{
    struct l_siginfo info;
    bool seized = false;

    if (!t->trace)
        return;
    if (trace_wants(t, PTRACE_EVENT_EXEC)) {
        trace_event(t, PTRACE_EVENT_EXEC, (uint64_t)old_tid);
        return;
    }
    mutex_lock(&g_tasks_lock);
    if (t->trace)
        seized = t->trace->seized;
    mutex_unlock(&g_tasks_lock);
    siginfo_user(&info, SIGTRAP, t);
    if (!seized)
        (void)signal_send_task(t, SIGTRAP, &info);
}

void trace_exit(struct task *t, int status)
{
    struct l_siginfo info;

    if (!trace_wants(t, PTRACE_EVENT_EXIT))
        return;
    info = own_info(t, SIGTRAP | PTRACE_EVENT_EXIT << 8);
    (void)trace_stop(t, &(struct trace_stop){.code = SIGTRAP | PTRACE_EVENT_EXIT << 8,
                                             .why = CLD_TRAPPED,
                                             .info = &info,
                                             .message = (uint64_t)(unsigned)status,
                                             .leaving = true});
}

int trace_clone(struct task *t, struct task *child, uint64_t flags, int exit_signal)
{
    int event = flags & CLONE_VFORK                                 ? PTRACE_EVENT_VFORK
                : exit_signal == SIGCHLD && !(flags & CLONE_THREAD) ? PTRACE_EVENT_FORK
                                                                    : PTRACE_EVENT_CLONE;
    struct trace *tr;

    if (!t->trace)
        return 0;
    mutex_lock(&g_tasks_lock);
    tr = t->trace;
    if (!tr || (flags & CLONE_UNTRACED) || !(tr->options & (1U << event)))
        event = 0;
    if (tr && (event || (flags & CLONE_PTRACE)) &&
        trace_attach_locked(child, tr->tracer, tr->options, tr->seized) == 0) {
        if (tr->seized) {
            child->trace->want_stop = child->trace_request = true;
        } else {
            mutex_lock(&child->process->sighand->lock);
            (void)sigpending_add(&child->pending_own, SIGSTOP,
                                 &(struct l_siginfo){.signo = SIGSTOP}, UINT32_MAX);
            mutex_unlock(&child->process->sighand->lock);
        }
    }
    mutex_unlock(&g_tasks_lock);
    return event;
}

/* ---- single steps ------------------------------------------------------------------------------
 */

void trace_before_guest(struct task *t)
{
    struct plat_regs *regs = plat_regs(t->th);
    unsigned options;
    bool step;

    (void)mode_of(t, &options, &step);
    step |= trace_debug_armed(t);
    t->forced_trap_flag = step && !(regs->eflags & TRAP_FLAG);
    if (t->forced_trap_flag)
        regs->eflags |= TRAP_FLAG;
}

void trace_after_guest(struct task *t)
{
    if (t->forced_trap_flag)
        plat_regs(t->th)->eflags &= ~TRAP_FLAG;
    t->forced_trap_flag = false;
}

bool trace_stepped(struct task *t, struct l_siginfo *info)
{
    unsigned options;
    bool step;

    (void)mode_of(t, &options, &step);
    return trace_debug_hit(t, step || (plat_regs(t->th)->eflags & TRAP_FLAG), info);
}
