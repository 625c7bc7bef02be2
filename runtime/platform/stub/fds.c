/*
 * Descriptors from the sentry. All threads share one socket, and a message is queued before the
 * thread that needs it runs: whoever receives another's message leaves it in the table.
 */
#include "runtime/platform/stub/stub.h"

enum { K_SOL_SOCKET = 1, K_SCM_RIGHTS = 1, K_MSG_CMSG_CLOEXEC = 0x40000000 };

void fds_close(int32_t fd)
{
    if (fd >= STUB_FIRST_FREE)
        (void)SYS3(__NR_close_range, fd, fd, 0);
}

int fds_receive(int sock, void *data, uint64_t size, int32_t fds[2], int *n_fds)
{
    struct k_cmsg c = {0};
    struct k_iovec iov = {data, size};
    struct k_msghdr m = {0};
    long r;

    m.iov = &iov;
    m.iovlen = 1;
    m.control = &c;
    m.controllen = sizeof(c);
    *n_fds = 0;
    r = SYS3(__NR_recvmsg, sock, &m, 0);
    if (r < 0 || m.controllen < 16 || c.level != K_SOL_SOCKET || c.type != K_SCM_RIGHTS)
        return (int)r;
    *n_fds = (int)((c.len - 16) / 4);
    if (*n_fds > 2)
        *n_fds = 2;
    for (int i = 0; i < *n_fds; i++)
        fds[i] = c.fds[i];
    return (int)r;
}

static void lock(struct stub_proc *p)
{
    while (__atomic_exchange_n(&p->lock, 1, __ATOMIC_ACQUIRE))
        (void)SYS1(__NR_sched_yield, 0);
}

static void unlock(struct stub_proc *p)
{
    __atomic_store_n(&p->lock, 0, __ATOMIC_RELEASE);
}

static int take_from_table(struct stub_proc *p, uint32_t tag, int32_t fds[2])
{
    for (unsigned i = 0; i < TAGS_MAX; i++) {
        if (p->tags[i].tag != tag)
            continue;
        p->tags[i].tag = 0;
        fds[0] = p->tags[i].fds[0];
        fds[1] = p->tags[i].fds[1];
        return p->tags[i].n;
    }
    return 0;
}

static void put_in_table(struct stub_proc *p, uint32_t tag, const int32_t fds[2], int n)
{
    for (unsigned i = 0; i < TAGS_MAX; i++) {
        if (p->tags[i].tag)
            continue;
        p->tags[i].tag = tag;
        p->tags[i].n = n;
        p->tags[i].fds[0] = fds[0];
        p->tags[i].fds[1] = fds[1];
        return;
    }
    while (n > 0) /* the sentry keeps fewer than TAGS_MAX under way */
        fds_close(fds[--n]);
}

void fds_put_back(struct stub_proc *p, uint32_t tag, const int32_t fds[2], int n)
{
    lock(p);
    put_in_table(p, tag, fds, n);
    unlock(p);
}

int fds_take(struct stub_proc *p, uint32_t tag, int32_t fds[2])
{
    struct stub_message m = {0};
    int n;

    lock(p);
    n = take_from_table(p, tag, fds);
    while (n == 0) {
        int r = fds_receive(STUB_SOCK, &m, sizeof(m), fds, &n);

        if (r == -E_INTR || r == -E_AGAIN)
            continue;
        if (r != sizeof(m))
            break;
        if (m.tag == tag)
            break;
        put_in_table(p, m.tag, fds, n);
        n = 0;
    }
    unlock(p);
    return n;
}
