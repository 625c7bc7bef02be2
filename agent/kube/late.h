#pragma once
/*
 * Pods that others run and that were armed late: their containers may have spoken before policy
 * bound them. A sandbox that took its time (a node with much to do, a slow network plugin) is no
 * such case by itself, so CRI is asked whether one of its containers is older than its arming.
 */
#include "agent/cri/cri.h"
#include "common/list.h"

struct agent;

struct late {
    struct agent *agent;
    struct cri *cri;
    struct cri_call call;
    struct list suspects; /* of struct suspect */
    size_t n;
    bool busy;
};

void late_init(struct late *l, struct agent *a, struct cri *cri);
void late_fini(struct late *l); /* fine if zero-filled */
/* This one was armed just now. */
void late_note(struct late *l, const struct cri_sandbox *s);
/* Asks about those that were noted, and tells of them in the log and by Events. */
void late_ask(struct late *l);
