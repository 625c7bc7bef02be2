#include "agent/kube/stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

struct seen {
    char names[256];
    int fail_at;
};

static int note(void *ctx, const json_t *object, struct error *err)
{
    struct seen *s = ctx;
    const char *name = json_string_value(json_object_get(object, "n"));

    if (name)
        strncat(s->names, name, sizeof(s->names) - strlen(s->names) - 1);
    if (s->fail_at && --s->fail_at == 0)
        return error_set(err, -ECANCELED, "enough");
    return 0;
}

/* Feeds text in pieces of every size from 1 to 7, and whole; all must agree. */
static int run(const char *text, bool list, size_t max, char ret_names[256], json_t **ret_envelope)
{
    int result = 1;

    for (size_t piece = 0; piece < 8; piece++) {
        struct seen seen = {{0}, 0};
        struct stream s;
        struct error err = ERROR_INIT;
        size_t n = strlen(text);
        json_t *envelope = NULL;
        int r = 0;

        stream_init(&s, list, max, note, &seen);
        for (size_t at = 0; at < n && r == 0; at += piece ? piece : n)
            r = stream_feed(&s, text + at, piece && at + piece < n ? piece : n - at, &err);
        if (r == 0)
            r = stream_end(&s, &envelope, &err);
        stream_fini(&s);
        cr_assert(result == 1 || result == r, "pieces of %zu: %d, not %d: %s", piece, r, result,
                  err.msg);
        cr_assert(piece == 0 || strcmp(ret_names, seen.names) == 0, "pieces of %zu: '%s' '%s'",
                  piece, ret_names, seen.names);
        result = r;
        strcpy(ret_names, seen.names);
        if (ret_envelope && piece == 7)
            *ret_envelope = envelope;
        else
            json_decref(envelope);
    }
    return result;
}

Test(stream, events)
{
    char names[256];

    cr_assert_eq(
        run("{\"n\":\"a\"}\n{\"n\":\"b\",\"x\":[{},{\"y\":\"}{\\\"][\"}]}{\"n\":\"c\"}\r\n ", false,
            4096, names, NULL),
        0);
    cr_assert_str_eq(names, "abc");
    cr_assert_eq(run("", false, 4096, names, NULL), 0);
    /* NUL in a string is no reason to stop. */
    cr_assert_eq(run("{\"n\":\"a\",\"m\":\"\\u0000\"}", false, 4096, names, NULL), 0);
}

Test(stream, bad_events)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"{\"n\":\"a\"", -EBADMSG},
        {"{\"n\":\"a", -EBADMSG},
        {"}", -EBADMSG},
        {"[{}]", -EBADMSG},
        {"x", -EBADMSG},
        {"{\"n\":\"a\"}x", -EBADMSG},
        {"{]}", -EBADMSG},
        {"{\"a\":1,,}", -EBADMSG},
        {"\"n\"", -EBADMSG},
        {"{\"n\":\"0123456789012345678901234567890123456789\"}", -EMSGSIZE},
    };
    char names[256];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_eq(run(cases[i].text, false, 40, names, NULL), cases[i].code, "%s",
                     cases[i].text);
}

Test(stream, list)
{
    char names[256];
    json_t *envelope = NULL;

    cr_assert_eq(run("{\"kind\":\"items\",\"a\":{\"items\":[{\"n\":\"no\"}]},\"metadata\":{"
                     "\"resourceVersion\":"
                     "\"7\"}, \"items\" : [ {\"n\":\"a\"} , "
                     "{\"n\":\"b\",\"items\":[{\"n\":\"no\"}]}\n],\"z\":[1]}",
                     true, 4096, names, &envelope),
                 0);
    cr_assert_str_eq(names, "ab");
    cr_assert_eq(json_array_size(json_object_get(envelope, "items")), 0);
    cr_assert_eq(json_array_size(json_object_get(envelope, "z")), 1);
    cr_assert_str_eq(json_string_value(
                         json_object_get(json_object_get(envelope, "metadata"), "resourceVersion")),
                     "7");
    json_decref(envelope);
}

Test(stream, empty_lists)
{
    static const char *const good[] = {"{\"items\":[]}", "{\"items\":null}", "{}",
                                       "{\"items\":{\"n\":\"x\"}}"};
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"items\":[1]}",
                                      "{\"items\":[[{}]]}",
                                      "{\"items\":[{}",
                                      "{\"items\":[]}{}",
                                      "{\"items\":[\"x\"]}"};
    char names[256];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(run(good[i], true, 4096, names, NULL), 0, "%s", good[i]);
        cr_assert_str_eq(names, "");
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_lt(run(bad[i], true, 4096, names, NULL), 0, "%s", bad[i]);
}

Test(stream, depth)
{
    char text[STREAM_DEPTH_MAX * 8] = "", names[256];

    for (int i = 0; i < STREAM_DEPTH_MAX + 1; i++)
        strcat(text, "{\"a\":");
    cr_assert_eq(run(text, false, sizeof(text), names, NULL), -EBADMSG);
}

Test(stream, callers_error_ends_it)
{
    struct seen seen = {{0}, 2};
    struct stream s;
    struct error err = ERROR_INIT;
    static const char text[] = "{\"n\":\"a\"}{\"n\":\"b\"}{\"n\":\"c\"}";

    stream_init(&s, false, 100, note, &seen);
    cr_assert_eq(stream_feed(&s, text, sizeof(text) - 1, &err), -ECANCELED);
    cr_assert_str_eq(seen.names, "ab");
    stream_fini(&s);
}
