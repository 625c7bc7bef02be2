#pragma once
/*
 * One file of manifests: the objects that its last good version held, and what is wrong with the
 * present one. A file counts as a whole: one bad document, and none of its changes are taken.
 */
#include "agent/objects.h"

#include <sys/stat.h>

struct manifest_object {
    enum object_kind kind;
    const char *ns, *name; /* borrowed from json */
    json_t *json;
    size_t line;
    size_t problem_line; /* of the field that the check complained about, 0 if none */
    char problem[600];   /* refused, or in force with a problem, when it was applied; "" */
};

struct manifest {
    char *name; /* within the folder */
    struct timespec mtime;
    ino_t inode;
    off_t size;
    bool present;    /* found by the scan that runs */
    char error[768]; /* "FILE:LINE: FIELD: what"; "" if the file is good */
    struct manifest_object *objects;
    size_t n_objects;
};

struct manifest *manifest_new(const char *name);
void manifest_free(struct manifest *m);
/* Reads and checks the file (by the sinks' check functions). On success the objects are replaced;
 * on failure they stay and m->error says why. */
int manifest_load(struct manifest *m, int dirfd, const struct objects *checks, size_t max);
/* The objects of the last good version, kept on disk for an agent that starts while the file is
 * bad. Errors are logged: it is a second line. */
void manifest_remember(const struct manifest *m, const char *state_dir);
void manifest_recall(struct manifest *m, const char *state_dir);
void manifest_forget(const struct manifest *m, const char *state_dir);
