#include "runtime/cli/cli.h"

#include <errno.h>
#include <signal.h>
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

static bool is_true(const char *text)
{
    return strcmp(text, "false") != 0 && strcmp(text, "0") != 0;
}

static int store(const struct cli_option *o, const char *value, void *out, struct error *err)
{
    void *at = (char *)out + o->offset;
    struct cli_list *list;

    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)at = value ? is_true(value) : true;
        return 0;
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
    case CLI_IGNORED:
    case CLI_IGNORED_VALUE:
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
    if (!value && o->kind != CLI_FLAG && o->kind != CLI_IGNORED) {
        if (++i >= argc)
            return error_set(err, -EINVAL, "option --%s needs a value", o->name);
        value = argv[i];
    }
    r = store(o, value, out, err);
    return r < 0 ? r : i;
}

int cli_options(int argc, char **argv, const struct cli_option *options, void *out,
                bool until_first, int min, int max, struct error *err)
{
    int n = 0, i = 0;

    for (; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        /* "-" alone is a file name: standard input. */
        if (argv[i][0] != '-' || !argv[i][1]) {
            argv[n++] = argv[i];
            if (!until_first)
                continue;
            i++;
            break;
        }
        i = take(argc, argv, i, options, out, err);
        if (i < 0)
            return i;
    }
    while (i < argc)
        argv[n++] = argv[i++];
    if (n < min || (max >= 0 && n > max))
        return error_set(err, -EINVAL, "%s arguments (see `berm help`)",
                         n < min ? "too few" : "too many");
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
