/* JSON to structures (container_spec.h). The request comes from `berm create` and was validated
 * there; what is missing or of another type is refused all the same. */
#include "runtime/sentry/container_spec.h"

#include "runtime/sentry/sentry.h"
#include "runtime/sentry/task/container_caps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_strings(const json_t *array, struct exec_strings *s, const char *name,
                       struct error *err)
{
    size_t i;
    json_t *v;

    if (array && !json_is_array(array))
        return error_set(err, -EINVAL, "process.%s: not a list", name);
    json_array_foreach((json_t *)(uintptr_t)array, i, v)
    {
        int r = json_is_string(v) ? exec_strings_add(s, json_string_value(v)) : -EINVAL;

        if (r < 0)
            return error_errno(err, r, "process.%s[%zu]", name, i);
    }
    return 0;
}

static uint32_t number(const json_t *o, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(o, key));
}

static int parse_user(const json_t *user, struct process_spec *p)
{
    const json_t *groups = json_object_get(user, "additionalGids");
    const json_t *mask = json_object_get(user, "umask");

    p->uid = number(user, "uid");
    p->gid = number(user, "gid");
    p->umask = mask ? (uint32_t)json_integer_value(mask) & 0777 : 022;
    p->n_groups = (unsigned)json_array_size(groups);
    if (!p->n_groups)
        return 0;
    p->groups = calloc(p->n_groups, sizeof(*p->groups));
    if (!p->groups)
        return -ENOMEM;
    for (unsigned i = 0; i < p->n_groups; i++)
        p->groups[i] = (uint32_t)json_integer_value(json_array_get(groups, i));
    return 0;
}

capset_t capabilities_withheld(void)
{
    return g_sentry.boot && g_sentry.boot->net_raw ? 0 : CAP_BIT(CAP_NET_RAW);
}

static capset_t capability_set(const json_t *caps, const char *which)
{
    const json_t *list = json_object_get(caps, which);
    capset_t set = 0;
    size_t i;
    json_t *v;

    json_array_foreach((json_t *)(uintptr_t)list, i, v)
    {
        int cap = json_is_string(v) ? capability_by_name(json_string_value(v)) : -1;

        if (cap >= 0)
            set |= CAP_BIT(cap);
    }
    return set & ~capabilities_withheld();
}

static int parse_rlimits(const json_t *list, struct process_spec *p, struct error *err)
{
    size_t i;
    json_t *v;

    json_array_foreach((json_t *)(uintptr_t)list, i, v)
    {
        const char *name = json_string_value(json_object_get(v, "type"));
        int which = name ? rlimit_by_name(name) : -1;

        if (which < 0)
            return error_set(err, -EINVAL, "process.rlimits[%zu].type: '%.40s' is not known", i,
                             name ? name : "");
        p->rlimits[which].rlim_cur = (rlim_t)json_integer_value(json_object_get(v, "soft"));
        p->rlimits[which].rlim_max = (rlim_t)json_integer_value(json_object_get(v, "hard"));
        if (p->rlimits[which].rlim_cur > p->rlimits[which].rlim_max)
            return error_set(err, -EINVAL, "process.rlimits[%zu]: soft is above hard", i);
    }
    return 0;
}

int process_spec_parse(const json_t *json, struct process_spec *ret, struct error *err)
{
    const json_t *caps = json_object_get(json, "capabilities");
    const char *cwd = json_string_value(json_object_get(json, "cwd"));
    int r;

    memset(ret, 0, sizeof(*ret));
    rlimits_default(ret->rlimits);
    if (!json_is_object(json))
        return error_set(err, -EINVAL, "process: not an object");
    r = add_strings(json_object_get(json, "args"), &ret->argv, "args", err);
    if (r == 0)
        r = add_strings(json_object_get(json, "env"), &ret->envp, "env", err);
    if (r == 0 && !ret->argv.n)
        r = error_set(err, -EINVAL, "process.args: empty");
    if (r == 0 && parse_user(json_object_get(json, "user"), ret) < 0)
        r = error_errno(err, -ENOMEM, "process.user");
    if (r < 0) {
        process_spec_fini(ret);
        return r;
    }
    ret->cwd = strdup(cwd ? cwd : "/");
    ret->bounding = capability_set(caps, "bounding");
    ret->effective = capability_set(caps, "effective");
    ret->permitted = capability_set(caps, "permitted");
    ret->inheritable = capability_set(caps, "inheritable");
    ret->ambient = capability_set(caps, "ambient");
    ret->no_new_privileges = json_is_true(json_object_get(json, "noNewPrivileges"));
    ret->oom_score_adj = (int)json_integer_value(json_object_get(json, "oomScoreAdj"));
    r = parse_rlimits(json_object_get(json, "rlimits"), ret, err);
    if (r < 0)
        process_spec_fini(ret);
    return r;
}

void process_spec_fini(struct process_spec *p)
{
    exec_strings_fini(&p->argv);
    exec_strings_fini(&p->envp);
    free(p->cwd);
    free(p->groups);
    p->cwd = NULL;
    p->groups = NULL;
}

struct cred *process_spec_cred(const struct process_spec *p)
{
    struct cred *c = cred_new();

    if (!c)
        return NULL;
    c->uid = c->euid = c->suid = c->fsuid = p->uid;
    c->gid = c->egid = c->sgid = c->fsgid = p->gid;
    c->bounding = p->bounding;
    c->inheritable = p->inheritable;
    c->permitted = p->permitted;
    c->effective = p->effective & p->permitted;
    c->ambient = p->ambient & p->permitted & p->inheritable;
    if (p->n_groups) {
        c->groups = malloc(p->n_groups * sizeof(*c->groups));
        if (!c->groups) {
            cred_put(c);
            return NULL;
        }
        memcpy(c->groups, p->groups, p->n_groups * sizeof(*c->groups));
        c->n_groups = p->n_groups;
        cred_sort_groups(c);
    }
    return c;
}

/* ---- mounts
 * -----------------------------------------------------------------------------------------------
 */

static const char **string_list(const json_t *list)
{
    size_t n = json_array_size(list), at = 0;
    const char **out = n ? calloc(n + 1, sizeof(*out)) : NULL;

    for (size_t i = 0; out && i < n; i++) {
        const char *s = json_string_value(json_array_get(list, i));

        if (s)
            out[at++] = s;
    }
    return out;
}

/* "options" is a list of strings; the vfs wants them with commas. The text is kept in the request
 * itself. */
static const char *join_options(json_t *mount)
{
    json_t *list = json_object_get(mount, "options"), *joined;
    char text[1024];
    size_t at = 0, i;
    json_t *v;

    if (json_is_string(list))
        return json_string_value(list);
    text[0] = 0;
    json_array_foreach(list, i, v)
    {
        const char *s = json_string_value(v);
        size_t n = s ? strlen(s) : 0;

        if (!n || at + n + 2 > sizeof(text))
            continue;
        if (at)
            text[at++] = ',';
        memcpy(text + at, s, n + 1);
        at += n;
    }
    joined = json_string(text);
    (void)json_object_set_new(mount, "options", joined);
    return joined ? json_string_value(joined) : NULL;
}

static int parse_mount(json_t *json, struct mount_spec *m)
{
    m->destination = json_string_value(json_object_get(json, "destination"));
    m->type = json_string_value(json_object_get(json, "type"));
    m->source = json_string_value(json_object_get(json, "source"));
    m->options = join_options(json);
    m->gofer_mount = number(json, "gofer");
    m->readonly = json_is_true(json_object_get(json, "readonly"));
    m->exclusive = json_is_true(json_object_get(json, "exclusive"));
    m->file = json_is_true(json_object_get(json, "file"));
    return m->destination && m->type ? 0 : -EINVAL;
}

int tree_spec_parse(const json_t *request, struct tree_spec *ret, struct error *err)
{
    const json_t *mounts = json_object_get(request, "mounts"),
                 *spec = json_object_get(request, "spec");
    const json_t *lx = json_object_get(spec, "linux");
    size_t n = json_array_size(mounts);
    struct mount_spec *out = calloc(n + 1, sizeof(*out));

    memset(ret, 0, sizeof(*ret));
    if (!out)
        return error_errno(err, -ENOMEM, "mounts");
    for (size_t i = 0; i < n; i++)
        if (parse_mount(json_array_get(mounts, i), &out[i]) < 0) {
            free(out);
            return error_set(err, -EINVAL, "mounts[%zu]: destination or type is missing", i);
        }
    ret->mounts = out;
    ret->n_mounts = (unsigned)n;
    ret->root_readonly = json_is_true(json_object_get(request, "rootReadonly"));
    ret->scratch = json_is_true(json_object_get(request, "scratch"));
    ret->upper_limit = (uint64_t)json_integer_value(json_object_get(request, "upperLimit"));
    ret->root_overlay = json_is_true(json_object_get(request, "rootOverlay"));
    ret->masked = string_list(json_object_get(lx, "maskedPaths"));
    ret->readonly = string_list(json_object_get(lx, "readonlyPaths"));
    return 0;
}

void tree_spec_fini(struct tree_spec *t)
{
    free((void *)(uintptr_t)t->mounts);
    free((void *)(uintptr_t)t->masked);
    free((void *)(uintptr_t)t->readonly);
    memset(t, 0, sizeof(*t));
}
