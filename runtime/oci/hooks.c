#include "runtime/oci/hooks.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOOKS_MAX = 64, OUTPUT_MAX = 200, TIMEOUT_MAX = 1000000 };

static const char *const names[] = {"prestart",       "createRuntime", "createContainer",
                                    "startContainer", "poststart",     "poststop"};

static bool is_strings(json_t *list)
{
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (!json_is_string(item)) return false;
    return !list || json_is_null(list) || json_is_array(list);
}

static int check_hook(json_t *hook, const char *name, size_t i, struct error *err)
{
    const char *path = json_string_value(json_object_get(hook, "path"));
    json_t *timeout = json_object_get(hook, "timeout");
    static const char *const lists[] = {"args", "env"};

    if (!path || *path != '/')
        return error_set(err, -EINVAL, "config.json: hooks.%s[%zu].path: must be an absolute path",
                         name, i);
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
        if (!is_strings(json_object_get(hook, lists[k])))
            return error_set(err, -EINVAL,
                             "config.json: hooks.%s[%zu].%s: must be an array of strings", name, i,
                             lists[k]);
    if (timeout && !json_is_null(timeout) &&
        (json_integer_value(timeout) <= 0 || json_integer_value(timeout) > TIMEOUT_MAX))
        return error_set(err, -EINVAL,
                         "config.json: hooks.%s[%zu].timeout: must be from 1 to 1000000", name, i);
    return 0;
}

int hooks_check(json_t *hooks, struct error *err)
{
    const char *name;
    json_t *list, *hook;
    size_t i;

    json_object_foreach(hooks, name, list)
    {
        bool known = false;

        for (size_t k = 0; k < ARRAY_SIZE(names); k++)
            known |= strcmp(name, names[k]) == 0;
        if (!known && json_array_size(list) > 0)
            return error_set(err, -EINVAL, "config.json: hooks.%.40s: is not known", name);
        if (known && !json_is_array(list) && !json_is_null(list))
            return error_set(err, -EINVAL, "config.json: hooks.%.40s: must be an array", name);
        if (json_array_size(list) > HOOKS_MAX)
            return error_set(err, -EINVAL, "config.json: hooks.%.40s: more than %d", name,
                             HOOKS_MAX);
        json_array_foreach(list, i, hook)
        {
            int r = check_hook(hook, name, i, err);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

bool hooks_any(const json_t *hooks, const char *name)
{
    return json_array_size(json_object_get(hooks, name)) > 0;
}

/* NULL-terminated; the strings are the list's. */
static char **strings(const json_t *list, const char *first)
{
    size_t n = json_array_size(list), at = 0;
    char **out = calloc(n + 2, sizeof(*out));

    if (out && n == 0 && first)
        out[at++] = (char *)(uintptr_t)first;
    for (size_t i = 0; out && i < n; i++)
        out[at++] = (char *)(uintptr_t)json_string_value(json_array_get(list, i));
    return out;
}

static int state_file(const json_t *state)
{
    CLEANUP(close_fd) int fd = memfd_create("hook-state", MFD_CLOEXEC);
    CLEANUP(free_ptr) char *text = json_dumps(state, JSON_COMPACT);

    if (fd < 0 || !text || write_full(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -EIO;
    return TAKE_FD(fd);
}

static _Noreturn void run_child(const json_t *hook, int in, int out)
{
    const char *path = json_string_value(json_object_get(hook, "path"));
    char **argv = strings(json_object_get(hook, "args"), path);
    char **env = strings(json_object_get(hook, "env"), NULL);
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0); /* the timeout ends its children, too */
    if (argv && env && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2)
        (void)execve(path, argv, env);
    (void)dprintf(out, "%s", strerror(errno));
    _exit(127);
}

/* Keeps the end of what comes until the other side closes or the time is up: false then. */
static bool collect(int fd, char output[OUTPUT_MAX + 1], long timeout_ms)
{
    struct timespec start, now;
    char data[OUTPUT_MAX];
    size_t have = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        long spent;
        ssize_t n;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        spent = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
        if (timeout_ms && spent >= timeout_ms)
            return false;
        if (poll(&pfd, 1, timeout_ms ? (int)MIN(timeout_ms - spent, 60000L) : -1) <= 0)
            continue;
        n = read(fd, data, sizeof(data));
        if (n <= 0)
            return true;
        if (have + (size_t)n > OUTPUT_MAX) {
            size_t keep = OUTPUT_MAX - (size_t)n;

            memmove(output, output + have - MIN(keep, have), MIN(keep, have));
            have = MIN(keep, have);
        }
        memcpy(output + have, data, (size_t)n);
        have += (size_t)n;
        output[have] = 0;
    }
}

static int run_hook(const json_t *hook, const char *name, const json_t *state, struct error *err)
{
    const char *path = json_string_value(json_object_get(hook, "path"));
    long timeout = (long)json_integer_value(json_object_get(hook, "timeout")) * 1000;
    CLEANUP(close_fd) int in = state_file(state);
    char output[OUTPUT_MAX + 1] = "";
    int pipes[2], status = 0;
    bool in_time;
    pid_t pid;

    if (in < 0 || pipe2(pipes, O_CLOEXEC) < 0)
        return error_errno(err, -EIO, "hook %s", name);
    pid = fork();
    if (pid == 0)
        run_child(hook, in, pipes[1]);
    (void)close(pipes[1]);
    in_time = pid < 0 || collect(pipes[0], output, timeout);
    if (!in_time) {
        (void)kill(-pid, SIGKILL);
        (void)kill(pid, SIGKILL);
    }
    (void)close(pipes[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0)
        return error_errno(err, -EAGAIN, "hook %s '%s'", name, path);
    if (!in_time)
        return error_set(err, -ETIMEDOUT, "hook %s '%s' did not end within %ld s", name, path,
                         timeout / 1000);
    if (status)
        return error_set(err, -ECANCELED, "hook %s '%s' failed with %s %d: %s", name, path,
                         WIFEXITED(status) ? "status" : "signal",
                         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), output);
    return 0;
}

int hooks_run(const json_t *hooks, const char *name, const json_t *state, struct error *err)
{
    json_t *hook;
    size_t i;

    json_array_foreach(json_object_get(hooks, name), i, hook)
    {
        int r = run_hook(hook, name, state, err);

        if (r < 0)
            return r;
    }
    return 0;
}
