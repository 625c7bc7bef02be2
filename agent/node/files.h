#pragma once
/*
 * Files and programs of the host, as the installer changes them: atomically, so that it can be
 * undone without needing space, and with everything as the file had it.
 */
#include "common/buf.h"
#include "common/error.h"

#include <stdbool.h>
#include <sys/types.h>

enum { HOST_FILE_MAX = 4 << 20 };

/* The whole file; *ret NULL (and 0) if there is none. */
int host_read(const char *path, char **ret, struct error *err);

/* One file that is replaced, until it is kept or undone. */
struct host_change {
    char path[4096]; /* symbolic links resolved; "" while nothing was changed */
    bool existed;
    bool crowded; /* all that lies in its folder is read as configuration: nothing may stay there */
    char *earlier; /* so this is kept here */
};
/* Puts text in place of the file (NULL: removes it), keeping mode, owner and label; the earlier
 * version stays beside it as PATH.berm-undo (crowded: in memory). -errno: nothing changed. Only
 * once a change. */
int host_replace(struct host_change *c, const char *path, const char *text, struct error *err);
/* Puts the earlier version back: by rename, which needs no space (unless crowded). Fine if nothing
 * was changed. */
int host_undo(struct host_change *c, struct error *err);
void host_keep(struct host_change *c);
/* What a run that was killed left of the file: true if there was something. Its earlier version is
 * put back unless `keep` says that the file is as wanted. */
bool host_leftover(const char *path, bool keep);

/* Runs a program of the host to its end: its output (both), and its exit status; -ETIMEDOUT after
 * timeout_s. argv[0] is a path. */
int host_run(const char *const *argv, unsigned timeout_s, struct buf *ret, int *ret_status,
             struct error *err);
/* Removes a folder with all that is in it; no link is followed. 0 if it isn't there. */
int host_remove_tree(const char *path, struct error *err);
/* Copies a file (mode 0755) with its data on disk. */
int host_copy_program(int from, const char *to, struct error *err);
