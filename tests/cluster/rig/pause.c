/* What the first container of a pod runs: waits to be told to go, and reaps. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void go(int signal)
{
    (void)signal;
    _exit(0);
}

static void reap(int signal)
{
    (void)signal;
    while (waitpid(-1, 0, WNOHANG) > 0)
        continue;
}

int main(void)
{
    signal(SIGINT, go);
    signal(SIGTERM, go);
    signal(SIGCHLD, reap);
    for (;;)
        pause();
}
