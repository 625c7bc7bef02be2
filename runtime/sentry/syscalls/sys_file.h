#pragma once
/* Shared by the handlers of file calls. */
#include "common/cleanup.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/ops.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>

static inline void file_cleanup(struct file **f)
{
    file_put(*f);
}
static inline void path_cleanup(struct path *p)
{
    path_put(p);
}
#define AUTO_FILE CLEANUP(file_cleanup) struct file *
#define AUTO_PATH CLEANUP(path_cleanup) struct path

/* Copies the name in and looks it up; walk: enum walk_flags. With WALK_EMPTY, "" is dirfd itself
 * (which must have a path). */
int user_path(struct task *t, int dirfd, gaddr_t name, unsigned walk, struct path *ret);
/* AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH to walk flags (following is the default). */
unsigned walk_of_at(int flags);
