#include "agent/standalone/env.h"

#include "agent/config.h"
#include "agent/standalone/files.h"
#include "agent/standalone/podspec.h"
#include "agent/standalone/runner.h"
#include "agent/standalone/source_value.h"
#include "common/buf.h"
#include "common/cleanup.h"

#include <errno.h>
#include <string.h>

enum { EXPANDED_MAX = 1 << 20 };

static const char *env_value(const json_t *env, const char *name, size_t size)
{
    for (size_t i = json_array_size(env); i-- > 0;) {
        const char *s = json_string_value(json_array_get(env, i));

        if (s && strncmp(s, name, size) == 0 && s[size] == '=')
            return s + size + 1;
    }
    return NULL;
}

json_t *env_expand(const char *text, const json_t *env)
{
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    int r = 0;

    while (*text && r == 0 && b.size < EXPANDED_MAX) {
        size_t plain = strcspn(text, "$"), name;
        const char *value;

        r = buf_append(&b, text, plain);
        text += plain;
        if (!*text || r < 0)
            break;
        if (text[1] == '$') {
            r = buf_append(&b, "$", 1);
            text += 2;
            continue;
        }
        name = text[1] == '(' ? strcspn(text + 2, ")") : 0;
        value = name && text[2 + name] == ')' ? env_value(env, text + 2, name) : NULL;
        if (value) {
            r = buf_puts(&b, value);
            text += name + 3;
        } else {
            r = buf_append(&b, text++, 1);
        }
    }
    return r < 0 ? NULL : json_stringn(b.data ? b.data : "", b.size);
}

/* Later entries replace earlier ones of the same name. */
static int put(json_t *env, const char *name, const char *value)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < json_array_size(env); i++)
        if (strncmp(json_string_value(json_array_get(env, i)), name, n) == 0 &&
            json_string_value(json_array_get(env, i))[n] == '=')
            return json_array_set_new(env, i, json_sprintf("%s=%s", name, value)) < 0 ? -ENOMEM : 0;
    return json_array_append_new(env, json_sprintf("%s=%s", name, value)) < 0 ? -ENOMEM : 0;
}

/* metadata.labels['key'] and the like: the value, NULL if it has none. */
static const char *keyed_field(const struct pod *p, const char *path, const char *prefix)
{
    const char *member = prefix + strlen("metadata."), *key = path + strlen(prefix);
    const json_t *map = json_object_get(json_object_get(p->manifest, "metadata"), member);
    char name[320];
    size_t n;

    if (strncmp(key, "['", 2) != 0)
        return NULL;
    n = strcspn(key + 2, "'");
    text_format(name, sizeof(name), "%.*s", (int)n, key + 2);
    return json_string_value(json_object_get(map, name));
}

static const char *field_value(const struct pod *p, const char *path)
{
    static char both[80];

    if (strcmp(path, "metadata.name") == 0)
        return p->name;
    if (strcmp(path, "metadata.namespace") == 0)
        return p->ns;
    if (strcmp(path, "metadata.uid") == 0)
        return p->uid;
    if (strcmp(path, "status.podIP") == 0)
        return p->address.text4;
    if (strcmp(path, "spec.nodeName") == 0)
        return p->runner->config->node_name;
    if (strcmp(path, "spec.serviceAccountName") == 0)
        return get_string(p->manifest, path, "default");
    if (strcmp(path, "status.podIPs") == 0) {
        (void)snprintf(both, sizeof(both), "%s,%s", p->address.text4, p->address.text6);
        return both;
    }
    if (strncmp(path, "metadata.labels", 15) == 0)
        return keyed_field(p, path, "metadata.labels");
    if (strncmp(path, "metadata.annotations", 20) == 0)
        return keyed_field(p, path, "metadata.annotations");
    return NULL;
}

static int put_source(const struct pod *p, json_t *env, const char *name, const json_t *ref,
                      bool secret, struct error *err)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t size;
    int r = source_value(p, secret, get_string(ref, "name", ""), get_string(ref, "key", ""), &data,
                         &size, err);

    if (r == -ENOENT && get_bool(ref, "optional", false))
        return 0;
    if (r == 0 && strlen(data) != size)
        return error_set(err, -EINVAL, "env '%s': the value holds a NUL character", name);
    return r < 0 ? r : put(env, name, data);
}

static int put_var(const struct pod *p, json_t *env, const json_t *v, struct error *err)
{
    const char *name = get_string(v, "name", ""), *path, *value;
    const json_t *from = get(v, "valueFrom");
    json_t *expanded;
    int r;

    if (get(from, "configMapKeyRef"))
        return put_source(p, env, name, get(from, "configMapKeyRef"), false, err);
    if (get(from, "secretKeyRef"))
        return put_source(p, env, name, get(from, "secretKeyRef"), true, err);
    if (from) {
        path = get_string(from, "fieldRef.fieldPath", "");
        value = field_value(p, path);
        if (!value && strncmp(path, "metadata.", 9) != 0)
            return error_set(err, -EINVAL, "env '%s': fieldPath '%s' is not known", name, path);
        return put(env, name, value ? value : "");
    }
    expanded = env_expand(get_string(v, "value", ""), env);
    r = expanded ? put(env, name, json_string_value(expanded)) : -ENOMEM;
    json_decref(expanded);
    return r;
}

static int put_all(const struct pod *p, json_t *env, const json_t *from, struct error *err)
{
    const bool secret = get(from, "secretRef") != NULL;
    const json_t *ref = get(from, secret ? "secretRef" : "configMapRef"), *members[2];
    const char *name = get_string(ref, "name", ""), *key;
    const struct object *o =
        objects_get(p->runner->objects, secret ? OBJECT_SECRET : OBJECT_CONFIG_MAP, p->ns, name);
    json_t *v;

    if (!o)
        return get_bool(ref, "optional", false)
                   ? 0
                   : error_set(err, -ENOENT, "envFrom: %s '%s/%s' is not there",
                               secret ? "Secret" : "ConfigMap", p->ns, name);
    members[0] = get(o->json, "data");
    members[1] = get(o->json, "stringData");
    for (size_t i = 0; i < 2; i++)
        json_object_foreach((json_t *)(uintptr_t)members[i], key, v)
        {
            CLEANUP(free_ptr) char *data = NULL;
            char full[600];
            size_t size;
            int r = source_value(p, secret, name, key, &data, &size, err);

            text_format(full, sizeof(full), "%s%s", get_string(from, "prefix", ""), key);
            if (r == 0)
                r = put(env, full, data);
            if (r < 0)
                return r;
        }
    return 0;
}

static int put_image_env(json_t *env, const struct image *image)
{
    size_t i;
    json_t *v;
    int r = 0;

    if (!json_array_size(get(image->config, "Env")))
        r = put(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    json_array_foreach(get(image->config, "Env"), i,
                       v) if (r == 0 && json_is_string(v) && strchr(json_string_value(v), '=')) r =
        json_array_append(env, v) < 0 ? -ENOMEM : 0;
    return r;
}

int env_make(const struct container *c, const struct image *image, json_t **ret, struct error *err)
{
    json_t *env = json_array(), *v;
    size_t i;
    int r = env ? put_image_env(env, image) : -ENOMEM;

    if (r == 0)
        r = put(env, "HOSTNAME", pod_hostname(c->pod));
    json_array_foreach(get(c->spec, "envFrom"), i, v) if (r == 0) r = put_all(c->pod, env, v, err);
    json_array_foreach(get(c->spec, "env"), i, v) if (r == 0) r = put_var(c->pod, env, v, err);
    if (r < 0) {
        json_decref(env);
        return r == -ENOMEM ? error_errno(err, r, "environment") : r;
    }
    *ret = env;
    return 0;
}
