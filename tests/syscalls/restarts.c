/*
 * A call site whose call is broken off and started over: again and again the instruction pointer
 * is at the `syscall` itself, and not where its number is loaded. Threads that wait in the same
 * site meanwhile must come back to the instruction behind it.
 */
#include "t.h"

/* read(2), the number loaded in front of the call, an instruction of four bytes behind it. */
long site_read(int fd, void *buf, size_t size);
__asm__(".text\n"
        "site_read:\n"
        "    sub $16, %rsp\n"
        "    mov $0, %eax\n"
        "    syscall\n"
        "    add $16, %rsp\n"
        "    ret\n");

enum { WAITERS = 4, RESTARTS = 200, READS = 100 };

static int waited[2], restarted[2];
static int n_signals;

static void note(int sig)
{
    (void)sig;
    n_signals++;
}

static void *reader(void *arg)
{
    char c;

    return (void *)site_read(*(int *)arg, &c, 1);
}

static void many_reads(void)
{
    char c = 0;

    for (int i = 0; i < READS; i++) {
        MUST(write(waited[1], &c, 1));
        if (site_read(waited[0], &c, 1) != 1)
            printf("read %d\n", i);
    }
}

static void waiters_and_restarts(void)
{
    pthread_t waiters[WAITERS], restarter;
    void *r;

    for (int i = 0; i < WAITERS; i++)
        (void)pthread_create(&waiters[i], NULL, reader, &waited[0]);
    (void)pthread_create(&restarter, NULL, reader, &restarted[0]);
    (void)usleep(50000);
    for (int i = 0; i < RESTARTS; i++) {
        (void)pthread_kill(restarter, SIGUSR1);
        (void)usleep(500);
    }
    MUST(write(restarted[1], "x", 1));
    (void)pthread_join(restarter, &r);
    RESULT("restarted", r);
    MUST(write(waited[1], "xxxx", WAITERS));
    for (int i = 0; i < WAITERS; i++) {
        (void)pthread_join(waiters[i], &r);
        RESULT("waited", r);
    }
    OK(n_signals > 0);
}

int main(void)
{
    struct sigaction a = {.sa_handler = note, .sa_flags = SA_RESTART};

    MUST(pipe(waited));
    MUST(pipe(restarted));
    MUST(sigaction(SIGUSR1, &a, NULL));
    many_reads();
    waiters_and_restarts();
    /* A child knows its text, but not how often each call was made. */
    CHILD("child", waiters_and_restarts(); many_reads(); waiters_and_restarts());
    waiters_and_restarts();
    return 0;
}
