#pragma once
/* Between pod.c, pod_disk.c and runner.c. */
#include "agent/schema.h"
#include "agent/standalone/runner.h"

/* In memory only. NULL if memory is short. uid NULL: a fresh one. */
struct pod *runner_pod_new(struct runner *r, const char *ns, const char *name, json_t *manifest,
                           const char *uid);
void runner_pod_free(struct pod *p);
/* From nothing (or BLOCKED) to running; errors put it to BLOCKED, to be tried again. */
void runner_pod_start(struct pod *p);
/* Ends it; with `gone`, frees it at the end. May free p before it returns. */
void runner_pod_stop(struct pod *p, bool gone);
/* Goes on with what pod_load found complete. */
void runner_pod_adopt(struct pod *p);
/* The object with uid, nodeName and status filled in; a new reference. */
json_t *runner_pod_object(const struct pod *p);
/* Tells policy about the pod as it is now. */
int pod_update_policy(struct pod *p, struct schema_error *e);

/* pod.json. */
int runner_pod_save(const struct pod *p, struct error *err);
int pod_mark_ready(const struct pod *p, struct error *err);
/* Reads STATE/pods/UID. *ret_ready: it was complete. Its address number is claimed. */
int runner_pod_load(struct runner *r, const char *uid, struct pod **ret, bool *ret_ready,
                    struct error *err);
/* Removes all that is on disk and mounted. In a worker. */
int runner_pod_erase(const struct pod *p, struct error *err);
