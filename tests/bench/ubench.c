/*
 * Cost of basic operations. Static, so that the same file runs natively and in every kind of
 * sandbox. ubench [ROW...]                      prints "ROW MICROSECONDS" once a round ubench
 * --loop ROW SECONDS            the same row over and over: for what runs side by side ubench
 * --time ROUNDS EACH COMMAND    runs EACH, then times COMMAND, both by sh, ROUNDS times
 */
#include "ubench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *ub_self = "/usr/local/bin/ubench", *ub_data = "/usr/local/share/ubench.data";
char ub_buf[65536];

double ub_now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

void ub_die(const char *what)
{
    perror(what);
    exit(1);
}

static const struct row {
    const char *name;
    void (*fn)(long n);
    long n;
} rows[] = {
#define X(name, n) {#name, ub_##name, n},
    UB_FILE_ROWS(X) UB_PROC_ROWS(X)
#undef X
};

static double once(const struct row *r)
{
    double start = ub_now();

    r->fn(r->n);
    return (ub_now() - start) / (double)r->n;
}

static void measure(const struct row *r)
{
    enum { ROUNDS = 5 };

    r->fn(r->n / 10 + 1);
    for (int i = 0; i < ROUNDS; i++)
        printf("%s %.4f\n", r->name, once(r));
    (void)fflush(stdout);
}

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    (void)fprintf(stderr, "ubench: no row %s\n", name);
    exit(2);
}

static int loop(const char *name, double seconds)
{
    const struct row *r = find(name);
    double end = ub_now() + seconds * 1e6;

    while (ub_now() < end)
        printf("%s %.4f\n", r->name, once(r));
    return 0;
}

/* Its standard output goes to /dev/null: what it prints is not what is measured. */
static void shell(const char *text, int quiet)
{
    int status = 0;
    pid_t pid = fork();

    if (pid < 0)
        ub_die("fork");
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        if (quiet)
            dup2(null, 1);
        execl("/bin/sh", "sh", "-c", text, (char *)NULL);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) < 0 || status) {
        (void)fprintf(stderr, "status %#x: %s\n", (unsigned)status, text);
        exit(1);
    }
}

static int time_command(int rounds, const char *each, const char *command)
{
    for (int i = 0; i < rounds; i++) {
        double start;

        if (each[0])
            shell(each, 1);
        start = ub_now();
        shell(command, 1);
        printf("time %.1f\n", ub_now() - start);
        (void)fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--exit") == 0)
        return 0;
    if (argc == 4 && strcmp(argv[1], "--loop") == 0)
        return loop(argv[2], strtod(argv[3], NULL));
    if (argc == 5 && strcmp(argv[1], "--time") == 0)
        return time_command(atoi(argv[2]), argv[3], argv[4]);
    if (argc == 1)
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            measure(&rows[i]);
    for (int k = 1; k < argc; k++)
        measure(find(argv[k]));
    return 0;
}
