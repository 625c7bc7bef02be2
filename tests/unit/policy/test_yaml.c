/* YAML as JSON trees: scalars, documents, lines, and what hostile input gets. */
#include "common/yaml.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int load(const char *text, struct yaml_doc **docs, size_t *n, struct error *err)
{
    return yaml_load_all(text, strlen(text), "t.yaml", docs, n, err);
}

Test(yaml, core_schema)
{
    static const struct {
        const char *yaml, *json;
    } table[] = {
        {"null", "null"},
        {"~", "null"},
        {"true", "true"},
        {"False", "false"},
        {"yes", "\"yes\""},
        {"12", "12"},
        {"-3", "-3"},
        {"+4", "4"},
        {"0x1f", "31"},
        {"0o17", "15"},
        {"0644", "420"},
        {"089", "89"},
        {"1.5", "1.5"},
        {".5", "0.5"},
        {"1e2", "100.0"},
        {"1.2.3", "\"1.2.3\""},
        {"10.0.0.1", "\"10.0.0.1\""},
        {"'5'", "\"5\""},
        {"\"true\"", "\"true\""},
        {"!!str 5", "\"5\""},
        {"!!int 5", "5"},
        {".inf", "\".inf\""},
        {"-", "[null]"},
        {"1_000", "\"1_000\""},
        {"0x", "\"0x\""},
        {"[]", "[]"},
        {"{a: }", "{\"a\":null}"},
        {"99999999999999999999", "1e20"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct error err = ERROR_INIT;
        struct yaml_doc *docs;
        size_t n;
        json_t *expected = json_loads(table[i].json, JSON_DECODE_ANY, NULL);

        cr_assert_eq(load(table[i].yaml, &docs, &n, &err), 0, "%s: %s", table[i].yaml, err.msg);
        cr_assert_eq(n, 1);
        cr_expect(json_equal(docs[0].root, expected), "%s", table[i].yaml);
        json_decref(expected);
        yaml_docs_free(docs, n);
    }
}

Test(yaml, documents_and_lines)
{
    static const char text[] =
        "# none\n---\na: 1\nb:\n- x: 1\n- y:\n    z: 2\n---\n---\nc: 3\n...\n";
    struct error err = ERROR_INIT;
    struct yaml_doc *docs;
    size_t n;

    cr_assert_eq(load(text, &docs, &n, &err), 0, "%s", err.msg);
    cr_assert_eq(n, 2);
    cr_expect_eq(docs[0].line, 3);
    cr_expect_eq(yaml_doc_line(&docs[0], "a"), 3);
    cr_expect_eq(yaml_doc_line(&docs[0], "b[1].y.z"), 7);
    cr_expect_eq(yaml_doc_line(&docs[0], "b[1].y.missing.too"), 6);
    cr_expect_eq(yaml_doc_line(&docs[0], "nothing"), 3);
    cr_expect_eq(yaml_doc_line(&docs[0], ""), 3);
    cr_expect_eq(yaml_doc_line(&docs[1], "c"), 10);
    yaml_docs_free(docs, n);
    cr_assert_eq(load("", &docs, &n, &err), 0);
    cr_expect_eq(n, 0);
    yaml_docs_free(docs, n);
}

Test(yaml, refused)
{
    static const struct {
        const char *yaml, *message;
        int code;
    } table[] = {
        {"a: &a [*a]", "t.yaml:1: a[0]: alias to the node that it lies in", -EINVAL},
        {"a: &a {b: *a}", "t.yaml:1: a.b: alias to the node that it lies in", -EINVAL},
        {"a: *nobody", "t.yaml:1: a: alias to an unknown anchor", -EINVAL},
        {"x: 1\ny: 2\nx: 3", "t.yaml:3: x: duplicate key", -EINVAL},
        {"? [a]\n: b", "t.yaml:1: a key must be a string", -EINVAL},
        {"<<: {a: 1}", "t.yaml:1: merge keys are not supported", -EINVAL},
        {"a: !x y", "t.yaml:1: a: unknown tag", -EINVAL},
        {"a: !!int x", "t.yaml:1: a: value does not fit its tag", -EINVAL},
        {"a: \"\\0\"", "t.yaml:1: a: NUL character in a scalar", -EINVAL},
        {"a: [1", "t.yaml:", -EINVAL},
        {"a: b: c", "t.yaml:1:", -EINVAL},
        {"\t- x", "t.yaml:1:", -EINVAL},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct error err = ERROR_INIT;
        struct yaml_doc *docs;
        size_t n;

        cr_expect_eq(load(table[i].yaml, &docs, &n, &err), table[i].code, "%s", table[i].yaml);
        cr_expect(strncmp(err.msg, table[i].message, strlen(table[i].message)) == 0, "%s: %s",
                  table[i].yaml, err.msg);
    }
}

Test(yaml, limits)
{
    struct error err = ERROR_INIT;
    struct yaml_doc *docs;
    char *text = malloc(YAML_LINE_MAX + 100);
    size_t n;

    memset(text, '[', 70);
    cr_expect_eq(yaml_load_all(text, 70, "t", &docs, &n, &err), -E2BIG);
    memset(text, 'a', YAML_LINE_MAX + 10);
    cr_expect_eq(yaml_load_all(text, YAML_LINE_MAX + 10, "t", &docs, &n, &err), -E2BIG);
    cr_assert_eq(yaml_load_all(text, YAML_LINE_MAX, "t", &docs, &n, &err), 0, "%s", err.msg);
    yaml_docs_free(docs, n);
    free(text);
}
