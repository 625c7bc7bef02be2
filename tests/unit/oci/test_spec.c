/* config.json as containerd writes it, and as nobody should. Run from the repository's root. */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/oci/spec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>

Test(spec, real_bundles_parse)
{
    glob_t g;

    cr_assert_eq(glob("tests/unit/oci/data/c*.json", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        CLEANUP(free_ptr) char *text = NULL;
        struct error err = ERROR_INIT;
        struct oci_spec spec;
        size_t size;

        cr_assert_eq(file_read_all(AT_FDCWD, g.gl_pathv[i], 1 << 20, &text, &size, &err), 0);
        cr_assert_eq(oci_spec_parse(text, size, "config.json", &spec, &err), 0, "%s: %s",
                     g.gl_pathv[i], err.msg);
        cr_expect(spec.has_process && spec.mounts.count > 3);
        cr_expect_eq(!!strstr(g.gl_pathv[i], "-container-"), !!oci_sandbox_id(&spec));
        oci_spec_free(&spec);
    }
    globfree(&g);
}

Test(spec, real_process_and_update_parse)
{
    struct error err = ERROR_INIT;
    struct oci_process p;
    struct oci_resources res;
    json_t *j = json_load_file("tests/unit/oci/data/runc-exec-010444.877964363.json", 0, NULL);

    cr_assert_eq(oci_process_read(j, "process.json", &p, &err), 0, "%s", err.msg);
    cr_expect_gt(p.args.count, 0);
    oci_process_free(&p);
    json_decref(j);
    j = json_load_file("tests/unit/oci/data/runc-update-010447.136888928.json", 0, NULL);
    cr_assert_eq(oci_resources_read(j, "resources", &res, &err), 0, "%s", err.msg);
    cr_expect(res.memory.has_limit && res.cpu.has_quota);
    json_decref(j);
}

#define PROCESS "\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\"}"
#define ROOT    "\"root\":{\"path\":\"rootfs\"}"
static const struct {
    const char *text, *message;
} bad[] = {
    {"", "config.json: line"},
    {"{\"ociVersion\":\"1.0\"", "config.json: line"},
    {"[]", "config.json: must be an object"},
    {"{" ROOT "," PROCESS "}", "config.json: ociVersion: is missing"},
    {"{\"ociVersion\":\"2.0\"," ROOT "}", "config.json: ociVersion: '2.0' is not supported"},
    {"{\"ociVersion\":\"1.0.0\"}", "config.json: root: is missing"},
    {"{\"ociVersion\":\"1.0.0\",\"root\":{}}", "config.json: root.path: is missing"},
    {"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"../..\"}}",
     "config.json: root.path: must not contain \"..\""},
    {"{\"ociVersion\":\"1.0.0\"," ROOT ",\"process\":{\"args\":[1],\"cwd\":\"/\"}}",
     "config.json: process.args[0]: must be a string"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT ",\"process\":{\"args\":[],\"cwd\":\"/\"}}",
     "config.json: process.args: is empty"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT ",\"process\":{\"args\":[\"a\"],\"cwd\":\"x\"}}",
     "config.json: process.cwd: must be an absolute path"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT
     ",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":{\"uid\":-1}}}",
     "config.json: process.user.uid: must be from 0 to 4294967294"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT "," PROCESS ",\"mounts\":[{\"destination\":\"/a/../..\"}]}",
     "config.json: mounts[0].destination: must not contain \"..\""},
    {"{\"ociVersion\":\"1.0.0\"," ROOT "," PROCESS
     ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\"}]}",
     "config.json: mounts[0].source: is missing"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT "," PROCESS
     ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}",
     "config.json: linux.namespaces[1].type: 'pid' is there twice"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT "," PROCESS
     ",\"linux\":{\"namespaces\":[{\"type\":\"x\"}]}}",
     "config.json: linux.namespaces[0].type: unknown namespace 'x'"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT "," PROCESS ",\"annotations\":{\"a\":1}}",
     "config.json: annotations[\"a\"]: must be a string"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT "," PROCESS
     ",\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","
     "\"io.kubernetes.cri.sandbox-id\":\"../x\"}}",
     "config.json: annotations: sandbox id '../x'"},
    {"{\"ociVersion\":\"1.0.0\"," ROOT ",\"process\":{\"args\":[\"a\\u0000b\"],\"cwd\":\"/\"}}",
     "config.json: line"},
};

Test(spec, errors_name_file_and_member)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        struct oci_spec spec;

        cr_expect_eq(oci_spec_parse(bad[i].text, strlen(bad[i].text), "config.json", &spec, &err),
                     -EINVAL, "%s", bad[i].text);
        cr_expect(strncmp(err.msg, bad[i].message, strlen(bad[i].message)) == 0, "%s\n  not: %s",
                  err.msg, bad[i].message);
    }
}

Test(spec, unknown_members_and_null_are_tolerated)
{
    static const char text[] = "{\"ociVersion\":\"1.2.0\"," ROOT ",\"new\":[1],\"mounts\":null,"
                               "\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"x\":{}}}";
    struct error err = ERROR_INIT;
    struct oci_spec spec;

    cr_assert_eq(oci_spec_parse(text, strlen(text), "f", &spec, &err), 0, "%s", err.msg);
    cr_expect_eq(spec.ns[NS_NETWORK], -1);
    oci_spec_free(&spec);
}

Test(spec, ids)
{
    struct error err;

    cr_expect_eq(oci_id_check("a.b-C_1+", &err), 0);
    cr_expect_lt(oci_id_check("", &err), 0);
    cr_expect_lt(oci_id_check("..", &err), 0);
    cr_expect_lt(oci_id_check("a/b", &err), 0);
}
