/* What the terminals and small file systems answer until they are linked in: an error each. */
#include "runtime/sentry/fs/tty/tty.h"
#include "runtime/sentry/vfs/inode.h"

#include <errno.h>

#define WEAK __attribute__((weak))

static int absent_mount(struct task *t, const struct fs_type *type, const struct mount_args *args,
                        struct super **ret)
{
    (void)t;
    (void)type;
    (void)args;
    (void)ret;
    return -ENODEV;
}
#define TYPE(n)                                                                                    \
    extern const struct fs_type n##_fs_type;                                                       \
    WEAK const struct fs_type n##_fs_type = {.name = #n, .no_dev = true, .mount = absent_mount};
TYPE(sysfs)
TYPE(devpts)
TYPE(mqueue)
TYPE(cgroup2)

WEAK int tty_host_new(struct task *t, int host_fd, struct file **ret)
{
    (void)t;
    (void)host_fd;
    (void)ret;
    return -ENXIO;
}
WEAK void tty_host_winch(struct file *f)
{
    (void)f;
}
WEAK struct tty *tty_get(struct tty *tty)
{
    return tty;
}
WEAK void tty_put(struct tty *tty)
{
    (void)tty;
}
WEAK struct tty *tty_of(const struct file *f)
{
    (void)f;
    return NULL;
}
WEAK void tty_set_controlling(struct process *p, struct file *f)
{
    (void)p;
    (void)f;
}
WEAK void tty_disassociate(struct process *p, bool exiting)
{
    (void)p;
    (void)exiting;
}
WEAK void tty_describe(struct process *p, unsigned *ret_nr, int *ret_pgrp)
{
    (void)p;
    *ret_nr = 0;
    *ret_pgrp = -1;
}
WEAK int ptmx_open(struct task *t, struct file *f)
{
    (void)t;
    (void)f;
    return -ENXIO;
}
WEAK int pts_open(struct task *t, struct file *f, unsigned index)
{
    (void)t;
    (void)f;
    (void)index;
    return -ENXIO;
}
WEAK int tty_open_controlling(struct task *t, struct file *f)
{
    (void)t;
    (void)f;
    return -ENXIO;
}
WEAK int tty_open_console(struct task *t, struct file *f)
{
    (void)t;
    (void)f;
    return -ENXIO;
}
