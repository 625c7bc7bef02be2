/* Where a container's control groups lie. */
#include "runtime/oci/cgroup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int path_of(const char *want, bool systemd, char *out, struct error *err)
{
    struct oci_spec spec = {.linux_ = {.cgroups_path = want}};
    static struct cgroup cg;
    int r = cgroup_init(&cg, &spec, "id", systemd, err);

    (void)strcpy(out, cg.path);
    return r;
}

Test(cgroup, paths)
{
    static const struct {
        const char *want, *path;
        bool systemd;
        int result;
    } cases[] = {
        {NULL, "", false, 0},
        {"/kubepods/burstable/podx/id", "/kubepods/burstable/podx/id", false, 0},
        {"relative/id/", "/relative/id", false, 0},
        {"/", "", false, 0},
        {"/a/../../b", "", false, -EINVAL},
        {"kubepods-burstable-podx.slice:cri-containerd:abc",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/"
         "cri-containerd-abc.scope",
         true, 0},
        {"system.slice:berm:a", "/system.slice/berm-a.scope", true, 0},
        {"-.slice:berm:a", "/berm-a.scope", true, 0},
        {"a/b.slice:berm:a", "", true, -EINVAL},
        {"a.slice:berm", "", true, -EINVAL},
        {"a:b:c", "", true, -EINVAL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = ERROR_INIT;
        char path[2048] = "";
        int r;

        if (cases[i].systemd && !strchr(cases[i].want + 1, ':'))
            continue;
        r = path_of(cases[i].want, cases[i].systemd, path, &err);
        cr_expect_eq(r, cases[i].result, "%s: %s", cases[i].want, err.msg);
        if (r == 0)
            cr_expect_str_eq(path, cases[i].path);
    }
}

Test(cgroup, limits_without_a_path_get_one)
{
    struct oci_spec spec = {.linux_ = {.resources = {.memory = {.has_limit = true}}}};
    struct error err = ERROR_INIT;
    static struct cgroup cg, leaf;

    cr_expect_eq(cgroup_init(&cg, &spec, "id", false, &err), 0);
    cr_expect_str_eq(cg.path, "/berm/id");
    cgroup_sibling(&cg, "sb", &leaf);
    cr_expect_str_eq(leaf.path, "/berm/berm-sb");
}
