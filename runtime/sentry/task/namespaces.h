#pragma once
/* The bundle of namespaces of a task, and the context of paths; see task.h. */
#include "runtime/sentry/task/task.h"

struct namespaces *namespaces_get(struct namespaces *ns);
void namespaces_put(struct namespaces *ns);
/* A copy that holds its own references; NULL: out of memory. */
struct namespaces *namespaces_copy(const struct namespaces *ns);
struct utsns *utsns_new(const struct utsns *from); /* from NULL: empty */
struct utsns *utsns_get(struct utsns *ns);
void utsns_put(struct utsns *ns);

struct fs_context *fs_context_copy(struct fs_context *fs);
void fs_context_put(struct fs_context *fs);

void task_set_current(struct task *t);
/* True on a task's own thread; false where the runtime makes a task that does not run yet. */
bool serves_guest(void);
struct sighand *sighand_new(void);
struct sighand *sighand_get(struct sighand *s);
void sighand_put(struct sighand *s);
void usage_add(struct rusage *to, const struct rusage *from);
