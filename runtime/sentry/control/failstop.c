/*
 * Fail-stop: a sentry that finds its own state broken (a failed assertion, a fault of its own code)
 * writes a report and ends, and with it the sandbox: its zygotes and monitors see their sockets
 * close. Going on with broken state would be worse than ending.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "runtime/guard.h"
#include "runtime/sentry/control/control.h"
#include "runtime/sentry/task/task.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { EXIT_BROKEN = 70 };

extern const char __executable_start[]; /* the linker's: for addr2line */

/* glibc calls this from assert(); its own would print to where nobody reads. */
_Noreturn void __assert_fail(const char *expression, const char *file, unsigned line,
                             const char *function);

static const char *container_of_current(void)
{
    const struct task *t = current_task();

    return t && t->process && t->process->container ? t->process->container->id : "none";
}

void __assert_fail(const char *expression, const char *file, unsigned line, const char *function)
{
    log_error(
        "sentry broken: %s:%u: %s: '%s' does not hold (serving container %s); the sandbox ends",
        file, line, function, expression, container_of_current());
    _exit(EXIT_BROKEN);
}

/* May run on any thread, in any state: nothing here takes a lock or allocates. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;

    log_error("sentry broken: signal %d (SIG%s) at address %p, instruction berm+0x%llx, thread %d "
              "(serving container %s); the sandbox ends",
              signal, sigabbrev_np(signal), info->si_addr,
              (unsigned long long)u->uc_mcontext.gregs[REG_RIP] - (unsigned long)__executable_start,
              (int)gettid(), container_of_current());
    _exit(EXIT_BROKEN);
}

#ifdef BERM_SANITIZED
void __asan_set_error_report_callback(void (*callback)(const char *));
const char *__asan_default_options(void);

/* Leaks cannot be looked for in a namespace of one's own, and faults are ours to report. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0:abort_on_error=1:handle_segv=0:handle_sigbus=0:handle_abort=0:"
           "handle_sigill=0:handle_sigfpe=0:use_sigaltstack=0";
}

static void on_report(const char *text)
{
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        log_error("%.*s", (int)(end - text), text);
    }
}
#endif

void failstop_setup(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP};
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_RESETHAND};

#ifdef BERM_SANITIZED
    __asan_set_error_report_callback(on_report);
#endif
    for (size_t i = 0; i < ARRAY_SIZE(faults) && GUARDED(FAIL_STOP); i++)
        (void)sigaction(faults[i], &a, NULL);
}
