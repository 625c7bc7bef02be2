/* Hostile guest code: jumps into the stub with registers of its own choosing. */
#include "tests/platform/harness.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

extern const char stub_elf[], stub_elf_end[];
extern const char guest_evil[], guest_evil_end[], guest_clock[], guest_clock_end[];
void test_hostile(void);
void test_vdso(void);

/* Address of a `syscall; hlt` within the stub. */
static uint64_t gadget(struct plat_thread *th)
{
    struct plat_layout l;

    plat_layout(th, &l);
    for (const char *p = stub_elf; p + 3 < stub_elf_end; p++)
        if (!memcmp(p, "\x0f\x05\xf4", 3))
            return l.reserved_start + (uint64_t)(p - stub_elf);
    return 0;
}

enum verdict { MEDIATED, RUNS, DIES, LOCAL };
static const char *const verdicts[] = {"goes to the sentry", "is executed", "ends the process",
                                       "is answered by the stub"};
/* To the stub a word of 0 is owned by this thread, which has no number here; to the host it is
 * free. */
enum { PI_LOCAL = -EDEADLK };

static const struct {
    const char *name;
    long nr;
    uint64_t arg[6];
    enum verdict want;
} tries[] = {
    {"open", SYS_open, {CODE, 0}, MEDIATED},
    {"getsid", SYS_getsid, {0}, MEDIATED},
    {"execve", SYS_execve, {CODE}, MEDIATED},
    {"socket", SYS_socket, {2, 1, 0}, MEDIATED},
    {"ptrace", SYS_ptrace, {0}, MEDIATED},
    {"process_vm_writev", SYS_process_vm_writev, {1, DATA, 1, DATA, 1}, MEDIATED},
    {"kill", SYS_kill, {(uint64_t)-1, 9}, MEDIATED},
    {"prctl", SYS_prctl, {4, 0}, MEDIATED},
    {"seccomp", SYS_seccomp, {1, 0, 0}, MEDIATED},
    {"write", SYS_write, {0, CODE, 1}, MEDIATED},
    {"ioctl", SYS_ioctl, {1, 0, 0}, MEDIATED},
    {"mmap of device memory flags", SYS_mmap, {0, 4096, 3, MAP_HUGETLB | 0x22, -1UL, 0}, MEDIATED},
    {"mmap, locked", SYS_mmap, {0, 4096, 3, MAP_LOCKED | 0x22, -1UL, 0}, MEDIATED},
    {"mmap, odd protection", SYS_mmap, {0, 4096, 0x1000003, 0x22, -1UL, 0}, MEDIATED},
    {"mmap", SYS_mmap, {0x900000, 4096, 3, 0x32, -1UL, 0}, RUNS},
    {"mprotect, grows down", SYS_mprotect, {DATA, 4096, 0x1000003}, MEDIATED},
    {"mprotect", SYS_mprotect, {DATA, 4096, 3}, RUNS},
    {"madvise, poison", SYS_madvise, {DATA, 4096, 100}, MEDIATED},
    {"madvise, merge", SYS_madvise, {DATA, 4096, MADV_MERGEABLE}, MEDIATED},
    {"madvise, page out", SYS_madvise, {DATA, 4096, MADV_PAGEOUT}, MEDIATED},
    {"madvise, free", SYS_madvise, {DATA, 4096, MADV_FREE}, RUNS},
    {"clone, new user namespace", SYS_clone, {CLONE_NEWUSER | SIGCHLD}, MEDIATED},
    {"clone, vfork", SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD}, MEDIATED},
    {"clone, thread with ptrace", SYS_clone, {0x250f00 | CLONE_PTRACE, DATA}, MEDIATED},
    {"clone3", SYS_clone3, {DATA, 88}, MEDIATED},
    {"futex, PI", SYS_futex, {DATA, FUTEX_LOCK_PI, 0, 0}, LOCAL},
    {"futex, PI requeue", SYS_futex, {DATA, FUTEX_CMP_REQUEUE_PI | 128, 1, 1, DATA, 0}, MEDIATED},
    {"futex, wait and requeue PI", SYS_futex, {DATA, FUTEX_WAIT_REQUEUE_PI}, MEDIATED},
    {"recvmsg of another descriptor", SYS_recvmsg, {5, DATA, 0}, MEDIATED},
    {"sendto another descriptor", SYS_sendto, {1, DATA, 1, 0, 0, 0}, MEDIATED},
    {"dup2 to a free number", SYS_dup2, {0, 7}, MEDIATED},
    {"fcntl, F_SETFL", SYS_fcntl, {1, 4, 0}, MEDIATED},
    {"fcntl, F_ADD_SEALS", SYS_fcntl, {1, 1033, 1}, MEDIATED},
    {"ftruncate of the slots", SYS_ftruncate, {1, 0}, MEDIATED},
    {"an x32 call", SYS_mmap | 0x40000000, {0}, MEDIATED},
    {"a call with high bits", (long)(SYS_open | 0x500000000), {CODE, 0}, MEDIATED},
};

static enum verdict outcome(struct plat_thread *th, const struct plat_exit *e, long nr)
{
    if (e->event == PLAT_DEAD)
        return DIES;
    if (e->event == PLAT_SYSCALL && (uint32_t)plat_regs(th)->orig_rax == (uint32_t)nr)
        return MEDIATED;
    return nr == SYS_futex && (int64_t)plat_regs(th)->rax == PI_LOCAL ? LOCAL : RUNS;
}

static void attempt(size_t i)
{
    struct plat_thread *th = guest_new(guest_evil, guest_evil_end);
    struct plat_regs *r = plat_regs(th);
    enum verdict v;
    struct plat_exit e;
    char name[128];

    r->rbx = gadget(th);
    r->rax = (uint64_t)tries[i].nr;
    r->rdi = tries[i].arg[0];
    r->rsi = tries[i].arg[1];
    r->rdx = tries[i].arg[2];
    r->r10 = tries[i].arg[3];
    r->r8 = tries[i].arg[4];
    r->r9 = tries[i].arg[5];
    plat_run(th, &e);
    v = outcome(th, &e, tries[i].nr);
    (void)snprintf(name, sizeof(name), "hostile: %s %s", tries[i].name, verdicts[tries[i].want]);
    check(v == tries[i].want, name, "%s, rax %ld", verdicts[v], (long)r->rax);
    plat_thread_exit(th, 0);
}

static void test_32bit(void)
{
    static const char int80[] = "\xb8\x14\x00\x00\x00\xcd\x80\x0f\x0b";
    struct plat_thread *th = guest_new(int80, int80 + sizeof(int80));
    struct plat_exit e;

    plat_run(th, &e);
    check(e.event == PLAT_DEAD, "hostile: a 32-bit call ends the process", "%d", e.event);
    plat_thread_exit(th, 0);
}

/* It scribbles over its slots and areas, unmaps its stub, and so on: only itself may suffer. */
static void test_scribble(void)
{
    struct plat_thread *th = guest_new(guest_evil, guest_evil_end);
    struct plat_layout l;
    struct plat_exit e;
    char junk[4096];
    int r;

    plat_layout(th, &l);
    memset(junk, 0xa5, sizeof(junk));
    for (int i = 0; i < 4; i++)
        plat_write(th, l.reserved_start + (128 << 10) + 4096 * (uint64_t)i, junk, sizeof(junk));
    plat_run(th, &e);
    check(e.event == PLAT_DEAD || e.event == PLAT_INTERRUPTED, "hostile: a slot full of junk", "%d",
          e.event);
    r = plat_flush(th);
    check(r == 0 || r == -ESRCH, "and nothing else", "%d", r);
    plat_thread_exit(th, 0);
    th = guest_new(guest_evil, guest_evil_end);
    plat_layout(th, &l);
    plat_munmap(th, l.reserved_start, l.reserved_end - l.reserved_start);
    plat_run(th, &e);
    check(e.event == PLAT_DEAD, "hostile: no stub left", "%d", e.event);
    plat_thread_exit(th, 0);
}

void test_hostile(void)
{
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
        attempt(i);
    test_32bit();
    test_scribble();
}

/* Offset of clock_gettime in the vDSO, which is the same image here. */
static uint64_t clock_offset(void)
{
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
    const Elf64_Ehdr *eh = (const Elf64_Ehdr *)base;
    const Elf64_Shdr *sh = (const Elf64_Shdr *)(base + eh->e_shoff);

    for (int i = 0; i < eh->e_shnum; i++) {
        const Elf64_Sym *sym = (const Elf64_Sym *)(base + sh[i].sh_offset);
        const char *names = base + sh[sh[i].sh_type == SHT_DYNSYM ? sh[i].sh_link : 0].sh_offset;

        if (sh[i].sh_type != SHT_DYNSYM)
            continue;
        for (size_t n = 0; n < sh[i].sh_size / sizeof(*sym); n++)
            if (!strcmp(names + sym[n].st_name, "__vdso_clock_gettime"))
                return sym[n].st_value;
    }
    return 0;
}

void test_vdso(void)
{
    struct plat_thread *th = guest_new(guest_clock, guest_clock_end), *other;
    struct plat_layout l, l2;
    struct plat_regs *r;
    uint64_t ts[2] = {0};
    char head[4] = "";

    plat_layout(th, &l);
    check(l.vvar >= l.reserved_start && l.vdso > l.vvar && l.vdso_end <= l.reserved_end,
          "the vDSO lies in the reserved range", "%lx %lx %lx", l.vvar, l.vdso, l.vdso_end);
    plat_read(th, l.vdso, head, 4);
    check(!memcmp(head,
                  "\x7f"
                  "ELF",
                  4),
          "and is one", NULL);
    plat_regs(th)->rbx = l.vdso + clock_offset();
    r = run_to_call(th, 1005);
    plat_read(th, DATA, ts, 16);
    check(r->rdi == 0 && ts[0] > 1000000000, "its clock runs", "%ld %lu", (long)r->rdi, ts[0]);
    other = guest_new(guest_clock, guest_clock_end);
    plat_layout(other, &l2);
    check(l2.vdso != l.vdso && l2.reserved_start != l.reserved_start,
          "each process has its own addresses", NULL);
    plat_thread_exit(other, 0);
    plat_thread_exit(th, 0);
}
