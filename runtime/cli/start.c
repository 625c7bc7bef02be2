/* The start of a created container: startContainer hooks inside, the start, poststart hooks
 * outside. */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/cli/container.h"
#include "runtime/oci/control.h"
#include "runtime/oci/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A hook as a process of the container: its program and files, the container's own user and
 * capabilities. */
static json_t *process_of(const struct state *s, const json_t *hook, struct error *err)
{
    json_t *args = json_object_get(hook, "args"), *env = json_object_get(hook, "env"), *process;
    struct oci_spec spec;

    if (oci_spec_load(s->bundle, &spec, err) < 0)
        return NULL;
    process = json_deep_copy(json_object_get(spec.json, "process"));
    oci_spec_free(&spec);
    (void)json_object_set_new(process, "terminal", json_false());
    (void)json_object_set_new(process, "cwd", json_string("/"));
    /* The first argument is what the hook calls itself; here the program's path serves. */
    args = json_array_size(args) ? json_deep_copy(args) : json_pack("[n]");
    (void)json_array_set(args, 0, json_object_get(hook, "path"));
    (void)json_object_set_new(process, "args", args);
    (void)json_object_set_new(process, "env", env ? json_incref(env) : json_array());
    return process;
}

static int state_descriptor(const struct state *s)
{
    json_t *state = container_state_json(s, "created");
    CLEANUP(close_fd) int fd = memfd_create("hook-state", MFD_CLOEXEC);
    CLEANUP(free_ptr) char *text = json_dumps(state, JSON_COMPACT);

    json_decref(state);
    if (fd < 0 || !text || write_full(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -EIO;
    return TAKE_FD(fd);
}

static int run_inside(int sock, const struct state *s, const json_t *hook, size_t index,
                      struct error *err)
{
    CLEANUP(close_fd) int in = state_descriptor(s);
    CLEANUP(close_fd) int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    json_t *process = process_of(s, hook, err), *answer = NULL, *wait;
    int timeout = (int)json_integer_value(json_object_get(hook, "timeout"));
    int fds[3] = {in, out, out}, r, status;
    char name[40];

    if (!process)
        return err->code;
    (void)snprintf(name, sizeof(name), "hook-%zu", index);
    r = control_call(sock,
                     json_pack("{s:s,s:s,s:s,s:o,s:b}", "op", "exec", "id", s->id, "exec", name,
                               "process", process, "tty", 0),
                     fds, 3, NULL, err);
    if (r < 0)
        return r;
    /* With a lease: the end of this process, and of a timeout, is the hook's end. */
    wait = json_pack("{s:s,s:s,s:s,s:b}", "op", "wait", "id", s->id, "exec", name, "lease", 1);
    r = control_call_within(sock, wait, NULL, 0, timeout > 0 ? timeout * 1000 : -1, &answer, err);
    if (r < 0)
        return r;
    status = (int)json_integer_value(json_object_get(answer, "status"));
    json_decref(answer);
    return status ? error_set(err, -ECANCELED, "failed with status %d", status) : 0;
}

static int run_start_hooks(struct cli *cli, const struct state *s, struct error *err)
{
    json_t *hook;
    size_t i;

    json_array_foreach(json_object_get(s->hooks, "startContainer"), i, hook)
    {
        CLEANUP(close_fd) int sock = container_connect(cli, s, err);
        int r = sock < 0 ? sock : run_inside(sock, s, hook, i, err);

        if (r < 0)
            return error_wrap(err, "hook startContainer '%s'",
                              json_string_value(json_object_get(hook, "path")));
    }
    return 0;
}

/* Whether it ran to its end: its monitor, which ends a sandbox of one container, has said how. */
static bool has_ended(int dirfd, const struct state *s)
{
    int status;

    return process_await(&s->monitor, 500) && state_exit_status(dirfd, &status, NULL) == 0;
}

int container_start(struct cli *cli, int dirfd, const struct state *s, struct error *err)
{
    int r = run_start_hooks(cli, s, err);

    if (r == 0)
        r = container_call(cli, s, "start", NULL, err);
    /* A short life may be over before the sentry's answer leaves. */
    if (r == -EPIPE && s->monitor.pid != getpid() && has_ended(dirfd, s))
        r = 0;
    if (r == 0)
        container_hooks(s, "poststart", "running");
    return r;
}
