/*
 * Calls that the task's host thread answered (platform.h, plat_told), done before its next one. It
 * alone could tell that they were not done yet. Each is checked as if it came now, for hostile code
 * can have written it: also behind a seccomp filter, where the stub is not asked to answer anything
 * that it might not allow.
 */
#include "runtime/sentry/fs/event/epoll.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/syscalls/seccomp.h"
#include "runtime/sentry/syscalls/sys_file.h"
#include "runtime/sentry/vfs/inode.h"

static void was_read(struct task *t, int fd, uint64_t pos)
{
    AUTO_FILE f = fd_get(t, fd);

    if (f && f->inode && S_ISREG(f->inode->mode) && pos <= INT64_MAX)
        (void)vfs_seek(t, f, (int64_t)pos, SEEK_SET);
    fd_read_whole(t, true);
}

void calls_told(struct task *t)
{
    struct plat_told ops[PLAT_TOLD_OPS];
    int epfd = -1;
    unsigned n = plat_told(t->th, &epfd, ops);

    if (n && !seccomp_allows_lent(t->seccomp))
        return;
    for (unsigned i = 0; i < n; i++) {
        struct epoll_event e = {.events = ops[i].events, .data.u64 = ops[i].data};

        switch (ops[i].op) {
        case PLAT_TOLD_CLOSE:
            (void)fd_close(t, ops[i].fd);
            break;
        case PLAT_TOLD_READ:
            was_read(t, ops[i].fd, ops[i].data);
            break;
        case EPOLL_CTL_ADD:
        case EPOLL_CTL_MOD:
        case EPOLL_CTL_DEL:
            epoll_told(t, epfd, ops[i].op, ops[i].fd, &e);
            break;
        default: /* an addition and its removal */
            break;
        }
    }
    if (n && epfd >= 0)
        epoll_told_all(t, epfd);
}
