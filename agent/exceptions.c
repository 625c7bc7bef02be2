#include "agent/exceptions.h"

#include "agent/agent.h"
#include "agent/standalone/podspec.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

enum { FILE_MAX = 1 << 16 };

int exceptions_load(struct agent *a, struct error *err)
{
    CLEANUP(free_ptr) struct enforce_exceptions *list = calloc(1, sizeof(*list));
    CLEANUP(free_ptr) char *text = NULL;
    const char *path = a->config.guard_exceptions;
    int r = 0;

    if (!list)
        return error_errno(err, -ENOMEM, "exceptions to the guard");
    if (*path) {
        r = file_read_all(AT_FDCWD, path, FILE_MAX, &text, NULL, err);
        if (r < 0)
            return r;
        if (enforce_exceptions_parse(text, list, err) < 0)
            return error_wrap(err, "%s", path);
    }
    r = enforce_set_exceptions(a->enforce, list, err);
    if (r == 0)
        a->exceptions = *list;
    return r;
}

uint64_t exceptions_of(const struct agent *a, const char *ns, const json_t *pod)
{
    const char *account = get_string(get(pod, "spec"), "serviceAccountName", "default");
    const char *asked = json_string_value(
        json_object_get(get(pod, "metadata.annotations"), "dev.berm.guard-exceptions"));
    uint64_t mask = 0;

    for (size_t i = 0; i < a->exceptions.n; i++) {
        if (enforce_exception_holds(&a->exceptions.list[i], ns, account, asked))
            mask |= enforce_exception_bit(i);
    }
    return mask;
}
