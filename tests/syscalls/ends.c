/*
 * Threads and processes that end while others look at them: by signals, by /proc, by reading their
 * memory. What is printed is little; that the kernel gives nothing back that somebody still uses is
 * what this is for (run.sh has freed memory of the sentry overwritten).
 */
#include "t.h"

enum { RUN_MS = 120, WORKERS = 3 };

static double seconds(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *brief(void *arg)
{
    return arg;
}

static void *maker(void *arg)
{
    pthread_t t[2];

    for (;;) {
        for (int i = 0; i < 2; i++)
            MUST(pthread_create(&t[i], NULL, brief, arg));
        for (int i = 0; i < 2; i++)
            MUST(pthread_join(t[i], NULL));
    }
    return NULL;
}

static void nothing(int sig)
{
    (void)sig;
}

/* Threads come and go, until one of them ends the process or an execve all others; or just one. */
static void busy_process(int i)
{
    pthread_t t;

    (void)signal(SIGUSR1, nothing);
    for (int k = 0; k < WORKERS && i % 4; k++)
        MUST(pthread_create(&t, NULL, maker, NULL));
    usleep(i % 4 ? 1000 + 700 * (useconds_t)(i % 16) : 0);
    if (i % 3 == 0)
        (void)execl("/bin/true", "true", NULL);
    _exit(0);
}

static void look(pid_t pid, int how)
{
    char path[64], data[256];
    struct iovec l = {data, sizeof(data)}, r = {path, sizeof(path)};
    static const char *const files[] = {"cmdline", "status", "stat", "maps"};
    int fd;

    switch (how) {
    case 0:
        (void)kill(pid, SIGUSR1);
        break;
    case 1:
        (void)process_vm_readv(pid, &l, 1, &r, 1, 0);
        break;
    default:
        snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[how % 4]);
        fd = open(path, O_RDONLY);
        if (fd < 0)
            return;
        (void)!read(fd, data, sizeof(data));
        (void)close(fd);
    }
}

/* Two onlookers of a row of such processes, whose threads may be caught in the middle of anything:
 * how they end says nothing. */
static bool watched(int how)
{
    double end = seconds() + RUN_MS / 1000.0;
    int rounds = 0, status;

    for (int i = 0; seconds() < end; i++) {
        pid_t pid = fork(), onlooker;

        if (pid == 0)
            busy_process(i);
        (void)signal(SIGUSR1, nothing); /* a child's number may be another's by now */
        onlooker = fork();
        if (onlooker == 0) {
            while (kill(pid, 0) == 0)
                look(pid, how);
            _exit(0);
        }
        while (waitpid(pid, &status, WNOHANG) == 0)
            for (int k = 0; k < 20; k++)
                look(pid, how);
        rounds++;
        (void)kill(onlooker, SIGKILL);
        (void)waitpid(onlooker, NULL, 0);
    }
    return rounds > 0;
}

/* The last one in a session and group whose leader is long gone leaves it for one of its own. */
static int last_of_session(void)
{
    int done = 0, p[2];
    char c;

    MUST(pipe(p));
    for (int i = 0; i < 200; i++) {
        pid_t leader = fork();

        if (leader == 0) {
            pid_t self;

            (void)setsid();
            self = getpid();
            if (fork() == 0) {
                while (kill(self, 0) == 0)
                    usleep(100);
                c = setsid() == getpid() && getpgid(0) == getpid();
                (void)!write(p[1], &c, 1);
            }
            _exit(0);
        }
        (void)waitpid(leader, NULL, 0);
        done += read(p[0], &c, 1) == 1 && c;
    }
    return done;
}

int main(void)
{
    RESULT("sessions left by their last member", last_of_session());
    TRUTH("under signals", watched(0));
    TRUTH("read by others", watched(1));
    for (int how = 2; how < 6; how++)
        TRUTH("seen in /proc", watched(how));
    return 0;
}
