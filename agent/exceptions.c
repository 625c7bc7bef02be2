#include "agent/exceptions.h"

#include "agent/agent.h"
#include "agent/json.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 16 };

static void kept_path(const struct agent *a, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/guard-exceptions", a->config.state_dir);
}

int exceptions_read(struct agent *a, struct enforce_exceptions *ret, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    const char *path = a->config.guard_exceptions;
    char kept[PATH_MAX];

    memset(ret, 0, sizeof(*ret));
    kept_path(a, kept, sizeof(kept));
    if (!*path && (!agent_in_cluster(a) || access(kept, F_OK) != 0))
        return 0;
    if (!*path)
        path = kept;
    if (file_read_all(AT_FDCWD, path, FILE_MAX, &text, NULL, err) < 0)
        return err->code;
    return enforce_exceptions_parse(text, ret, err) < 0 ? error_wrap(err, "%s", path) : 0;
}

static int put(struct agent *a, const struct enforce_exceptions *list, struct error *err)
{
    int r = enforce_set_exceptions(a->enforce, list, err);

    if (r == 0)
        a->exceptions = *list;
    return r;
}

int exceptions_load(struct agent *a, struct error *err)
{
    CLEANUP(free_ptr) struct enforce_exceptions *list = calloc(1, sizeof(*list));
    int r;

    if (!list)
        return error_errno(err, -ENOMEM, "exceptions to the guard");
    r = exceptions_read(a, list, err);
    return r < 0 ? r : put(a, list, err);
}

static void keep(const struct agent *a, const char *text)
{
    struct error err = ERROR_INIT;
    char path[PATH_MAX];

    kept_path(a, path, sizeof(path));
    if (file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err) < 0)
        log_warn("%s", err.msg);
}

static bool same_entry(const struct enforce_exception *a, const struct enforce_exception *b)
{
    return strcmp(a->name, b->name) == 0 && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0 &&
           a->protocol == b->protocol && a->from == b->from && a->to == b->to &&
           a->on_request == b->on_request && a->all == b->all &&
           strcmp(a->namespaces, b->namespaces) == 0 && strcmp(a->accounts, b->accounts) == 0;
}

static bool same(const struct enforce_exceptions *a, const struct enforce_exceptions *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_entry(&a->list[i], &b->list[i]))
            return false;
    return true;
}

int exceptions_set(struct agent *a, const char *text, struct error *err)
{
    CLEANUP(free_ptr) struct enforce_exceptions *list = calloc(1, sizeof(*list));
    int r;

    if (!list)
        return error_errno(err, -ENOMEM, "exceptions to the guard");
    r = enforce_exceptions_parse(text, list, err);
    if (r < 0)
        return r;
    if (same(list, &a->exceptions))
        return 0;
    r = put(a, list, err);
    if (r < 0)
        return r;
    keep(a, text);
    return 1;
}

uint64_t exceptions_for(const struct agent *a, const char *ns, const char *account,
                        const char *asked)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < a->exceptions.n; i++) {
        if (enforce_exception_holds(&a->exceptions.list[i], ns, account, asked))
            mask |= enforce_exception_bit(i);
    }
    return mask;
}

uint64_t exceptions_of(const struct agent *a, const char *ns, const json_t *pod)
{
    return exceptions_for(a, ns, get_string(get(pod, "spec"), "serviceAccountName", "default"),
                          json_string_value(json_object_get(get(pod, "metadata.annotations"),
                                                            EXCEPTIONS_ANNOTATION)));
}
