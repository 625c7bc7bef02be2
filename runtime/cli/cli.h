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

enum cli_option_kind {
    CLI_FLAG,
    CLI_VALUE,
    CLI_LIST,
    CLI_ACCEPTED, /* nothing is to be done for it here; its text says why */
    CLI_REFUSED,  /* an error wherever it is given; its text says why */
};

enum { CLI_LIST_MAX = 256 };

struct cli_list {
    const char *items[CLI_LIST_MAX];
    unsigned count;
};

struct cli_option {
    const char *name; /* without "--" */
    char letter;      /* 0: none */
    enum cli_option_kind kind;
    const char *value; /* what it takes, as --help calls it; NULL: nothing */
    size_t offset;     /* bool, const char *, struct cli_list */
    const char *text;
};

/* A verb: a row of `berm --help`, its options, and what does it. */
struct cli_verb {
    const char *name, *arguments, *text;
    const struct cli_option *options; /* ends with a row without name */
    bool until_first;                 /* the first argument ends the options */
    int min, max;                     /* of arguments; max -1: any number */
    /* argv are its arguments, without its name. Returns the exit status, or a negative errno with
     * the message in err. */
    int (*run)(struct cli *cli, int argc, char **argv, struct error *err);
};

/* What cli_options returns when --help was given: it has been printed, nothing else is to be done.
 * No errno, and no message goes with it. */
enum { CLI_HELP_GIVEN = -4096 };

/*
 * Parses options ("--name value", "--name=value", "-x value", "-x", "--flag=false") into out and
 * leaves the other arguments in argv. Returns their number, CLI_HELP_GIVEN, or -EINVAL.
 */
int cli_options(int argc, char **argv, const struct cli_verb *verb, void *out, struct error *err);
/* The lines of --help for a table of options. */
void cli_print_options(const struct cli_option *options);

#define CLI_VERBS(X)                                                                               \
    X(create)                                                                                      \
    X(start)                                                                                       \
    X(run)                                                                                         \
    X(exec)                                                                                        \
    X(do)                                                                                          \
    X(state)                                                                                       \
    X(kill)                                                                                        \
    X(delete)                                                                                      \
    X(list)                                                                                        \
    X(ps)                                                                                          \
    X(pause)                                                                                       \
    X(resume)                                                                                      \
    X(update)                                                                                      \
    X(events)                                                                                      \
    X(wait)                                                                                        \
    X(checkpoint)                                                                                  \
    X(restore)                                                                                     \
    X(features)                                                                                    \
    X(spec)                                                                                        \
    X(debug)                                                                                       \
    X(help)

#define X(name) extern const struct cli_verb verb_##name;
CLI_VERBS(X)
#undef X

/* Loads cli->config. */
int cli_config(struct cli *cli, struct error *err);
/* Number of a signal given as 15, TERM or SIGTERM; -EINVAL. */
int cli_signal(const char *text, struct error *err);
/* A user's or group's number at *at, which is left behind it. */
bool cli_id(const char **at, unsigned *ret);
/* Fills in uid and, if it is there, gid from "UID" or "UID:GID". */
int cli_user(const char *text, unsigned *uid, unsigned *gid, struct error *err);
/* --preserve-fds (may be NULL): -EOPNOTSUPP unless it is 0. */
int cli_no_descriptors(const char *preserve_fds, struct error *err);
/* --format: whether it is JSON; NULL and "table" are not, others are an error. */
int cli_format(const char *text, bool *ret_json, struct error *err);
