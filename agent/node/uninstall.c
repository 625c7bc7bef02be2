/* bermd uninstall: what install put there is taken out, in an order that never strands a sandbox.
 */
#include "agent/enforce/enforce.h"
#include "agent/node/install.h"
#include "agent/node/used.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { LOOK_AGAIN_US = 500000 };

/* No new ones come here: the RuntimeClass selects by the label. */
static int remove_label(struct install *in, struct error *err)
{
    return node_api_label(&in->api, in->o.node_label, false, &in->labelled, err);
}

static void undo_label(struct install *in)
{
    struct error err = ERROR_INIT;
    bool changed;

    if (in->labelled && node_api_label(&in->api, in->o.node_label, true, &changed, &err) < 0)
        log_error("%s", err.msg);
}

/* Made without the CRI (ctr, docker): nobody can be asked to end them. */
static int refuse_others(struct install *in, struct error *err)
{
    struct used_live live;
    int r = used_live(in->o.root, &live);

    if (r < 0)
        return error_errno(err, r, "look through '%s'", in->o.root);
    if (live.n)
        return error_set(err, -EBUSY, "%zu containers live that the CRI does not know, as '%s'",
                         live.n, live.first);
    return 0;
}

/* Refuses, or evicts and waits. */
static int see_off(struct install *in, struct error *err)
{
    uint64_t end = loop_now_ms() + in->o.wait_s * 1000;
    size_t n = 0;
    int r = runtime_count_sandboxes(in, &n, err);

    if (r < 0)
        return r;
    if (n == 0)
        return refuse_others(in, err);
    if (!in->o.drain)
        return error_set(err, -EBUSY, "%zu sandboxes live on this node (--drain on evicts them)",
                         n);
    while (n) {
        if ((r = drain_round(in, err)) < 0)
            return r;
        (void)usleep(LOOK_AGAIN_US);
        if ((r = runtime_count_sandboxes(in, &n, err)) < 0)
            return r;
        if (n && loop_now_ms() >= end)
            return error_set(err, -ETIMEDOUT, "%zu sandboxes are still there after %llu s", n,
                             (unsigned long long)in->o.wait_s);
    }
    return refuse_others(in, err);
}

static int make_unserved(struct install *in, struct error *err)
{
    char program[PATH_MAX];
    size_t n = 0;
    int r = runtime_serves(in, program, sizeof(program), err);

    if (r < 0 || (!in->changed && r == 0))
        return r;
    if (!in->changed)
        return error_set(err, -EEXIST, "handler '%s' is served, but not by a configuration of ours",
                         in->o.handler);
    if ((r = runtime_restart(in, err)) < 0 || (r = runtime_wait(in, false, err)) < 0)
        return r;
    /* One may have come between the look and the restart: it needs the handler to be stopped. */
    if ((r = runtime_count_sandboxes(in, &n, err)) == 0 && n)
        r = error_set(err, -EBUSY, "%zu sandboxes came meanwhile", n);
    return r;
}

static int remove_rest(struct install *in, struct error *err)
{
    /* The installer's own, and what agents keep there on a cluster (main.c). */
    static const char *const state[] = {"install", "lock", "starts"};
    char path[PATH_MAX];
    int r;

    host_keep(&in->change);
    if ((r = host_remove_tree(in->o.prefix, err)) < 0 ||
        (r = host_remove_tree(in->o.root, err)) < 0)
        return r;
    if (*in->o.pin_dir && access(in->o.pin_dir, F_OK) == 0 &&
        (r = enforce_uninstall(in->o.pin_dir, err)) < 0)
        return error_wrap(err, "what is in force");
    for (size_t i = 0; i < ARRAY_SIZE(state); i++) {
        text_format(path, sizeof(path), "%s/%s", in->o.state_dir, state[i]);
        if ((r = host_remove_tree(path, err)) < 0)
            return r;
    }
    (void)rmdir(in->o.state_dir);
    return 0;
}

static int report(struct install *in, struct error *err)
{
    int r = node_api_remove_condition(&in->api, err);

    return r < 0 ? r
                 : node_api_event(&in->api, false, "BermUninstalled", "berm is uninstalled", err);
}

static const struct install_step steps[] = {
    {"runtime", "RuntimeNotFound", runtime_find, NULL},
    {"label", "LabelNotRemoved", remove_label, undo_label},
    {"sandboxes", "SandboxesLive", see_off, NULL},
    {"configuration", "ConfigurationNotRestored", handler_remove, handler_undo},
    {"restart", "HandlerStillServed", make_unserved, NULL},
    {"programs", "ProgramsNotRemoved", remove_rest, NULL},
    {"condition", "NodeNotReported", report, NULL},
};

int uninstall_main(int argc, char **argv)
{
    static struct install in;
    struct error err = ERROR_INIT, why = ERROR_INIT;
    const struct install_step *failed;
    char text[700];
    int r = install_begin(&in, argc, argv, "uninstall", &err), status = r < 0;

    if (r < 0)
        log_error("%s", err.msg);
    if (r == 0) {
        failed = install_run(&in, steps, ARRAY_SIZE(steps), &err);
        status = failed != NULL;
        text_format(text, sizeof(text), "uninstalling berm: %s: %s", failed ? failed->name : "",
                    err.msg);
        if (failed && node_api_event(&in.api, true, "BermUninstallFailed", text, &why) < 0)
            log_error("%s", why.msg);
        if (!failed)
            log_info("uninstalled");
    }
    install_end(&in);
    return status;
}
