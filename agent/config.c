#include "agent/config.h"

#include "agent/options.h"
#include "common/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option_row rows[] = {
#define STRING OPTION_STRING
#define BOOL   OPTION_BOOL
#define UINT   OPTION_UINT
#define CONFIG(type, field, key, def, value, help)                                                 \
    {type, offsetof(struct config, field), key, def, value, help},
#include "agent/config.def"
#undef CONFIG
#undef STRING
#undef BOOL
#undef UINT
};

void config_usage(void)
{
    puts("usage: bermd [--KEY VALUE]...\n\nObjects come from an API server: in a pod by its "
         "service account, elsewhere by\n--kubeconfig FILE; or from a folder of manifests: "
         "--standalone DIR.\n");
    options_usage(rows, ARRAY_SIZE(rows));
    puts("\nbermd --uninstall [PIN-DIR] takes guard and policy out of the kernel.\n"
         "bermd install, bermd uninstall: the runtime on this node (--help says more).");
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
    int r = options_parse(rows, ARRAY_SIZE(rows), c, argc, argv, err);

    if (r == 1)
        config_usage();
    return r == 0 ? derive(c, err) : r;
}
