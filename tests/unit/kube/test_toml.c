#include "agent/node/toml.h"

#include <criterion/criterion.h>
#include <string.h>

Test(toml, version)
{
    cr_assert_eq(toml_version("version = 2\n"), 2);
    cr_assert_eq(toml_version("# version = 1\n  version=3\n[a]\n"), 3);
    cr_assert_eq(toml_version("[a]\nversion = 2\n"), 0);
    cr_assert_eq(toml_version(""), 0);
}

Test(toml, a_block_is_taken_out_to_the_byte)
{
    static const char *const texts[] = {
        "", "\n", "a = 1\n", "a = 1", "a = 1\n\n", "[x]\r\nb = 2", "# BEGIN berm, but not ours\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct buf put = BUF_INIT, twice = BUF_INIT, out = BUF_INIT;
        bool created;

        cr_assert_eq(toml_block_put(texts[i], "[ours]\nx = 1\n", &put), 0);
        cr_assert(toml_has_block(put.data) && !toml_has_block(texts[i]));
        cr_assert_eq(toml_block_put(put.data, "[ours]\nx = 2\n", &twice), 0);
        cr_assert_null(strstr(twice.data, "x = 1"));
        cr_assert_eq(toml_block_remove(twice.data, &out, &created), 0);
        cr_assert_str_eq(out.data ? out.data : "", texts[i]);
        cr_assert(!created);
        buf_fini(&put);
        buf_fini(&twice);
        buf_fini(&out);
    }
}

Test(toml, a_file_that_was_made_is_told_of_also_after_a_change)
{
    struct buf put = BUF_INIT, twice = BUF_INIT, out = BUF_INIT;
    bool created;

    cr_assert_eq(toml_block_put(NULL, "version = 2\n", &put), 0);
    cr_assert_eq(toml_block_put(put.data, "version = 3\n", &twice), 0);
    cr_assert_eq(toml_block_remove(twice.data, &out, &created), 0);
    cr_assert(created);
    buf_fini(&out);
    /* Somebody wrote into it: it is theirs, then. */
    cr_assert_eq(buf_puts(&twice, "[x]\n"), 0);
    cr_assert_eq(toml_block_remove(twice.data, &out, &created), 0);
    cr_assert(!created);
    cr_assert_str_eq(out.data, "[x]\n");
    buf_fini(&put);
    buf_fini(&twice);
    buf_fini(&out);
}

#define DUMP                                                                                       \
    "imports = ['/etc/a/*.toml', \"/b.toml\"]\nversion = 3\n\n"                                    \
    "[plugins]\n  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n"             \
    "    runtime_type = 'x'\n"                                                                     \
    "    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n"              \
    "      SystemdCgroup = true\n"                                                                 \
    "  [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.berm]\n    a = 'b c'\n"       \
    "  [other]\n    a = 'd'\n"

Test(toml, dumps)
{
    struct buf b = BUF_INIT;
    json_t *list = toml_handlers(DUMP), *imports = toml_imports(DUMP);
    char value[32];

    cr_assert_eq(json_array_size(list), 2);
    cr_assert_str_eq(json_string_value(json_array_get(list, 0)), "runc");
    cr_assert_str_eq(json_string_value(json_array_get(list, 1)), "berm");
    cr_assert_eq(json_array_size(imports), 2);
    cr_assert_str_eq(json_string_value(json_array_get(imports, 0)), "/etc/a/*.toml");
    cr_assert_str_eq(json_string_value(json_array_get(imports, 1)), "/b.toml");
    cr_assert(toml_handler_value(DUMP, "runc", "SystemdCgroup", value, sizeof(value)));
    cr_assert_str_eq(value, "true");
    cr_assert(toml_handler_value(DUMP, "berm", "a", value, sizeof(value)));
    cr_assert_str_eq(value, "b c");
    cr_assert(!toml_handler_value(DUMP, "berm", "SystemdCgroup", value, sizeof(value)));
    cr_assert_eq(toml_without_handler(DUMP, "berm", &b), 0);
    cr_assert_null(strstr(b.data, "b c"));
    cr_assert_not_null(strstr(b.data, "a = 'd'"));
    cr_assert_null(strstr(b.data, "imports"));
    json_decref(list);
    json_decref(imports);
    buf_fini(&b);
}

Test(toml, hostile_headers)
{
    static const char *const bad[] = {
        "[",  "[a",   "[a.",     "['a",           "[\"a\".",   "[a.b.c.d.e.f.g.h.i.j.k.l.m.n]",
        "[]", "[.a]", "version", "imports = ['a", "imports = "};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_decref(toml_handlers(bad[i]));
        json_decref(toml_imports(bad[i]));
        (void)toml_version(bad[i]);
    }
}
