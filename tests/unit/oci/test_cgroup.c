/* Where a container's control groups lie, and what is written there. */
#include "runtime/oci/cgroup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* A hierarchy of files that are not a kernel's. */
static struct cgroup *fake(bool v2, const char *const *files)
{
    static struct cgroup cg;
    struct cgroup_hierarchy *h = &cg.hierarchies[0];

    cg = (struct cgroup){.n = 1, .path = "/g"};
    h->v2 = v2;
    (void)strcpy(h->mount, "/tmp/berm-cgroup-XXXXXX");
    (void)strcpy(h->controllers, v2 ? "" : ",memory,cpu,");
    cr_assert(mkdtemp(h->mount) && chdir(h->mount) == 0 && mkdir("g", 0700) == 0 &&
              chdir("g") == 0);
    for (; *files; files++)
        fclose(fopen(*files, "w"));
    return &cg;
}

static const char *content(const char *file)
{
    static char text[64];
    FILE *f = fopen(file, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

    if (f)
        fclose(f);
    text[n] = 0;
    return text;
}

static void discard(struct cgroup *cg)
{
    char command[320];

    (void)snprintf(command, sizeof(command), "rm -rf %s", cg->hierarchies[0].mount);
    cr_assert_eq(system(command), 0);
}

Test(cgroup, members_to_files_of_v2)
{
    static const char *const files[] = {"memory.max", "memory.swap.max", "memory.low",
                                        "cpu.weight", "cpu.max",         "cpu.max.burst",
                                        "cpu.idle",   "pids.max",        NULL};
    struct cgroup *cg = fake(true, files);
    struct oci_resources res = {
        .memory = {.has_limit = true,
                   .limit = 100,
                   .has_swap = true,
                   .swap = 150,
                   .has_reservation = true,
                   .reservation = 50,
                   .has_swappiness = true},
        .cpu = {.has_shares = true,
                .shares = 1024,
                .has_quota = true,
                .quota = 5000,
                .has_burst = true,
                .burst = 7,
                .has_idle = true,
                .idle = 1},
        .pids = {.has_limit = true, .limit = -1},
    };
    struct error err = ERROR_INIT;

    cr_assert_eq(cgroup_apply(cg, &res, &err), 0, "%s", err.msg);
    cr_expect_str_eq(content("memory.max"), "100");
    cr_expect_str_eq(content("memory.swap.max"), "50");
    cr_expect_str_eq(content("memory.low"), "50");
    cr_expect_str_eq(content("cpu.weight"), "39");
    cr_expect_str_eq(content("cpu.max"), "5000 100000");
    cr_expect_str_eq(content("cpu.max.burst"), "7");
    cr_expect_str_eq(content("cpu.idle"), "1");
    cr_expect_str_eq(content("pids.max"), "max");
    discard(cg);
}

Test(cgroup, members_to_files_of_v1)
{
    static const char *const files[] = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
                                        "memory.swappiness", "cpu.cfs_burst_us", NULL};
    struct cgroup *cg = fake(false, files);
    struct oci_resources res = {
        .memory = {.has_limit = true,
                   .limit = 100,
                   .has_swap = true,
                   .swap = -1,
                   .has_swappiness = true,
                   .swappiness = 60},
        .cpu = {.has_burst = true, .burst = 7},
    };
    struct error err = ERROR_INIT;

    cr_assert_eq(cgroup_apply(cg, &res, &err), 0, "%s", err.msg);
    cr_expect_str_eq(content("memory.limit_in_bytes"), "100");
    cr_expect_str_eq(content("memory.memsw.limit_in_bytes"), "-1");
    cr_expect_str_eq(content("memory.swappiness"), "60");
    cr_expect_str_eq(content("cpu.cfs_burst_us"), "7");
    discard(cg);
}

Test(cgroup, what_is_refused_is_named_by_member)
{
    static const char *const files[] = {"memory.current", NULL};
    struct cgroup *cg = fake(true, files);
    struct oci_resources limit = {.memory = {.has_limit = true, .limit = 100}};
    struct oci_resources cpus = {.cpu = {.cpus = "0-9"}};
    struct error err = ERROR_INIT;
    FILE *f;

    cr_assert(mkdir("memory.max", 0700) == 0 && mkdir("cpuset.cpus", 0700) == 0);
    cr_expect_eq(cgroup_apply(cg, &limit, &err), -EISDIR);
    cr_expect(strncmp(err.msg, "linux.resources.memory.limit: ", 30) == 0, "%s", err.msg);
    cr_expect_eq(cgroup_apply(cg, &cpus, &err), -EISDIR);
    cr_expect(strncmp(err.msg, "linux.resources.cpu.cpus: ", 26) == 0, "%s", err.msg);
    f = fopen("memory.current", "w");
    cr_assert(f && fputs("101\n", f) >= 0 && fclose(f) == 0);
    limit.memory.check = true;
    cr_expect_eq(cgroup_apply(cg, &limit, &err), -EBUSY, "checkBeforeUpdate");
    discard(cg);
}
