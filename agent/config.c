#include "agent/config.h"

#include "common/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum type { STRING, BOOL, UINT };

struct row {
    enum type type;
    size_t offset;
    const char *key, *def, *value, *help;
};

static const struct row rows[] = {
#define CONFIG(type, field, key, def, value, help)                                                 \
    {type, offsetof(struct config, field), key, def, value, help},
#include "agent/config.def"
#undef CONFIG
};

void config_usage(void)
{
    puts("usage: bermd [--KEY VALUE]...\n\nObjects come from an API server: in a pod by its "
         "service account, elsewhere by\n--kubeconfig FILE; or from a folder of manifests: "
         "--standalone DIR.\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s %s", rows[i].key, rows[i].value);
        printf("  %-34s %s%s%s%s\n", left, rows[i].help, *rows[i].def ? " [" : "", rows[i].def,
               *rows[i].def ? "]" : "");
    }
    puts("\nbermd --uninstall [PIN-DIR] takes guard and policy out of the kernel.");
}

static int assign(struct config *c, const struct row *row, const char *value, struct error *err)
{
    void *field = (char *)c + row->offset;
    char *end;
    unsigned long long n;

    switch (row->type) {
    case STRING:
        *(const char **)field = value;
        return 0;
    case BOOL:
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
            return error_set(err, -EINVAL, "--%s: '%s' is neither on nor off", row->key, value);
        *(bool *)field = strcmp(value, "on") == 0;
        return 0;
    case UINT:
        errno = 0;
        n = strtoull(value, &end, 10);
        if (errno || end == value || *end || *value == '-' || n > INT_MAX)
            return error_set(err, -EINVAL, "--%s: '%s' is not a number", row->key, value);
        *(uint64_t *)field = n;
        return 0;
    }
    return -EINVAL;
}

static const struct row *find_row(const char *key, size_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strlen(rows[i].key) == size && strncmp(rows[i].key, key, size) == 0)
            return &rows[i];
    return NULL;
}

static const char *join(const char *dir, const char *name)
{
    char *s = NULL;

    return asprintf(&s, "%s/%s", dir, name) < 0 ? NULL : s;
}

/* berm lies beside bermd in a build tree and in an installation alike. */
static const char *beside_self(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *path;
    char *slash;

    if (n <= 0)
        return name;
    self[n] = 0;
    slash = strrchr(self, '/');
    if (!slash)
        return name;
    *slash = 0;
    path = join(self, name);
    return path && access(path, X_OK) == 0 ? path : name;
}

static int derive(struct config *c, struct error *err)
{
    static char host[HOST_NAME_MAX + 1];

    if (!*c->root)
        c->root = join(c->run_dir, "berm");
    if (!*c->runc_root)
        c->runc_root = join(c->run_dir, "runc");
    if (!*c->berm)
        c->berm = beside_self("berm");
    if (!*c->node_name && getenv("NODE_NAME"))
        c->node_name = getenv("NODE_NAME");
    if (!*c->node_name) {
        if (gethostname(host, sizeof(host) - 1) < 0)
            return error_errno(err, -errno, "host name");
        c->node_name = host;
    }
    if (c->run_dir[0] != '/' || c->state_dir[0] != '/')
        return error_set(err, -EINVAL, "--run-dir and --state-dir must be absolute paths");
    if (!c->root || !c->runc_root)
        return error_errno(err, -ENOMEM, "configuration");
    return 0;
}

int config_parse(struct config *c, int argc, char **argv, struct error *err)
{
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        r = assign(c, &rows[i], rows[i].def, err);
        if (r < 0)
            return r;
    }
    for (int i = 1; i < argc; i++) {
        const char *key = argv[i] + 2, *eq;
        const struct row *row;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            config_usage();
            return 1;
        }
        if (strncmp(argv[i], "--", 2) != 0)
            return error_set(err, -EINVAL, "unexpected argument '%s'", argv[i]);
        eq = strchr(key, '=');
        row = find_row(key, eq ? (size_t)(eq - key) : strlen(key));
        if (!row)
            return error_set(err, -EINVAL, "unknown flag '%s' (see --help)", argv[i]);
        if (!eq && i + 1 >= argc)
            return error_set(err, -EINVAL, "flag '%s' needs a value", argv[i]);
        r = assign(c, row, eq ? eq + 1 : argv[++i], err);
        if (r < 0)
            return r;
    }
    return derive(c, err);
}
