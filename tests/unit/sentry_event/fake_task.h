#pragma once
/* A task that is enough for files that block: it can sleep, be woken and have signals. */
#include "runtime/sentry/task/namespaces.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline struct task *fake_task(void)
{
    struct task *t = calloc(1, sizeof(*t));
    struct process *p = calloc(1, sizeof(*p));

    ref_init(&t->ref);
    ref_init(&p->ref);
    t->process = p;
    t->host_tid = (int)syscall(SYS_gettid);
    p->sighand = sighand_new();
    sigpending_init(&p->pending);
    sigpending_init(&t->pending_own);
    list_init(&p->threads);
    list_append(&p->threads, &t->thread_link);
    waitq_init(&p->signal_wait);
    waitq_init(&p->exit_wait);
    t->cred = cred_new();
    p->pidns = calloc(1, sizeof(*p->pidns));
    p->pid = t->pid = calloc(1, sizeof(*t->pid) + sizeof(t->pid->nr[0]));
    t->pid->nr[0].nr = 1;
    t->pid->nr[0].ns = p->pidns;
    task_set_current(t);
    return t;
}
