#include "agent/json.h"

#include <stdio.h>
#include <string.h>

json_t *get(const json_t *o, const char *path)
{
    char key[64];

    while (o && *path) {
        size_t n = strcspn(path, ".");

        (void)snprintf(key, sizeof(key), "%.*s", (int)n, path);
        o = json_object_get(o, key);
        path += n + (path[n] == '.');
    }
    return json_is_null(o) ? NULL : (json_t *)(uintptr_t)o;
}

const char *get_string(const json_t *o, const char *path, const char *def)
{
    const char *s = json_string_value(get(o, path));

    return s ? s : def;
}

int64_t get_int(const json_t *o, const char *path, int64_t def)
{
    const json_t *v = get(o, path);

    return json_is_integer(v) ? json_integer_value(v) : def;
}

bool get_bool(const json_t *o, const char *path, bool def)
{
    const json_t *v = get(o, path);

    return json_is_boolean(v) ? json_is_true(v) : def;
}
