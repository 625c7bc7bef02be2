#include "tests/bpf/judge.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void judge_open(struct judge *j)
{
    struct enforce_config config = {0};
    struct enforce_pod pod = {.uid = "pod-1", .exceptions = ENFORCE_EXCEPTIONS_DEFAULT};
    struct error err = ERROR_INIT;

    lab_open(&j->lab);
    config.pin_dir = j->lab.pin_dir;
    pod.netns_fd = j->lab.hosts[LAB_POD].netns_fd;
    if (enforce_open(&config, &j->e, &err) < 0 || enforce_arm(j->e, &pod, &err) < 0) {
        tap_ok(false, "set-up: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    j->pod = enforced_pod_find(j->e, "pod-1");
    j->device = list_first(&j->pod->devices, struct device, siblings);
}

void judge_close(struct judge *j)
{
    enforce_close(j->e);
    lab_close(&j->lab);
}

bool judge_pass(struct judge *j, enum berm_engine engine, enum berm_direction direction,
                const struct frame *f)
{
    enum hook_kind kind = direction == BERM_EGRESS ? HOOK_GUARD_FROM_POD : HOOK_GUARD_TO_POD;
    struct __sk_buff ctx = {.ifindex = (uint32_t)j->device->ifindex};
    uint8_t out[FRAME_MAX + 64];
    struct bpf_test_run_opts opts;

    memset(&opts, 0, sizeof(opts));
    opts.sz = sizeof(opts);
    opts.data_in = f->data;
    opts.data_size_in = (uint32_t)f->size;
    opts.data_out = out;
    opts.data_size_out = sizeof(out);
    opts.ctx_in = &ctx;
    opts.ctx_size_in = sizeof(ctx);
    if (bpf_prog_test_run_opts(j->e->prog_fds[0][engine == BERM_ENGINE_GUARD ? kind : kind + 1],
                               &opts) < 0) {
        if (errno == EINVAL) /* the kernel refuses to build such a packet at all */
            return false;
        tap_ok(false, "BPF_PROG_TEST_RUN: %s", strerror(errno));
        exit(EXIT_FAILURE);
    }
    if (opts.retval != (uint32_t)-1 && opts.retval != 2) {
        tap_ok(false, "a program returned %u", opts.retval);
        exit(EXIT_FAILURE);
    }
    return opts.retval == (uint32_t)-1;
}

enum berm_reason judge_reason(struct judge *j, enum berm_engine engine,
                              enum berm_direction direction, const struct frame *f)
{
    struct enforce_stats before, after;
    bool pass;

    (void)enforce_stats(j->e, "pod-1", &before, NULL);
    pass = judge_pass(j, engine, direction, f);
    (void)enforce_stats(j->e, "pod-1", &after, NULL);
    if (pass)
        return BERM_REASON_NONE;
    for (int r = 1; r < BERM_REASON_MAX; r++) {
        if (after.engine[engine].denied[direction][r] > before.engine[engine].denied[direction][r])
            return r;
    }
    return BERM_REASON_MAX;
}
