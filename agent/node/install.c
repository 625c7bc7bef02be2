#include "agent/node/install.h"

#include "agent/node/host.h"
#include "agent/options.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static const struct option_row rows[] = {
#define STRING OPTION_STRING
#define BOOL   OPTION_BOOL
#define UINT   OPTION_UINT
#define CONFIG(type, field, key, def, value, help)                                                 \
    {type, offsetof(struct install_options, field), key, def, value, help},
#include "agent/node/install.def"
#undef CONFIG
#undef STRING
#undef BOOL
#undef UINT
};

/* -- steps
 * ------------------------------------------------------------------------------------------ */

static int check_host(struct install *in, struct error *err)
{
    (void)in;
    for (size_t i = 0; i < host_n_checks; i++) {
        const struct host_check *c = &host_checks[i];
        char detail[160] = "";

        if (c->fn(detail, sizeof(detail)))
            continue;
        if (c->needed)
            return error_set(err, -EOPNOTSUPP, "%s: %s (%s)", c->name, detail, c->remedy);
        log_warn("host: %s: %s (%s)", c->name, detail, c->remedy);
    }
    return 0;
}

/* Restarted only if it does not run with what is wanted: also after a run that was killed. */
static int make_served(struct install *in, struct error *err)
{
    char program[PATH_MAX], want[PATH_MAX];
    int r = runtime_serves(in, program, sizeof(program), err);

    text_format(want, sizeof(want), "%s/bin/berm", in->o.prefix);
    if (r < 0)
        return r;
    if (!in->changed && r == 1 && (!*program || strcmp(program, want) == 0))
        return 0;
    if ((r = runtime_restart(in, err)) < 0)
        return r;
    return runtime_wait(in, true, err);
}

static int set_label(struct install *in, struct error *err)
{
    return node_api_label(&in->api, in->o.node_label, true, &in->labelled, err);
}

static void undo_label(struct install *in)
{
    struct error err = ERROR_INIT;

    if (in->labelled && node_api_label(&in->api, in->o.node_label, false, &in->labelled, &err) < 0)
        log_error("%s", err.msg);
}

/* Told only where something happened: agents start often, and nothing changes. */
static int report(struct install *in, struct error *err)
{
    char text[400];
    int r;

    text_format(text, sizeof(text), "berm %s is installed, handler '%s' is served by %s",
                in->version, in->o.handler, in->flavour->name);
    r = node_api_condition(&in->api, true, "Installed", text, err);
    if (r == 0 && (in->changed || in->new_links || in->restarted))
        r = node_api_event(&in->api, false, "BermInstalled", text, err);
    return r;
}

static int remove_taint(struct install *in, struct error *err)
{
    return node_api_untaint(&in->api, in->o.taint, err);
}

/* From here on nothing is taken back. */
static int settle(struct install *in, struct error *err)
{
    struct error why = ERROR_INIT;

    (void)err;
    host_keep(&in->change);
    if (programs_collect(in, &why) < 0)
        log_warn("programs: older versions stay: %s", why.msg);
    return 0;
}

static const struct install_step steps[] = {
    {"host", "HostNotAble", check_host, NULL},
    {"runtime", "RuntimeNotFound", runtime_find, NULL},
    {"programs", "ProgramsNotWritten", programs_put, programs_undo},
    {"configuration", "ConfigurationRefused", handler_put, handler_undo},
    {"restart", "HandlerNotServed", make_served, NULL},
    {"node", "NodeNotReporting", node_reports, NULL},
    {"label", "NodeNotLabelled", set_label, undo_label},
    {"condition", "NodeNotReported", report, NULL},
    {"taint", "TaintNotRemoved", remove_taint, NULL},
    {"settle", "NotSettled", settle, NULL},
};

static void drop_scratch(const struct install *in)
{
    char path[PATH_MAX];

    text_format(path, sizeof(path), "%s/install/scratch", in->o.state_dir);
    if (in->locked)
        (void)host_remove_tree(path, NULL);
}

/* A failed first run leaves not even its own folder. */
static void drop_state(const struct install *in)
{
    char path[PATH_MAX];

    if (!in->new_state)
        return;
    text_format(path, sizeof(path), "%s/install", in->o.state_dir);
    (void)host_remove_tree(path, NULL);
    (void)rmdir(in->o.state_dir);
}

const struct install_step *install_run(struct install *in, const struct install_step *list,
                                       size_t n, struct error *err)
{
    size_t i = 0, last;

    while (i < n && list[i].run(in, err) >= 0)
        i++;
    if (i == n)
        return NULL;
    last = i;
    log_error("%s: %s", list[last].name, err->msg);
    /* The one that failed, too: it may have been done by half. */
    for (i = last + 1; i-- > 0;)
        if (list[i].undo)
            list[i].undo(in);
    while (in->n_made)
        (void)rmdir(in->made[--in->n_made]);
    drop_state(in);
    return &list[last];
}

int install_mkdir(struct install *in, const char *path, struct error *err)
{
    char part[PATH_MAX];
    const char *p = path;
    int r;

    while ((p = strchr(p + 1, '/')) || (p = path + strlen(path))) {
        text_format(part, sizeof(part), "%.*s", (int)(p - path), path);
        r = mkdir(part, 0755) < 0 ? -errno : 1;
        if (r < 0 && r != -EEXIST)
            return error_errno(err, r, "create '%s'", part);
        if (r == 1 && in->n_made < ARRAY_SIZE(in->made))
            text_format(in->made[in->n_made++], PATH_MAX, "%s", part);
        if (!*p)
            return 0;
    }
    return 0;
}

/* -- begin and end
 * -------------------------------------------------------------------------------------- */

static int set_up_log(const struct install *in, const char *what, struct error *err)
{
    struct log_config log = {.fd = 2, .tag = what, .level = LOG_INFO};

    if (strcmp(in->o.log_format, "json") != 0 && strcmp(in->o.log_format, "text") != 0)
        return error_set(err, -EINVAL, "--log-format: '%s' is neither text nor json",
                         in->o.log_format);
    log.json = strcmp(in->o.log_format, "json") == 0;
    log_setup(&log);
    return 0;
}

/* Beside bermd, unless told otherwise; opened now, for the root may be another soon. */
static int open_sources(struct install *in, struct error *err)
{
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[MAX(n, 0)] = 0;
    if (strrchr(self, '/'))
        *strrchr(self, '/') = 0;
    for (size_t i = 0; i < INSTALL_PROGRAMS; i++) {
        text_format(path, sizeof(path), "%s/%s", *in->o.source ? in->o.source : self,
                    install_programs[i]);
        in->source_fd[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (in->source_fd[i] < 0)
            return error_errno(err, -errno, "open '%s'", path);
    }
    return 0;
}

static int check_paths(const struct install_options *o, struct error *err)
{
    const struct {
        const char *key, *value;
        bool may_be_empty;
    } paths[] = {{"host-root", o->host_root, false},  {"prefix", o->prefix, false},
                 {"state-dir", o->state_dir, false},  {"root", o->root, false},
                 {"runtime-config", o->config, true}, {"runtime-socket", o->socket, true},
                 {"runtime-binary", o->binary, true}};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (!(paths[i].may_be_empty && !*paths[i].value) &&
            (!path_is_clean(paths[i].value) || strpbrk(paths[i].value, "\"'\\\n")))
            return error_set(err, -EINVAL, "--%s: '%s' is no absolute, plain path", paths[i].key,
                             paths[i].value);
    if (!name_is_label(o->handler))
        return error_set(err, -EINVAL, "--handler: '%s' is no label", o->handler);
    return 0;
}

static int begin_api(struct install *in, struct error *err)
{
    const char *node = *in->o.node_name ? in->o.node_name : getenv("NODE_NAME");
    static char host[256];

    if (!in->o.api)
        return 0;
    if (!node) {
        (void)gethostname(host, sizeof(host) - 1);
        node = host;
    }
    return node_api_init(&in->api, &in->loop, in->o.kubeconfig, node, in->o.wait_s * 1000, err);
}

static int take_lock(struct install *in, struct error *err)
{
    char path[PATH_MAX];
    int r;

    text_format(path, sizeof(path), "%s/install", in->o.state_dir);
    in->new_state = access(path, F_OK) < 0;
    r = mkdir_parents(path, 0700);
    text_format(path, sizeof(path), "%s/install/lock", in->o.state_dir);
    if (r == 0) {
        in->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        r = in->lock_fd < 0 ? -errno : 0;
    }
    if (r < 0) {
        drop_state(in);
        return error_errno(err, r, "open '%s'", path);
    }
    if (flock(in->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, -EALREADY, "another installer holds '%s'", path);
    in->locked = true;
    drop_scratch(in);
    return 0;
}

int install_begin(struct install *in, int argc, char **argv, const char *what, struct error *err)
{
    int r = options_parse(rows, ARRAY_SIZE(rows), &in->o, argc, argv, err);

    in->lock_fd = in->source_fd[0] = in->source_fd[1] = -1;
    if (r == 1) {
        printf("usage: bermd %s [--KEY VALUE]...\n\n", what);
        options_usage(rows, ARRAY_SIZE(rows));
        return 1;
    }
    if (r < 0 || (r = set_up_log(in, what, err)) < 0 || (r = check_paths(&in->o, err)) < 0)
        return r;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(022);
    if ((r = loop_init(&in->loop)) < 0)
        return error_errno(err, r, "event loop");
    if ((r = open_sources(in, err)) < 0)
        return r;
    if ((r = begin_api(in, err)) < 0)
        return error_wrap(err, "API server (--api off does without)");
    if (strcmp(in->o.host_root, "/") != 0 && (chroot(in->o.host_root) < 0 || chdir("/") < 0))
        return error_errno(err, -errno, "--host-root '%s'", in->o.host_root);
    return take_lock(in, err);
}

void install_end(struct install *in)
{
    drop_scratch(in);
    if (in->cri.socket)
        cri_fini(&in->cri);
    node_api_fini(&in->api);
    loop_fini(&in->loop);
    for (size_t i = 0; i < INSTALL_PROGRAMS; i++)
        close_fd(&in->source_fd[i]);
    close_fd(&in->lock_fd);
}

static int fail(struct install *in, const struct install_step *step, const struct error *err)
{
    struct error why = ERROR_INIT;
    char text[700];

    text_format(text, sizeof(text), "installing berm: %s: %s", step->name, err->msg);
    if (node_api_condition(&in->api, false, step->reason, text, &why) < 0 ||
        node_api_event(&in->api, true, "BermInstallFailed", text, &why) < 0)
        log_error("%s", why.msg);
    return 1;
}

int install_main(int argc, char **argv)
{
    static struct install in;
    struct error err = ERROR_INIT;
    const struct install_step *failed;
    int r = install_begin(&in, argc, argv, "install", &err), status = r < 0;

    if (r < 0)
        log_error("%s", err.msg);
    if (r == 0) {
        failed = install_run(&in, steps, ARRAY_SIZE(steps), &err);
        status = failed ? fail(&in, failed, &err) : 0;
        if (!failed)
            log_info("installed: %s, handler '%s'%s", in.version, in.o.handler,
                     in.changed || in.new_links || in.restarted ? "" : "; nothing had to change");
    }
    install_end(&in);
    return status;
}
