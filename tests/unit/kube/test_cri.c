#include "agent/cri/cri.h"
#include "agent/kube/cgroup_path.h"

#include <criterion/criterion.h>
#include <string.h>

Test(cri, cgroup_of_a_pod)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"/kubepods/burstable/pod1-2/abc", "/kubepods/burstable/pod1-2"},
        {"/kubepods/pod1/abc", "/kubepods/pod1"},
        {"kubepods-burstable-pod1_2.slice:cri-containerd:abc",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"},
        {"/kubepods/abc", NULL}, /* never all of kubepods */
        {"/abc", NULL},
        {"", NULL},
        {"/../../pod1/abc", NULL},
        {"x.scope:a:b", NULL},
        {":a:b", NULL},
        {".slice:a:b", NULL},
    };
    char out[200];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int r = cgroup_pod_path(rows[i].in, out, sizeof(out));

        cr_assert_eq(r == 0, rows[i].want != NULL, "%s", rows[i].in);
        if (r == 0)
            cr_assert_str_eq(out, rows[i].want);
    }
    cr_assert_lt(cgroup_pod_path("kubepods-burstable-pod1.slice:a:b", out, 20), 0);
}

struct seen {
    int n;
    struct cri_sandbox last;
};

static int note(void *ctx, const struct cri_sandbox *s)
{
    struct seen *seen = ctx;

    seen->n++;
    seen->last = *s;
    return 0;
}

/* items: {id "a", metadata {name "n", uid "u", namespace "d"}, created_at 300, handler "h"} */
static const unsigned char list[] = "\x0a\x14\x0a\x01\x61\x12\x09\x0a\x01n\x12\x01u\x1a\x01\x64"
                                    "\x20\xac\x02\x3a\x01h";

Test(cri, list_of_sandboxes)
{
    struct seen seen = {0};

    cr_assert_eq(cri_each_sandbox(pb_message(list, sizeof(list) - 1), note, &seen), 0);
    cr_assert_eq(seen.n, 1);
    cr_assert_str_eq(seen.last.id, "a");
    cr_assert_str_eq(seen.last.ns, "d");
    cr_assert_str_eq(seen.last.name, "n");
    cr_assert_str_eq(seen.last.uid, "u");
    cr_assert_str_eq(seen.last.handler, "h");
    cr_assert_eq(seen.last.created_ns, 300);
    cr_assert(seen.last.ready);
}

Test(cri, what_is_cut_off_is_broken)
{
    for (size_t n = 1; n < sizeof(list) - 1; n++) {
        struct seen seen = {0};

        cr_assert_lt(cri_each_sandbox(pb_message(list, n), note, &seen), 0, "%zu bytes", n);
    }
}

Test(cri, hostile_bytes)
{
    unsigned char bytes[64];
    unsigned seed = 1;

    for (int round = 0; round < 20000; round++) {
        struct seen seen = {0};
        size_t n = (size_t)round % sizeof(bytes);

        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
        (void)cri_each_sandbox(pb_message(bytes, n), note, &seen);
        json_decref(cri_info(pb_message(bytes, n), "info"));
    }
}
