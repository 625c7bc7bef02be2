#include "agent/schema.h"
#include "agent/standalone/podspec.h"
#include "common/cleanup.h"

#include <criterion/criterion.h>

static const struct {
    const char *text;
    bool label, subdomain, key;
} names[] = {
    {"web", true, true, true},
    {"a-1", true, true, true},
    {"a.b", false, true, true},
    {"A", false, false, true},
    {"_x", false, false, true},
    {"-a", false, false, true},
    {"a-", false, false, true},
    {"", false, false, false},
    {".", false, false, false},
    {"..", false, false, false},
    {"..x", false, false, false},
    {"../etc", false, false, false},
    {"a/b", false, false, false},
    {"a..b", false, false, true},
    {"a b", false, false, false},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, false, true},
};

Test(schema, names)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        cr_expect_eq(name_is_label(names[i].text), names[i].label, "label '%s'", names[i].text);
        cr_expect_eq(name_is_subdomain(names[i].text), names[i].subdomain, "subdomain '%s'",
                     names[i].text);
        cr_expect_eq(name_is_key(names[i].text), names[i].key, "key '%s'", names[i].text);
    }
}

Test(schema, paths)
{
    cr_expect(path_is_clean("/"));
    cr_expect(path_is_clean("/a/..b/c.."));
    cr_expect_not(path_is_clean("a"));
    cr_expect_not(path_is_clean(""));
    cr_expect_not(path_is_clean("/.."));
    cr_expect_not(path_is_clean("/a/../b"));
    cr_expect_not(path_is_clean("/a/.."));
}

#define POD(spec)                                                                                  \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{" spec "}}"
#define ONE(fields) "\"containers\":[{\"name\":\"c\",\"image\":\"host:\"" fields "}]"

static const struct {
    const char *json, *path; /* path NULL: accepted */
} pods[] = {
    {POD(ONE("")), NULL},
    {POD(ONE(",\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"64Mi\"}}")), NULL},
    {POD(ONE(",\"livenessProbe\":null")), NULL},
    {POD(""), "spec.containers"},
    {POD("\"containers\":[]"), "spec.containers"},
    {POD("\"containers\":{}"), "spec.containers"},
    {POD("\"containers\":[1]"), "spec.containers[0]"},
    {POD(ONE(",\"command\":\"sh\"")), "spec.containers[0].command"},
    {POD(ONE(",\"command\":[1]")), "spec.containers[0].command[0]"},
    {POD(ONE(",\"livenessProbe\":{}")), "spec.containers[0].livenessProbe"},
    {POD(ONE(",\"surprise\":{}")), "spec.containers[0].surprise"},
    {POD(ONE(",\"resources\":{\"limits\":{\"cpu\":\"lots\"}}")),
     "spec.containers[0].resources.limits.cpu"},
    {POD(ONE(",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]")),
     "spec.containers[0].volumeMounts[0].name"},
    {POD(ONE(",\"env\":[{\"name\":\"A=B\"}]")), "spec.containers[0].env[0]"},
    {POD(ONE(",\"securityContext\":{\"runAsUser\":-1}")),
     "spec.containers[0].securityContext.runAsUser"},
    {POD(ONE(",\"securityContext\":{\"runAsUser\":1.5}")),
     "spec.containers[0].securityContext.runAsUser"},
    {POD(ONE("") ",\"restartPolicy\":\"Maybe\""), "spec.restartPolicy"},
    {POD(ONE("") ",\"runtimeClassName\":\"kata\""), "spec.runtimeClassName"},
    {POD(ONE("") ",\"volumes\":[{\"name\":\"v\"}]"), "spec.volumes[0]"},
    {POD(ONE("") ",\"volumes\":[{\"name\":\"v\",\"emptyDir\":{},\"hostPath\":{\"path\":\"/\"}}]"),
     "spec.volumes[0]"},
    {POD(ONE("") ",\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"c\",\"items\":[{\"key\":"
                 "\"k\",\"path\":\"../x\"}]}}]"),
     "spec.volumes[0]"},
    {POD("\"containers\":[{\"name\":\"c\",\"image\":\"dir:relative\"}]"),
     "spec.containers[0].image"},
    {POD("\"containers\":[{\"name\":\"c\",\"image\":\"host:\"},{\"name\":\"c\",\"image\":"
         "\"host:\"}]"),
     "spec.containers[1]"},
    {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"../p\"},\"spec\":{}}",
     "metadata.name"},
    {"[]", ""},
};

Test(schema, pods)
{
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        struct schema_error e = {.err = ERROR_INIT};
        json_t *json = json_loads(pods[i].json, 0, NULL);
        int r = podspec_check(json, &e);

        cr_assert(json, "case %zu", i);
        if (pods[i].path) {
            cr_expect_lt(r, 0, "case %zu was accepted", i);
            cr_expect_str_eq(e.path, pods[i].path, "case %zu: %s", i, e.err.msg);
        } else {
            cr_expect_eq(r, 0, "case %zu: %s: %s", i, e.path, e.err.msg);
        }
        json_decref(json);
    }
}

Test(schema, quantities)
{
    int64_t v;

    cr_expect(quantity_milli("500m", &v) && v == 500);
    cr_expect(quantity_milli("1.5", &v) && v == 1500);
    cr_expect(quantity_milli("64Mi", &v) && v == 64LL * 1048576 * 1000);
    cr_expect_not(quantity_milli("", &v));
    cr_expect_not(quantity_milli("-1", &v));
    cr_expect_not(quantity_milli("1Zi", &v));
    cr_expect_not(quantity_milli("1e300Ti", &v));
    cr_expect_not(quantity_milli("nan", &v));
}
