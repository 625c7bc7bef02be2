/* The node's container runtime: which one, what it serves, and how it is made to read its
 * configuration again. */
#include "agent/node/install.h"
#include "agent/node/systemd.h"
#include "agent/node/toml.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>

enum { ASK_AGAIN_US = 200000, RESTART_TIMEOUT_S = 60 };

static void find_binary(struct install *in)
{
    const struct flavour *f = in->flavour;

    text_format(in->binary, sizeof(in->binary), "%s", in->o.binary);
    for (size_t i = 0; !*in->binary && i < ARRAY_SIZE(f->binaries) && f->binaries[i]; i++)
        if (access(f->binaries[i], X_OK) == 0)
            text_format(in->binary, sizeof(in->binary), "%s", f->binaries[i]);
}

/* "containerd github.com/containerd/containerd/v2 v2.2.0 ...", "... 1.6.20~ds1 ..." */
static int read_version(struct install *in, struct error *err)
{
    CLEANUP(buf_fini) struct buf out = BUF_INIT;
    const char *argv[] = {in->binary, "--version", NULL}, *s;
    int status, r = host_run(argv, 20, &out, &status, err);

    if (r < 0 || status != 0)
        return r < 0 ? r : error_set(err, -EIO, "'%s --version': status %d", in->binary, status);
    for (s = strchr(out.data, ' '); s; s = strchr(s + 1, ' '))
        if (sscanf(s[1] == 'v' ? s + 2 : s + 1, "%d.%d", &in->major, &in->minor) == 2)
            return 0;
    return error_set(err, -EINVAL, "'%s --version' says no version: %.100s", in->binary, out.data);
}

static int find_paths(struct install *in, struct error *err)
{
    const struct flavour *f = in->flavour;
    const char *target;
    int r;

    text_format(in->config, sizeof(in->config), "%s", *in->o.config ? in->o.config : f->config);
    text_format(in->socket, sizeof(in->socket), "%s", *in->o.socket ? in->o.socket : f->socket);
    find_binary(in);
    if (f->format == FORMAT_CONTAINERD) {
        if (!*in->binary)
            return error_set(err, -ENOENT, "%s's containerd is not found (--runtime-binary)",
                             f->name);
        if ((r = read_version(in, err)) < 0)
            return r;
    }
    target = in->major >= 2 && f->target_v3 ? f->target_v3 : f->target;
    text_format(in->target, sizeof(in->target), "%s", target ? target : in->config);
    return 0;
}

int runtime_find(struct install *in, struct error *err)
{
    struct error why = ERROR_INIT;
    char program[PATH_MAX];
    int r;

    in->flavour =
        strcmp(in->o.runtime, "auto") == 0 ? flavour_detect() : flavour_find(in->o.runtime);
    if (!in->flavour)
        return strcmp(in->o.runtime, "auto") == 0
                   ? error_set(err, -ENOENT, "no container runtime is found (--runtime)")
                   : error_set(err, -EINVAL, "--runtime: '%s' is not known", in->o.runtime);
    if ((r = find_paths(in, err)) < 0 || (r = cri_init(&in->cri, &in->loop, in->socket, err)) < 0)
        return r;
    log_info("runtime: %s %d.%d, configuration %s, socket %s", in->flavour->name, in->major,
             in->minor, in->target, in->socket);
    /* What can't be asked now could not be asked afterwards either. */
    r = runtime_serves(in, program, sizeof(program), &why);
    return r < 0 ? error_set(err, r, "%s does not answer: %s", in->socket, why.msg) : 0;
}

/* -- what it serves
 * ---------------------------------------------------------------------------------- */

static bool in_handlers(struct pb message, const char *handler)
{
    struct pb_field f, g;

    while (pb_next(&message, &f))
        while (f.number == 3 && pb_next(&f.data, &g))
            if (g.number == 1 && pb_is(&g.data, handler))
                return true;
    return false;
}

int runtime_serves(struct install *in, char *ret_program, size_t size, struct error *err)
{
    struct cri_call call = {0};
    struct pb message;
    int r = cri_ask(&in->cri, &call, CRI_STATUS, NULL, &message, err);
    const json_t *handler;
    json_t *config;

    *ret_program = 0;
    if (r == 0) {
        config = cri_info(message, "config");
        handler = json_object_get(
            json_object_get(json_object_get(config, "containerd"), "runtimes"), in->o.handler);
        if (handler) {
            const char *program = json_string_value(
                json_object_get(json_object_get(handler, "options"), "BinaryName"));

            text_format(ret_program, size, "%s", program ? program : "");
            r = 1;
        } else {
            r = in_handlers(message, in->o.handler);
        }
        json_decref(config);
    }
    cri_cancel(&call);
    return r;
}

int runtime_lists_handler(struct install *in, struct error *err)
{
    struct cri_call call = {0};
    struct pb message;
    int r = cri_ask(&in->cri, &call, CRI_STATUS, NULL, &message, err);

    if (r == 0)
        r = in_handlers(message, in->o.handler);
    cri_cancel(&call);
    return r;
}

static int count_one(void *ctx, const struct cri_sandbox *s)
{
    struct {
        const char *handler;
        size_t n;
    } *c = ctx;

    if (strcmp(s->handler, c->handler) == 0)
        c->n++;
    return 0;
}

int runtime_count_sandboxes(struct install *in, size_t *ret, struct error *err)
{
    struct {
        const char *handler;
        size_t n;
    } c = {in->o.handler, 0};
    struct cri_call call = {0};
    struct pb list;
    int r = cri_ask(&in->cri, &call, CRI_LIST_SANDBOXES, NULL, &list, err);

    if (r == 0 && (r = cri_each_sandbox(list, count_one, &c)) < 0)
        (void)error_errno(err, r, "CRI: list of sandboxes");
    cri_cancel(&call);
    *ret = c.n;
    return r;
}

/* -- restart
 * --------------------------------------------------------------------------------------------- */

static int run_program(const char *program, struct error *err)
{
    CLEANUP(buf_fini) struct buf out = BUF_INIT;
    const char *argv[] = {program, NULL};
    int status, r = host_run(argv, RESTART_TIMEOUT_S, &out, &status, err);

    if (r == 0 && status != 0)
        r = error_set(err, -EIO, "'%s': status %d: %.200s", program, status, out.data);
    return r;
}

int runtime_restart(struct install *in, struct error *err)
{
    const struct flavour *f = in->flavour;

    in->restarted = true;
    if (strcmp(in->o.restart, "none") == 0) {
        log_info("runtime: waiting for somebody to restart it (--restart none)");
        return 0;
    }
    if (strncmp(in->o.restart, "exec:", 5) == 0)
        return run_program(in->o.restart + 5, err);
    if (strcmp(in->o.restart, "auto") != 0)
        return error_set(err, -EINVAL, "--restart: '%s' is not known", in->o.restart);
    if (!f->unit_verb)
        return 0;
    return systemd_act(f->units, f->unit_verb, err);
}

static bool as_wanted(struct install *in, bool served, struct error *err)
{
    char program[PATH_MAX], want[PATH_MAX];
    int r = runtime_serves(in, program, sizeof(program), err);

    text_format(want, sizeof(want), "%s/bin/berm", in->o.prefix);
    if (!served)
        return r == 0;
    if (r == 1 && *program && strcmp(program, want) != 0)
        (void)error_set(err, -EINVAL, "it is served with '%s'", program);
    return r == 1 && (!*program || strcmp(program, want) == 0);
}

int runtime_wait(struct install *in, bool served, struct error *err)
{
    uint64_t end = loop_now_ms() + in->o.wait_s * 1000;

    for (;;) {
        struct error why = ERROR_INIT;

        if (as_wanted(in, served, &why)) {
            log_info("runtime: handler '%s' is %s", in->o.handler,
                     served ? "served" : "not served any more");
            return 0;
        }
        if (loop_now_ms() >= end)
            return error_set(err, -ETIMEDOUT, "handler '%s' is %s after %llu s%s%s", in->o.handler,
                             served ? "not served" : "still served",
                             (unsigned long long)in->o.wait_s, *why.msg ? ": " : "", why.msg);
        (void)usleep(ASK_AGAIN_US);
    }
}
