#pragma once
/*
 * The standalone source of objects: a folder of *.yaml, *.yml and *.json, watched by inotify. Every
 * change leads to one look at the whole folder; files that did not change are not read again.
 */
#include "agent/loop.h"
#include "agent/standalone/manifest.h"

struct config;

struct folder {
    struct object_source source; /* first: a folder is an object_source */
    struct loop *loop;
    const struct config *config;
    struct objects *objects;
    int dirfd, inotify_fd;
    struct loop_fd inotify;
    struct loop_timer rescan;
    struct manifest **files;
    size_t n_files;
    uint64_t loads, errors; /* for metrics */
    /* After a scan changed something; first: this is the first full view. */
    void (*changed)(void *ctx, bool first);
    void *ctx;
};

void folder_init(struct folder *f, struct loop *l, const struct config *c, struct objects *o,
                 void (*changed)(void *ctx, bool first), void *ctx);
void folder_fini(struct folder *f);
/* Calls fn with each error in the folder ("FILE:LINE: FIELD: what"). */
void folder_each_error(const struct folder *f, void (*fn)(void *ctx, const char *error), void *ctx);
