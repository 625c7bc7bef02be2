#pragma once
/* execve(2): from a file and two lists of strings to a task that starts in it. */
#include "runtime/sentry/task/task.h"

enum { EXEC_STRINGS_MAX = 0x7fffffff / 4, EXEC_STRING_BYTES_MAX = 131072, EXEC_SCRIPT_DEPTH = 5 };

/* argv or envp, packed: n NUL-terminated strings one after the other. */
struct exec_strings {
    char *data;
    size_t size, capacity;
    unsigned n;
};
void exec_strings_fini(struct exec_strings *s);
int exec_strings_add(struct exec_strings *s, const char *text); /* 0, -ENOMEM, -E2BIG */
int exec_strings_prepend(struct exec_strings *s, const char *text);
/* From a NULL-terminated array of pointers in guest memory (0: empty). */
int exec_strings_copy_in(struct task *t, struct exec_strings *s, uint64_t array);

struct exec_request {
    int dirfd;
    const char *path;
    int flags; /* AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW */
    struct exec_strings argv, envp;
};
/*
 * Replaces t's image (current task). Before the point of no return: -errno and nothing changed.
 * After it, failure kills t with SIGKILL and -ENOEXEC is returned. `first`: t has no image yet
 * (container start, exec): nothing to tear down and no strings to copy from the guest.
 */
int task_exec(struct task *t, struct exec_request *r, bool first);
