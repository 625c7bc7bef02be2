#pragma once
/* What every verb of `berm` gets, and the table's rows. */
#include "common/error.h"
#include "runtime/oci/config.h"

#include <stdbool.h>
#include <stddef.h>

#define CLI_ROOT_DEFAULT "/run/berm"

struct cli {
    const char *root, *log, *log_format, *config_file;
    bool systemd_cgroup, debug, strace;
    struct runtime_config config; /* cli_config loads it */
    int log_fd;                   /* of --log, or -1 */
    char **command;               /* as it was given; NULL: not to be handed over (program.h) */
};

enum cli_option_kind { CLI_FLAG, CLI_VALUE, CLI_LIST, CLI_IGNORED, CLI_IGNORED_VALUE };

enum { CLI_LIST_MAX = 256 };

struct cli_list {
    const char *items[CLI_LIST_MAX];
    unsigned count;
};

struct cli_option {
    const char *name; /* without "--" */
    char letter;      /* 0: none */
    enum cli_option_kind kind;
    size_t offset; /* bool, const char *, struct cli_list */
};

/*
 * Parses options ("--name value", "--name=value", "-x value", "-x", "--flag=false") into out and
 * leaves the other arguments in argv (at most max; -1: any number). until_first: the first other
 * argument ends the options. Returns their number, or -EINVAL.
 */
int cli_options(int argc, char **argv, const struct cli_option *options, void *out,
                bool until_first, int min, int max, struct error *err);

/* A verb: argv are its arguments, without its name. Returns the exit status, or a negative errno
 * with the message in err. */
typedef int cli_verb(struct cli *cli, int argc, char **argv, struct error *err);

#define CLI_VERBS(X)                                                                               \
    X(create, "BUNDLE's container, not yet running: create --bundle DIR --pid-file FILE ID")       \
    X(start, "starts a created container: start ID")                                               \
    X(run, "create, start, wait and delete in one: run --bundle DIR ID")                           \
    X(exec, "another process in a container: exec ID COMMAND...")                                  \
    X(do,                                                                                          \
      "one command in a sandbox over this machine's files: do [--net] [--rw DIR] -- COMMAND...")   \
    X(state, "a container's state as JSON: state ID")                                              \
    X(kill, "sends a signal: kill [--all] ID SIGNAL")                                              \
    X(delete, "removes a stopped container: delete [--force] ID")                                  \
    X(list, "all containers: list [--format json]")                                                \
    X(ps, "processes of a container: ps [--format json] ID")                                       \
    X(pause, "stops all processes of a container: pause ID")                                       \
    X(resume, "lets them go on: resume ID")                                                        \
    X(update, "changes limits: update --resources FILE ID")                                        \
    X(events, "statistics: events --stats ID")                                                     \
    X(wait, "waits for the end of a container: wait ID")                                           \
    X(checkpoint, "not supported: refused with that message")                                      \
    X(restore, "not supported: refused with that message")                                         \
    X(features, "what this runtime supports, as JSON")                                             \
    X(spec, "writes a config.json to start from: spec [--bundle DIR]")                             \
    X(debug, "debug filters: the system calls that each process may make")                         \
    X(help, "this list")

#define X(name, text) cli_verb verb_##name;
CLI_VERBS(X)
#undef X

/* Loads cli->config. */
int cli_config(struct cli *cli, struct error *err);
/* Number of a signal given as 15, TERM or SIGTERM; -EINVAL. */
int cli_signal(const char *text, struct error *err);
