#pragma once
/* seccomp(2) as offered to guests: classic BPF filters, evaluated by the sentry before its own
 * table. */
#include "runtime/sentry/syscalls/table.h"

#include <stdbool.h>

struct task;
#define SECCOMP_GO_ON INT64_MIN

/* What t's filters say of this call: SECCOMP_GO_ON, or the call's result. May kill. A tracer may
 * make another call of it. */
long seccomp_check(struct task *t, uint64_t *nr, struct sysargs *a);
/* A filter from a program of our own making; NULL: it is malformed, or out of memory. */
struct sock_filter;
void *seccomp_new(const struct sock_filter *code, unsigned n);
/* Does it allow, whatever their arguments, all calls that a stub answers by itself? */
bool seccomp_allows_local(const void *filters);
/* The same for those on lent descriptors, and those that are told later. */
bool seccomp_allows_lent(const void *filters);
void *seccomp_inherit(void *filters); /* new reference, NULL for NULL */
void seccomp_put(void *filters);
long seccomp_prctl(struct task *t, uint64_t mode, uint64_t program); /* prctl(PR_SET_SECCOMP) */
