#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 128 };

/* bermd lies beside bermctl, in a build tree and in an installation alike. */
int ctl_play(const struct ctl *ctl, int argc, char **argv)
{
    char self[PATH_MAX], bermd[PATH_MAX + 8];
    const char *args[ARGS_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;
    int k = 0;

    (void)ctl;
    if (argc < 2 || argc > ARGS_MAX - 4)
        return ctl_usage("play DIR [BERMD-FLAG...]");
    self[MAX(n, 0)] = 0;
    slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    (void)snprintf(bermd, sizeof(bermd), "%s/bermd", self);
    args[k++] = access(bermd, X_OK) == 0 ? bermd : "bermd";
    args[k++] = "--standalone";
    for (int i = 1; i < argc; i++)
        args[k++] = argv[i];
    args[k] = NULL;
    (void)execvp(args[0], (char *const *)(uintptr_t)args);
    perror(args[0]);
    return 127;
}
