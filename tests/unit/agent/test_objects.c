#include "agent/objects.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static int g_applied, g_removed, g_result;

static int apply(void *ctx, const struct object *object, struct schema_error *e)
{
    (void)ctx;
    (void)object;
    (void)e;
    g_applied++;
    return g_result;
}

static void removed(void *ctx, const struct object *object)
{
    (void)ctx;
    (void)object;
    g_removed++;
}

static json_t *config_map(const char *ns, const char *name, const char *value)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s?}, s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
                     "metadata", "name", name, "namespace", ns, "data", "k", value);
}

static int put(struct objects *o, json_t *json)
{
    struct schema_error e = {.err = ERROR_INIT};
    int r = objects_apply(o, json, &e);

    json_decref(json);
    return r;
}

Test(objects, life)
{
    struct objects o;
    const struct object *have;

    objects_init(&o);
    o.sink[OBJECT_CONFIG_MAP] = (struct object_sink){.apply = apply, .remove = removed};
    cr_assert_eq(put(&o, config_map("a", "x", "1")), 0);
    cr_assert_eq(put(&o, config_map("a", "x", "1")), 0);
    cr_expect_eq(g_applied, 1, "an equal object is no change");
    cr_assert_eq(put(&o, config_map("a", "x", "2")), 0);
    cr_expect_eq(o.count[OBJECT_CONFIG_MAP], 1);
    g_result = -EINVAL;
    cr_expect_lt(put(&o, config_map("a", "x", "3")), 0);
    have = objects_get(&o, OBJECT_CONFIG_MAP, "a", "x");
    cr_assert(have);
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(have->json, "data"), "k")),
                     "2", "a refused object leaves the earlier one");
    cr_expect_null(objects_get(&o, OBJECT_SECRET, "a", "x"));
    cr_expect(objects_delete(&o, OBJECT_CONFIG_MAP, "a", "x"));
    cr_expect_not(objects_delete(&o, OBJECT_CONFIG_MAP, "a", "x"));
    cr_expect_eq(g_removed, 1);
    objects_fini(&o);
}

Test(objects, identify)
{
    struct schema_error e = {.err = ERROR_INIT};
    const char *ns, *name;
    enum object_kind kind;
    json_t *json = config_map(NULL, "x", "1");

    json_object_del(json_object_get(json, "metadata"), "namespace");
    cr_assert_eq(object_identify(json, &kind, &ns, &name, &e), 0);
    cr_expect_str_eq(ns, "default");
    json_decref(json);
    json = config_map("../x", "x", "1");
    cr_expect_lt(object_identify(json, &kind, &ns, &name, &e), 0);
    cr_expect_str_eq(e.path, "metadata.namespace");
    json_decref(json);
}
