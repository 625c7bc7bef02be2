/*
 * A guest address space: its host process, the descriptors that lead to it, its slots.
 *
 * Threats: the socket is read only until the process has said who it is; its pid comes from the
 * kernel (SCM_CREDENTIALS). A pid is used after its process is known to live, and by pidfd where
 * there is a call for it.
 */
#include "common/cleanup.h"
#include "runtime/guard.h"
#include "runtime/platform/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST_WORD_MS = 30000 }; /* longer, and a fork is taken for dead */
enum { MIN_ADDR = 65536 };      /* the guest's lowest address: as vm.mmap_min_addr usually is */

static int slots_new(int *ret_fd, uint8_t **ret_slots)
{
    CLEANUP(close_fd) int fd = -1;
    void *at;

    fd = memfd_create("slots", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)SLOTS_BYTES) < 0 ||
        (GUARDED(SLOT_SEAL) &&
         fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
        return -errno;
    at = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *ret_slots = at;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int space_alloc(struct plat *p, int theirs[2], struct plat_space **ret)
{
    struct plat_space *s = calloc(1, sizeof(*s));
    int pair[2], one = 1, r;

    if (!s)
        return -ENOMEM;
    r = slots_new(&s->memfd, &s->slots);
    if (r < 0) {
        free(s);
        return r;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        r = -errno;
        (void)munmap(s->slots, SLOTS_BYTES);
        (void)close(s->memfd);
        free(s);
        return r;
    }
    (void)setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
    s->sock = pair[0];
    s->pidfd = -1;
    s->plat = p;
    atomic_fetch_add(&p->refs, 1);
    atomic_store(&s->refs, 1);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->clone_lock, NULL);
    theirs[0] = pair[1];
    theirs[1] = s->memfd;
    *ret = s;
    return 0;
}

int space_take_spare(struct plat *p, int theirs[2], struct plat_space **ret)
{
    struct plat_space *s;

    (void)pthread_mutex_lock(&p->lock);
    s = p->spare;
    p->spare = NULL;
    p->forks = true;
    theirs[0] = p->spare_sock;
    (void)pthread_mutex_unlock(&p->lock);
    if (!s)
        return space_alloc(p, theirs, ret);
    theirs[1] = s->memfd;
    *ret = s;
    return 0;
}

void space_fill_spare(struct plat *p)
{
    struct plat_space *s = NULL;
    bool wanted;
    int theirs[2];

    (void)pthread_mutex_lock(&p->lock);
    wanted = p->forks && !p->spare && !atomic_load(&p->stop);
    (void)pthread_mutex_unlock(&p->lock);
    if (!wanted || space_alloc(p, theirs, &s) < 0)
        return;
    (void)pthread_mutex_lock(&p->lock);
    if (!p->spare && !atomic_load(&p->stop)) {
        p->spare = TAKE_PTR(s);
        p->spare_sock = theirs[0];
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (s) {
        (void)close(theirs[0]);
        plat_space_put(s);
    }
}

void space_drop_spare(struct plat *p)
{
    struct plat_space *s;

    (void)pthread_mutex_lock(&p->lock);
    s = p->spare;
    p->spare = NULL;
    (void)pthread_mutex_unlock(&p->lock);
    if (s) {
        (void)close(p->spare_sock);
        plat_space_put(s);
    }
}

struct plat_space *plat_space_get(struct plat_space *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void plat_space_put(struct plat_space *s)
{
    struct plat *p = s->plat;

    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    (void)munmap(s->slots, SLOTS_BYTES);
    close_fd(&s->sock);
    close_fd(&s->memfd);
    close_fd(&s->pidfd);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->clone_lock);
    patches_free(s->patches);
    free(s->threads);
    free(s);
    plat_unref(p);
}

/* Its first message; the kernel adds the pid, in this pid namespace's numbers. */
static int receive_pid(int sock, pid_t *ret)
{
    char c, control[256] __attribute__((aligned(8)));
    struct iovec iov = {&c, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *h;
    struct ucred cred = {0};
    struct pollfd p = {.fd = sock, .events = POLLIN};
    ssize_t n;

    /* Its maker is hostile and may never have made it: don't wait forever. */
    do {
        n = poll(&p, 1, FIRST_WORD_MS);
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n <= 0)
        return -EAGAIN; /* it died: out of processes or memory */
    for (h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS)
            memcpy(&cred, CMSG_DATA(h), sizeof(cred));
    if (cred.pid <= 0)
        return -EPROTO;
    *ret = cred.pid;
    return 0;
}

/* The pid may have passed to another process unless its owner still holds the socket. */
static bool peer_lives(int sock)
{
    struct pollfd p = {.fd = sock, .events = POLLIN};

    return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR));
}

int space_handshake(struct plat_space *s)
{
    pid_t pid = 0;
    int r;

    r = receive_pid(s->sock, &pid);
    if (r < 0)
        return r;
    s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (s->pidfd < 0)
        return errno == ESRCH ? -EAGAIN : -errno;
    if (!peer_lives(s->sock))
        return -EAGAIN;
    atomic_store(&s->pid, pid);
    r = watch_add(s);
    if (r < 0)
        atomic_store(&s->pid, 0);
    return r;
}

int space_ready(struct plat_space *s)
{
    int r = 0;

    if (atomic_load(&s->pid))
        return 0;
    (void)pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->dead))
        r = -ESRCH;
    else if (!atomic_load(&s->pid))
        r = space_handshake(s);
    (void)pthread_mutex_unlock(&s->lock);
    if (r < 0)
        space_died(s);
    return r < 0 ? -ESRCH : 0;
}

/* Any thread: nobody waits for it any longer. */
void space_died(struct plat_space *s)
{
    atomic_store(&s->dead, true);
    (void)pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->n_indices; i++) {
        struct slot *slot = slot_at(s, i);

        if (!s->threads[i])
            continue;
        __atomic_store_n(&slot->turn, TURN_SENTRY, __ATOMIC_SEQ_CST);
        (void)futex_wake_all(&slot->turn);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static int send_fds(int sock, const void *data, size_t size, const int *fds, size_t n)
{
    char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {(void *)data, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *h = (struct cmsghdr *)(void *)control;

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(h), fds, n * sizeof(int));
    if (sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return errno == ETOOMANYREFS ? -EMFILE : -errno;
    return 0;
}

int ops_send_fds(struct plat_thread *th, const int *fds, int n, uint32_t *ret_tag)
{
    struct plat_space *s = th->space;
    struct stub_message m;
    int r;

    if (atomic_fetch_add(&s->tags_under_way, 1) >= TAGS_UNDER_WAY) {
        atomic_fetch_sub(&s->tags_under_way, 1);
        return -EMFILE;
    }
    (void)pthread_mutex_lock(&s->lock);
    m.tag = ++s->next_tag ? s->next_tag : ++s->next_tag;
    (void)pthread_mutex_unlock(&s->lock);
    r = send_fds(s->sock, &m, sizeof(m), fds, (size_t)n);
    if (r < 0) {
        atomic_fetch_sub(&s->tags_under_way, 1);
        return r;
    }
    th->n_tags++;
    *ret_tag = m.tag;
    return 0;
}

/*
 * A random place high in the address space, and one for the vDSO within. It stays clear of where
 * the zygote's stack and vDSO may lie, for the fresh stub still runs on them.
 */
static int choose_place(struct zygote_request *rq)
{
    const uint64_t top = 0x7ff000000000ULL - REGION_SIZE, span = 0xf00000000ULL;
    uint64_t rnd[2];

    if (getrandom(rnd, sizeof(rnd), 0) != (ssize_t)sizeof(rnd))
        return -EIO;
    rq->base = (top - (rnd[0] % span)) & ~(uint64_t)(AREA_SIZE - 1);
    rq->vdso_at = rq->base + VDSO_OFF + (rnd[1] % (VDSO_WINDOW - (1 << 20))) / 4096 * 4096;
    return 0;
}

static void read_layout(struct plat_space *s)
{
    const struct slot *first = slot_at(s, 0);

    s->layout = (struct plat_layout){.min = MIN_ADDR,
                                     .reserved_start = s->base,
                                     .reserved_end = s->base + REGION_SIZE,
                                     .vdso = first->vdso,
                                     .vvar = first->vvar,
                                     .vdso_end = first->vdso_end};
}

int space_begin(struct plat *p, struct plat_space **ret)
{
    struct zygote_request rq;
    struct plat_space *s = NULL;
    int theirs[2] = {-1, -1}, r;

    rq.filter = (p->direct ? ZYGOTE_FILTER_DIRECT : 0) | UNGUARDED_SET() << ZYGOTE_FILTER_BITS;
    r = choose_place(&rq);
    if (r < 0)
        return r;
    r = space_alloc(p, theirs, &s);
    if (r < 0 || !s)
        return r < 0 ? r : -ENOMEM;
    (void)pthread_mutex_lock(&p->zygote_lock);
    r = send_fds(p->zygote_sock, &rq, sizeof(rq), theirs, 2);
    (void)pthread_mutex_unlock(&p->zygote_lock);
    (void)close(theirs[0]);
    if (r < 0) {
        plat_space_put(s);
        return r;
    }
    s->base = rq.base;
    *ret = s;
    return 0;
}

int space_finish(struct plat_space *s)
{
    int r = space_handshake(s);

    if (r == 0)
        read_layout(s); /* no guest code has run in it yet */
    return r;
}

void plat_layout(struct plat_thread *th, struct plat_layout *ret)
{
    *ret = th->space->layout;
}

struct plat_space *plat_space_of(struct plat_thread *th)
{
    return th->space;
}

pid_t plat_space_pid(const struct plat_space *s)
{
    return atomic_load(&s->pid);
}

void plat_space_kill(struct plat_space *s)
{
    /* Nobody waits any longer for the first word of a fork: it has been sent, or it fails. */
    if (!atomic_load(&s->pid))
        (void)shutdown(s->sock, SHUT_RD);
    if (space_ready(s) == 0)
        (void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
}
