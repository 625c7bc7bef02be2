#pragma once
/* Giving a new file to the guest. */
#include "runtime/sentry/vfs/file.h"

/* Installs f at the lowest free number; on failure f is put. The number or -EMFILE. */
static inline long install_file(struct task *t, struct file *f, bool cloexec)
{
    int fd = fd_install(t, f, cloexec, 0);

    if (fd < 0)
        file_put(f);
    return fd;
}
