/*
 * The zygote: pid 1 of the stubs' pid namespace. It forks stubs when the sentry asks for one, and
 * ends (and with it all of them) when the sentry's end of its socket is closed. It never runs guest
 * code.
 */
#include "runtime/platform/filter.h"
#include "runtime/platform/stub/stub.h"
#include <linux/auxvec.h>
#include <linux/prctl.h>

enum { PAGE = 4096 };

void zygote_main(const uint64_t *sp) __attribute__((visibility("hidden")));

static uint64_t auxv(const uint64_t *sp, uint64_t key)
{
    sp += *sp + 2; /* argc, argv, NULL */
    while (*sp)
        sp++;
    for (sp++; *sp; sp += 2)
        if (*sp == key)
            return sp[1];
    return 0;
}

/*
 * There is no /proc here. The vDSO is an ELF image, and vvar lies right below it: pages on which
 * madvise fails with EINVAL because they are the kernel's.
 */
static void find_vdso(struct stub_boot *b, uint64_t vdso)
{
    uint64_t shoff;
    uint16_t shnum, shentsize;

    b->vvar = b->vdso = b->vdso_end = vdso;
    if (!vdso)
        return;
    shoff = *(const uint64_t *)(vdso + 40);
    shentsize = *(const uint16_t *)(vdso + 58);
    shnum = *(const uint16_t *)(vdso + 60);
    b->vdso_end = vdso + ((shoff + (uint64_t)shnum * shentsize + PAGE - 1) & ~(uint64_t)(PAGE - 1));
    while (SYS3(__NR_madvise, b->vvar - PAGE, PAGE, K_MADV_DOFORK) == -E_INVAL)
        b->vvar -= PAGE;
}

static void ignore(int sig)
{
    struct k_sigaction sa = {(void *)1, 0, 0, 0};

    (void)SYS4(__NR_rt_sigaction, sig, &sa, 0, 8);
}

/* In the forked child: lays out the region, then goes on in the code there. */
static void become_stub(struct stub_boot *boot, const int32_t fds[2])
{
    uint64_t base = boot->req.base;
    struct area *a = area_at(base, 0);
    struct stub_boot *copy = (struct stub_boot *)((uint64_t)a - sizeof(*copy) - 64);
    long r = 0;

    r |= sys6(__NR_mmap, base, CODE_MAX, K_PROT_RX, K_MAP_PRIVATE | K_MAP_FIXED, STUB_SLOTS, 0) < 0;
    r |= sys6(__NR_mmap, base + PROC_OFF, 65536, K_PROT_RW,
              K_MAP_PRIVATE | K_MAP_FIXED | K_MAP_ANON | K_MAP_NORESERVE, (uint64_t)-1, 0) < 0;
    r |= sys6(__NR_mmap, base + SLOTS_OFF, SLOTS_BYTES, K_PROT_RW, K_MAP_SHARED | K_MAP_FIXED,
              (uint64_t)fds[1], 0) < 0;
    r |= sys6(__NR_mmap, base + AREAS_OFF, AREAS_BYTES, K_PROT_RW,
              K_MAP_PRIVATE | K_MAP_FIXED | K_MAP_ANON | K_MAP_NORESERVE, (uint64_t)-1, 0) < 0;
    r |= SYS3(__NR_madvise, base + SLOTS_OFF, SLOTS_BYTES, K_MADV_DONTFORK) < 0;
    r |= SYS2(__NR_dup2, fds[0], STUB_SOCK) < 0;
    r |= SYS2(__NR_dup2, fds[1], STUB_SLOTS) < 0;
    r |= SYS3(__NR_close_range, STUB_FIRST_FREE, ~0U, 0) < 0;
    if (r)
        (void)SYS1(__NR_exit_group, 1);
    *copy = *boot;
    stub_enter(base + ((uint64_t)stub_main - (uint64_t)__ehdr_start), copy,
               (uint64_t)copy & ~(uint64_t)15);
}

static void serve_requests(struct stub_boot *boot)
{
    int32_t fds[2];
    int n = 0;

    for (;;) {
        long r = fds_receive(STUB_SOCK, &boot->req, sizeof(boot->req), fds, &n);

        if (r == -E_INTR || r == -E_AGAIN)
            continue;
        if (r <= 0)
            return;
        if (r == sizeof(boot->req) && n == 2 && SYS5(__NR_clone, K_SIGCHLD, 0, 0, 0, 0) == 0)
            become_stub(boot, fds);
        while (n > 0)
            fds_close(fds[--n]);
    }
}

void zygote_main(const uint64_t *sp)
{
    struct stub_boot boot = {0};

    (void)SYS5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)SYS1(__NR_setsid, 0); /* a terminal's signals are not for guest processes */
    ignore(K_SIGCHLD);          /* children vanish by themselves */
    ignore(K_SIGPIPE);
    ignore(K_SIGXFSZ);
    boot.code_size = (uint32_t)(stub_code_end - __ehdr_start);
    find_vdso(&boot, auxv(sp, AT_SYSINFO_EHDR));
    serve_requests(&boot);
    (void)SYS1(__NR_exit_group, 0);
}
