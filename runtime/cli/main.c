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

static const struct cli_verb *const verbs[] = {
#define X(name) &verb_##name,
    CLI_VERBS(X)
#undef X
};

struct globals {
    struct cli cli;
    bool version, help;
};

#define AT(member) offsetof(struct globals, cli.member)
static const struct cli_option global_options[] = {
    {"root", 0, CLI_VALUE, "DIR", AT(root), "where containers' states are (" CLI_ROOT_DEFAULT ")"},
    {"log", 0, CLI_VALUE, "FILE", AT(log), "messages go there, too"},
    {"log-format", 0, CLI_VALUE, "text|json", AT(log_format), "the log's lines (text)"},
    {"config", 0, CLI_VALUE, "FILE", AT(config_file),
     "the runtime's configuration (" RUNTIME_CONFIG_DEFAULT ")"},
    {"systemd-cgroup", 0, CLI_FLAG, NULL, AT(systemd_cgroup), "cgroups are scopes of systemd"},
    {"debug", 0, CLI_FLAG, NULL, AT(debug), "more messages"},
    {"strace", 0, CLI_FLAG, NULL, AT(strace), "system calls of the guest, in the log"},
    {"rootless", 0, CLI_ACCEPTED, "WHEN", 0, "whether it can be done is found out by doing it"},
    {"criu", 0, CLI_ACCEPTED, "FILE", 0, "there is no checkpoint"},
    {"version", 'v', CLI_FLAG, NULL, offsetof(struct globals, version), "the version"},
    {"help", 'h', CLI_FLAG, NULL, offsetof(struct globals, help), "this text"},
    {0},
};
#undef AT
static const struct cli_verb global_syntax = {"", "VERB", "", global_options, true, 0, -1, NULL};

#ifdef BERM_TEST_UNGUARDED /* runtime/guard.h */
#define BUILD " TEST BUILD WITHOUT PROTECTION"
#else
#define BUILD ""
#endif

static void print_version(void)
{
    (void)printf("berm version " BERM_VERSION BUILD "\nspec: 1.1.0\n");
}

static int print_all(void)
{
    (void)printf("usage: berm [OPTION...] VERB [OPTION...] [ARGUMENT...]\n\nverbs (`berm VERB "
                 "--help` says more):\n");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        (void)printf("  %-11s %s\n", verbs[i]->name, verbs[i]->text);
    (void)printf("\noptions:\n");
    cli_print_options(global_options);
    return 0;
}

static int run_help(struct cli *cli, int argc, char **argv, struct error *err)
{
    int r = cli_options(argc, argv, &verb_help, NULL, err);

    (void)cli;
    return r < 0 ? r : print_all();
}

static const struct cli_option help_options[] = {{0}};
const struct cli_verb verb_help = {"help", "", "this list", help_options, false, 0, 0, run_help};

int cli_config(struct cli *cli, struct error *err)
{
    return runtime_config_load(cli->config_file, &cli->config, err);
}

/* What fails later for want of space must find room for saying so: the first page is there before
 * it is needed. */
static void reserve_log(int fd)
{
    enum { PAGE = 4096 };
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
        (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PAGE);
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
        reserve_log(cli->log_fd);
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
        if (strcmp(verbs[i]->name, argv[0]) == 0)
            return verbs[i]->run(cli, argc - 1, argv + 1, err);
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
    n = cli_options(argc - 1, argv + 1, &global_syntax, &g, &err);
    r = n < 0 ? n : open_log(&g.cli, &err);
    if (r == 0 && g.version) {
        print_version();
        return 0;
    }
    if (r == 0)
        r = n == 0 || g.help ? print_all() : run_verb(&g.cli, n, argv + 1, &err);
    if (r >= 0 || r == CLI_HELP_GIVEN)
        return MAX(r, 0);
    if (g.cli.log_fd >= 0)
        log_error("%s", err.msg);
    (void)fprintf(stderr, "berm: %s\n", err.msg);
    return 1;
}
