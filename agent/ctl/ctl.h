#pragma once
/* bermctl: a verb a file, one table in main.c. */
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl {
    const char *socket; /* the agent's control socket */
    bool json;          /* print the answer as it came */
};

struct ctl_verb {
    const char *name;
    const char *arguments; /* for help */
    const char *help;
    /* argv[0] is the verb; returns the exit status. */
    int (*fn)(const struct ctl *ctl, int argc, char **argv);
};

/* Sends one request ({"request":NAME,...}, stolen) and reads one answer; an answer that is not ok
 * is an error. The caller frees *ret. fd may be NULL; else it is left open there for more lines. */
int ctl_request(const struct ctl *ctl, json_t *request, json_t **ret, int *fd, struct error *err);
/* Prints the error and returns 1. */
int ctl_fail(const struct error *err);
int ctl_usage(const char *text);
void ctl_print_json(const json_t *json);
const char *ctl_string(const json_t *o, const char *key);
long long ctl_int(const json_t *o, const char *key);

/* A table with columns as wide as their widest cell. */
struct table {
    char *cells[512][10];
    size_t rows, columns;
};
void table_row(struct table *t, size_t columns, ...); /* of const char *; copied */
void table_print(struct table *t);                    /* and frees */

int ctl_status(const struct ctl *ctl, int argc, char **argv);
int ctl_pods(const struct ctl *ctl, int argc, char **argv);
int ctl_guard(const struct ctl *ctl, int argc, char **argv);
int ctl_policy(const struct ctl *ctl, int argc, char **argv);
int ctl_drops(const struct ctl *ctl, int argc, char **argv);
int ctl_wait(const struct ctl *ctl, int argc, char **argv);
int ctl_drops_of(const struct ctl *ctl, int argc, char **argv, bool audit);
int ctl_doctor(const struct ctl *ctl, int argc, char **argv);
int ctl_play(const struct ctl *ctl, int argc, char **argv);
int ctl_logs(const struct ctl *ctl, int argc, char **argv);
int ctl_exec(const struct ctl *ctl, int argc, char **argv);
/* "NAME" or "NS/NAME" among the agent's pods; *ret borrowed from *ret_all, which the caller frees.
 */
int ctl_find_pod(const struct ctl *ctl, const char *name, json_t **ret_all, json_t **ret,
                 struct error *err);
