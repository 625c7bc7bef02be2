#include "agent/ctl/ctl.h"

#include <signal.h>

/* Also as pid 1, for which signals without a handler do nothing. */
int ctl_wait(const struct ctl *ctl, int argc, char **argv)
{
    sigset_t set;
    int sig;

    (void)ctl;
    (void)argv;
    if (argc != 1)
        return ctl_usage("wait takes no arguments");
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)sigwait(&set, &sig);
    return 0;
}
