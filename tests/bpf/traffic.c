#include "tests/bpf/traffic.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 5201, IPERF_PORT = 5202 };

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void join(const struct traffic_end *end)
{
    CLEANUP(close_fd)
    int fd = end->group < 0 ? -1 : openat(end->group, "cgroup.procs", O_WRONLY | O_CLOEXEC);

    if (end->group >= 0 && (fd < 0 || write(fd, "0", 1) != 1))
        fail("join a cgroup");
}

/* A child in the end's cgroup that runs until it is killed. */
static pid_t serve(const struct traffic_end *server)
{
    pid_t pid = fork();

    if (pid == 0) {
        static char buffer[1 << 18];
        struct sockaddr_storage at;
        socklen_t size;
        int fd, on = 1;

        join(server); /* a socket keeps the cgroup that it was made in */
        fd = lab_socket(server->host, AF_INET, SOCK_STREAM, 0);
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        lab_sockaddr("0.0.0.0", PORT, &at, &size);
        if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 1024) < 0)
            fail("listen");
        for (;;) {
            int c = accept(fd, NULL, NULL);

            while (c >= 0 && read(c, buffer, sizeof(buffer)) > 0)
                ;
            if (c >= 0)
                (void)close(c);
        }
    }
    return pid;
}

/* -1: refused, as long as nobody listens. */
static int dial(const struct traffic_end *client, const struct traffic_end *server)
{
    const struct linger none = {.l_onoff = 1}; /* no TIME_WAIT */
    int fd = lab_socket(client->host, AF_INET, SOCK_STREAM, 0);
    struct sockaddr_storage at;
    socklen_t size;

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    lab_sockaddr(server->host->v4, PORT, &at, &size);
    if (connect(fd, (struct sockaddr *)&at, size) == 0)
        return fd;
    if (errno != ECONNREFUSED)
        fail("connect");
    (void)close(fd);
    return -1;
}

static void drive(const struct traffic_end *client, const struct traffic_end *server,
                  double seconds, struct traffic *ret)
{
    static char buffer[1 << 17];
    double begin, took;
    int fd;

    while ((fd = dial(client, server)) < 0)
        lab_sleep_ms(5);
    begin = now();
    while ((took = now() - begin) < seconds)
        ret->gbits += (double)MAX(write(fd, buffer, sizeof(buffer)), 0);
    (void)close(fd);
    ret->gbits = ret->gbits * 8 / took / 1e9;
    begin = now();
    while ((took = now() - begin) < seconds) {
        (void)close(dial(client, server));
        ret->connections++;
    }
    ret->connections /= took;
}

/* -- iperf3 ------------------------------------------------------------------------------------ */

static pid_t iperf_server(const struct traffic_end *server)
{
    pid_t pid = fork();

    if (pid == 0) {
        char port[16];

        join(server);
        snprintf(port, sizeof(port), "%d", IPERF_PORT);
        (void)!freopen("/dev/null", "we", stdout);
        (void)execlp("ip", "ip", "netns", "exec", server->host->netns, "iperf3", "-s", "-p", port,
                     (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* The receiver's rate is the last one in what -J prints. */
static double iperf_client(const struct traffic_end *server, const struct traffic_end *client,
                           double seconds)
{
    char command[256], line[256];
    double rate = 0;
    FILE *f;

    snprintf(command, sizeof(command), "ip netns exec %s iperf3 -J -c %s -p %d -t %.0f 2>/dev/null",
             client->host->netns, server->host->v4, IPERF_PORT, MAX(seconds, 1.0));
    f = popen(command, "re");
    while (f && fgets(line, sizeof(line), f)) {
        const char *at = strstr(line, "\"bits_per_second\":");

        if (at)
            (void)sscanf(at, "\"bits_per_second\": %lf", &rate);
    }
    if (f)
        (void)pclose(f);
    return rate / 1e9;
}

static double iperf(const struct traffic_end *client, const struct traffic_end *server,
                    double seconds)
{
    pid_t pid;
    double rate = 0;

    if (system("command -v iperf3 >/dev/null 2>&1") != 0)
        return 0;
    pid = iperf_server(server);
    for (int i = 0; i < 100 && rate == 0; i++) { /* until it listens */
        lab_sleep_ms(20);
        rate = iperf_client(server, client, seconds);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return rate;
}

/* -----------------------------------------------------------------------------------------------
 */

void traffic_measure(const struct traffic_end *client, const struct traffic_end *server,
                     double seconds, struct traffic *ret)
{
    pid_t listener = serve(server), pid;
    struct traffic t = {0};
    int answer[2], status;

    if (pipe(answer) < 0)
        fail("pipe");
    pid = fork();
    if (pid == 0) {
        join(client);
        drive(client, server, seconds, &t);
        t.iperf_gbits = iperf(client, server, seconds);
        _exit(write(answer[1], &t, sizeof(t)) == (ssize_t)sizeof(t) ? 0 : 1);
    }
    (void)close(answer[1]);
    if (read(answer[0], ret, sizeof(*ret)) != (ssize_t)sizeof(*ret))
        fail("measure");
    (void)close(answer[0]);
    (void)waitpid(pid, &status, 0);
    (void)kill(listener, SIGKILL);
    (void)waitpid(listener, NULL, 0);
}
