/*
 * A container's verbs are carried out by the program that made its sandbox. An upgrade switches the
 * link that containerd calls; what the new program says to sentries and reads of states need not be
 * what the old one did.
 */
#include "runtime/cli/program.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Says that this run was handed over: the program whose path is recorded may be somebody else's by
 * now, and hand it back. */
#define HANDED_OVER "BERM_HANDED_OVER"

void program_self(char *ret, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", ret, size - 1);

    ret[MAX(n, 0)] = 0;
}

int program_hand_over(const struct cli *cli, const struct state *s, struct error *err)
{
    char self[sizeof(s->program)];

    program_self(self, sizeof(self));
    if (!*s->program || strcmp(s->program, self) == 0 || !cli->command || getenv(HANDED_OVER))
        return 0;
    if (access(s->program, X_OK) < 0) {
        log_warn("%s: '%s', which made it, is gone: another program goes on", s->id, s->program);
        return 0;
    }
    if (setenv(HANDED_OVER, "1", 1) < 0)
        return error_errno(err, -errno, "hand over");
    (void)execv(s->program, cli->command);
    return error_errno(err, -errno, "hand over to '%s'", s->program);
}
