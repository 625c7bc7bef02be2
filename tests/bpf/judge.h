#pragma once
/* One armed pod whose programs are run on frames by BPF_PROG_TEST_RUN; reasons by the counters. */
#include "agent/enforce/internal.h"
#include "tests/bpf/frames.h"
#include "tests/bpf/lab.h"

struct judge {
    struct lab lab;
    struct enforce *e;
    struct pod *pod;
    struct device *device;
};

void judge_open(struct judge *j); /* lab, handle, pod "pod-1" */
void judge_close(struct judge *j);
/* true: let through. */
bool judge_pass(struct judge *j, enum berm_engine engine, enum berm_direction direction,
                const struct frame *f);
/* Also says why not, by the difference of the counters. */
enum berm_reason judge_reason(struct judge *j, enum berm_engine engine,
                              enum berm_direction direction, const struct frame *f);
