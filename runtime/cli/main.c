/*
 * berm, the OCI runtime: global options, then a verb out of the table. All other roles (monitor,
 * sentry, gofer, zygote) are forks of this program.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "runtime/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    cli_verb *run;
    const char *text;
} verbs[] = {
#define X(name, text) {#name, verb_##name, text},
    CLI_VERBS(X)
#undef X
};

struct globals {
    struct cli cli;
    bool version, help;
};

static const struct cli_option global_options[] = {
    {"root", 0, CLI_VALUE, offsetof(struct globals, cli.root)},
    {"log", 0, CLI_VALUE, offsetof(struct globals, cli.log)},
    {"log-format", 0, CLI_VALUE, offsetof(struct globals, cli.log_format)},
    {"config", 0, CLI_VALUE, offsetof(struct globals, cli.config_file)},
    {"systemd-cgroup", 0, CLI_FLAG, offsetof(struct globals, cli.systemd_cgroup)},
    {"debug", 0, CLI_FLAG, offsetof(struct globals, cli.debug)},
    {"strace", 0, CLI_FLAG, offsetof(struct globals, cli.strace)},
    {"rootless", 0, CLI_IGNORED, 0},
    {"version", 'v', CLI_FLAG, offsetof(struct globals, version)},
    {"help", 'h', CLI_FLAG, offsetof(struct globals, help)},
    {0},
};

static void print_version(void)
{
    (void)printf("berm version " BERM_VERSION "\nspec: 1.1.0\n");
}

int verb_help(struct cli *cli, int argc, char **argv, struct error *err)
{
    (void)cli, (void)argc, (void)argv, (void)err;
    (void)printf("usage: berm [--root DIR] [--log FILE] [--log-format text|json] [--debug] VERB "
                 "[OPTION...] [ARGUMENT...]\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        (void)printf("  %-9s %s\n", verbs[i].name, verbs[i].text);
    return 0;
}

int cli_config(struct cli *cli, struct error *err)
{
    return runtime_config_load(cli->config_file, &cli->config, err);
}

static int open_log(struct cli *cli, struct error *err)
{
    bool json = cli->log_format && strcmp(cli->log_format, "json") == 0;
    struct log_config config = {
        .fd = 2,
        .json = json,
        .level = cli->debug ? LOG_DEBUG
                 : cli->log ? LOG_INFO
                            : LOG_WARN,
    };

    if (cli->log_format && !json && strcmp(cli->log_format, "text") != 0)
        return error_set(err, -EINVAL, "--log-format: '%.32s' is neither text nor json",
                         cli->log_format);
    if (cli->log && *cli->log) {
        cli->log_fd = open(cli->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (cli->log_fd < 0)
            return error_errno(err, -errno, "--log '%s'", cli->log);
        config.fd = cli->log_fd;
    }
    log_setup(&config);
    return 0;
}

/* Descriptors 0 to 2 must be somebody: otherwise the next file opened would become the container's
 * output. */
static void ensure_stdio(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", O_RDWR);
}

static int run_verb(struct cli *cli, int argc, char **argv, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].name, argv[0]) == 0)
            return verbs[i].run(cli, argc - 1, argv + 1, err);
    return error_set(err, -EINVAL, "unknown command '%.64s' (see `berm help`)", argv[0]);
}

/* Options are parsed in place. Stays until the end. */
static char **copy_arguments(int argc, char **argv)
{
    char **copy = calloc((size_t)argc + 1, sizeof(*copy));

    for (int i = 0; copy && i < argc; i++)
        copy[i] = argv[i];
    return copy;
}

int main(int argc, char **argv)
{
    struct globals g = {.cli = {.root = CLI_ROOT_DEFAULT, .log_fd = -1}};
    struct error err = ERROR_INIT;
    int n, r;

    ensure_stdio();
    (void)umask(022);
    g.cli.command = copy_arguments(argc, argv);
    n = cli_options(argc - 1, argv + 1, global_options, &g, true, 0, -1, &err);
    r = n < 0 ? n : open_log(&g.cli, &err);
    if (r == 0 && g.version) {
        print_version();
        return 0;
    }
    if (r == 0)
        r = n == 0 || g.help ? verb_help(&g.cli, 0, NULL, &err)
                             : run_verb(&g.cli, n, argv + 1, &err);
    if (r >= 0)
        return r;
    if (g.cli.log_fd >= 0)
        log_error("%s", err.msg);
    (void)fprintf(stderr, "berm: %s\n", err.msg);
    return 1;
}
