#include "common/cleanup.h"
#include "runtime/cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option *find(const struct cli_option *options, const char *arg, size_t len)
{
    for (const struct cli_option *o = options; o->name; o++) {
        if (arg[1] == '-' && strlen(o->name) == len - 2 && strncmp(o->name, arg + 2, len - 2) == 0)
            return o;
        if (arg[1] != '-' && len == 2 && o->letter && o->letter == arg[1])
            return o;
        /* Go's programs take "-name" for "--name". */
        if (arg[1] != '-' && len > 2 && strlen(o->name) == len - 1 &&
            strncmp(o->name, arg + 1, len - 1) == 0)
            return o;
    }
    return NULL;
}

/* As Go's programs take it. */
static int read_flag(const struct cli_option *o, const char *text, bool *ret, struct error *err)
{
    static const char *const words[] = {"false", "0", "f", "true", "1", "t"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i >= 3;
            return 0;
        }
    return error_set(err, -EINVAL, "--%s: '%.32s' is neither true nor false", o->name, text);
}

static int store(const struct cli_option *o, const char *value, void *out, struct error *err)
{
    void *at = (char *)out + o->offset;
    struct cli_list *list;

    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)at = true;
        return value ? read_flag(o, value, at, err) : 0;
    case CLI_VALUE:
        *(const char **)at = value;
        return 0;
    case CLI_LIST:
        list = at;
        if (list->count == CLI_LIST_MAX)
            return error_set(err, -E2BIG, "--%s is given more than %d times", o->name,
                             CLI_LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    case CLI_REFUSED:
        return error_set(err, -EOPNOTSUPP, "--%s is not supported: %s", o->name, o->text);
    case CLI_ACCEPTED:
        break;
    }
    return 0;
}

/* One option at argv[i]: the index of its last word, or -EINVAL. */
static int take(int argc, char **argv, int i, const struct cli_option *options, void *out,
                struct error *err)
{
    const char *equals = strchr(argv[i], '=');
    size_t len = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
    const struct cli_option *o = find(options, argv[i], len);
    const char *value = equals ? equals + 1 : NULL;
    int r;

    if (!o)
        return error_set(err, -EINVAL, "unknown option '%.*s'", (int)len, argv[i]);
    if (!value && o->value) {
        if (++i >= argc)
            return error_set(err, -EINVAL, "option --%s needs a value", o->name);
        value = argv[i];
    }
    r = store(o, value, out, err);
    return r < 0 ? r : i;
}

static bool is_help(const char *arg, const struct cli_option *options)
{
    size_t len = strlen(arg);

    return (strcmp(arg, "--help") == 0 || strcmp(arg, "-help") == 0 || strcmp(arg, "-h") == 0) &&
           !find(options, arg, len);
}

void cli_print_options(const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->name; o++) {
        char letter[8] = "", name[64];

        if (o->letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        (void)snprintf(name, sizeof(name), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                       o->value ? o->value : "");
        (void)printf("  %-26s %s%s\n", name,
                     o->kind == CLI_REFUSED    ? "refused: "
                     : o->kind == CLI_ACCEPTED ? "accepted: "
                                               : "",
                     o->text);
    }
}

static int print_help(const struct cli_verb *v)
{
    (void)printf("usage: berm %s%s%s%s\n\n%s\n", v->name, v->options->name ? " [OPTION...]" : "",
                 *v->arguments ? " " : "", v->arguments, v->text);
    if (v->options->name)
        (void)printf("\noptions:\n");
    cli_print_options(v->options);
    return CLI_HELP_GIVEN;
}

int cli_options(int argc, char **argv, const struct cli_verb *v, void *out, struct error *err)
{
    int n = 0, i = 0;

    for (; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (is_help(argv[i], v->options))
            return print_help(v);
        /* "-" alone is a file name: standard input. */
        if (argv[i][0] != '-' || !argv[i][1]) {
            argv[n++] = argv[i];
            if (!v->until_first)
                continue;
            i++;
            break;
        }
        i = take(argc, argv, i, v->options, out, err);
        if (i < 0)
            return i;
    }
    while (i < argc)
        argv[n++] = argv[i++];
    if (n < v->min || (v->max >= 0 && n > v->max))
        return error_set(err, -EINVAL, "%s: too %s arguments (see `berm %s --help`)", v->name,
                         n < v->min ? "few" : "many", v->name);
    return n;
}

int cli_signal(const char *text, struct error *err)
{
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    char *end;
    long n = strtol(text, &end, 10);

    if (*text && !*end && n >= 0 && n <= SIGRTMAX)
        return (int)n;
    for (int i = 1; i < NSIG; i++) {
        const char *abbrev = sigabbrev_np(i);

        if (abbrev && strcasecmp(abbrev, name) == 0)
            return i;
    }
    return error_set(err, -EINVAL, "unknown signal '%.32s'", text);
}

bool cli_id(const char **at, unsigned *ret)
{
    unsigned long id;
    char *end;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    id = strtoul(*at, &end, 10);
    *at = end;
    *ret = (unsigned)id;
    return errno == 0 && id < UINT_MAX;
}

int cli_user(const char *text, unsigned *uid, unsigned *gid, struct error *err)
{
    const char *at = text;
    bool fine = cli_id(&at, uid);

    if (fine && *at == ':') {
        at++;
        fine = cli_id(&at, gid);
    }
    return fine && !*at
               ? 0
               : error_set(err, -EINVAL, "--user: '%.64s' is not UID or UID:GID, as numbers", text);
}

int cli_format(const char *text, bool *ret_json, struct error *err)
{
    *ret_json = text && strcmp(text, "json") == 0;
    return !text || *ret_json || strcmp(text, "table") == 0
               ? 0
               : error_set(err, -EINVAL, "--format: '%.32s' is neither table nor json", text);
}

int cli_no_descriptors(const char *preserve_fds, struct error *err)
{
    char *end;

    if (!preserve_fds || (strtol(preserve_fds, &end, 10) == 0 && *preserve_fds && !*end))
        return 0;
    return error_set(err, -EOPNOTSUPP,
                     "--preserve-fds %.16s: only 0 to 2 are handed into a sandbox", preserve_fds);
}
