/* What the platform promises, tried with small guest programs. */
#include "tests/platform/harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define P(name) guest_##name, guest_##name##_end
#define PROGRAMS(X)                                                                                \
    X(hello)                                                                                       \
    X(loop_call)                                                                                   \
    X(loop_cmp)                                                                                    \
    X(loop_getppid) X(spin) X(fault) X(fp) X(futex_wait) X(futex_wake) X(evil) X(clock) X(mix)
#define X(name) extern const char guest_##name[], guest_##name##_end[];
PROGRAMS(X)
#undef X
void run_tests(int argc, char **argv);
void test_hostile(void);
void test_vdso(void);

static void test_hello(void)
{
    struct plat_thread *th = guest_new(P(hello));
    struct plat_regs *r = run_to_call(th, 1000);
    int ok = r->rdi == 1 && r->rsi == 2 && r->rdx == 3 && r->r10 == 4 && r->r8 == 5 && r->r9 == 6;

    ok = ok && r->rbx == 0x1234567890 && (int64_t)r->rax == -ENOSYS;
    check(ok, "a system call's registers", NULL);
    r->rax = 77;
    r = run_to_call(th, 231);
    check(r->rdi == 77, "its result", "%lu", r->rdi);
    plat_thread_exit(th, 0);
}

static void test_memory(void)
{
    struct plat_thread *th = guest_new(P(hello));
    char buf[64] = "";
    struct plat_exit e;
    int fd = memfd_create("f", 0), r = 0;
    ssize_t n, w;

    r |= ftruncate(fd, 8192);
    r |= pwrite(fd, "content", 8, 4096) != 8;
    r |= plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, fd, 4096, NULL);
    close(fd);
    (void)run_to_call(th, 1000);
    n = plat_read_string(th, 0x700000, buf, sizeof(buf));
    check(r == 0 && n == 7 && !strcmp(buf, "content"), "a file is mapped", "%zd %s", n, buf);
    n = plat_read(th, DATA + MAP_BYTES - 4, buf, 64);
    w = plat_write(th, 0x10000, buf, 4);
    check(n == 4 && w == -EFAULT, "short read at the end, EFAULT outside", "%zd %zd", n, w);
    plat_copy_out(th, 0x100, "x", 1);
    (void)run_to_call(th, 231);
    check((int64_t)plat_regs(th)->rdi == -EFAULT, "a copy that faults gives EFAULT", NULL);
    plat_munmap(th, 0x700000, 4096);
    plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, 99999, 0, NULL);
    plat_mprotect(th, 0x900000, 4096, PROT_READ);
    plat_run(th, &e);
    check(e.event == PLAT_OP_FAILED && e.op_index == 1 && e.op_errno == ENOMEM,
          "a failing operation is told", "%d %u %d", e.event, e.op_index, e.op_errno);
    n = plat_read(th, 0x700000, buf, 8);
    check(n == -EFAULT, "what was before it is done", "%zd", n);
    n = plat_poke(th, CODE, "\x90", 1, PROT_READ | PROT_EXEC);
    n |= plat_flush(th);
    check(n == 0 && plat_read(th, CODE, buf, 1) == 1 && buf[0] == (char)0x90, "poke", "%zd", n);
    plat_thread_exit(th, 0);
}

/* A queue that fails halfway must not leave descriptors behind. */
static void test_tags(void)
{
    struct plat_thread *th = guest_new(P(loop_call));
    int fd = memfd_create("f", 0), r = 0;

    r |= ftruncate(fd, 4096);
    for (int i = 0; i < 300 && r == 0; i++) {
        plat_mprotect(th, 0x900000, 4096, PROT_READ);
        r = plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, fd, 0, NULL);
        if (r == 0 && plat_flush(th) != -ENOMEM)
            r = -1;
    }
    for (int i = 0; i < 40 && r == 0; i++)
        r = plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, fd, 0, NULL);
    r |= plat_flush(th);
    check(r == 0, "descriptors of failed operations are closed", "%d", r);
    close(fd);
    plat_thread_exit(th, 0);
}

/* Mappings of one file that follow each other share a descriptor, which is gone with the last. */
static void test_same_file(void)
{
    struct plat_thread *th = guest_new(P(loop_call));
    int fd = memfd_create("f", 0), other = memfd_create("g", 0), r = 0;
    char buf[8] = "";

    r |= ftruncate(fd, 12288) | ftruncate(other, 4096);
    r |= pwrite(fd, "1", 1, 0) != 1 || pwrite(fd, "3", 1, 8192) != 1 ||
         pwrite(other, "2", 1, 0) != 1;
    r |= plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, fd, 0, &fd);
    r |= plat_mmap(th, 0x703000, 4096, PROT_READ, MAP_SHARED, other, 0, &other);
    r |= plat_mmap(th, 0x701000, 4096, PROT_READ, MAP_SHARED, fd, 8192, &fd);
    r |= plat_mmap(th, 0x702000, 4096, PROT_READ, MAP_SHARED, fd, 8192, &fd);
    r |= plat_flush(th);
    r |= plat_read(th, 0x700000, buf, 1) != 1 || plat_read(th, 0x703000, buf + 1, 1) != 1 ||
         plat_read(th, 0x701000, buf + 2, 1) != 1 || plat_read(th, 0x702000, buf + 3, 1) != 1;
    check(r == 0 && strcmp(buf, "1233") == 0, "mappings of one file in a row", "%d %s", r, buf);
    for (int i = 0; i < 300 && r == 0; i++) {
        for (int k = 0; k < 4; k++) /* the second fails */
            r |= plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, fd, k == 1, &fd);
        if (r == 0 && plat_flush(th) != -EINVAL)
            r = -1;
    }
    for (int i = 0; i < 40 && r == 0; i++)
        r = plat_mmap(th, 0x700000, 4096, PROT_READ, MAP_SHARED, fd, 0, NULL);
    r |= plat_flush(th);
    check(r == 0, "one that fails leaves no descriptor behind", "%d", r);
    close(fd);
    close(other);
    plat_thread_exit(th, 0);
}

static void test_fault(void)
{
    struct plat_thread *th = guest_new(P(fault));
    struct plat_exit e;

    run_to(th, PLAT_FAULT, &e);
    check(e.signo == SIGSEGV && e.address == 0x10 && e.code == SEGV_MAPERR && e.trapno == 14,
          "a fault", NULL);
    plat_regs(th)->rip = CODE + 8;
    run_to(th, PLAT_FAULT, &e);
    check(e.signo == SIGSEGV && e.trapno == 13, "a privileged instruction", NULL);
    plat_thread_exit(th, 0);
}

static void test_fork(void)
{
    struct plat_thread *th = guest_new(P(loop_call)), *child = NULL;
    uint64_t v = 5, w = 0;
    int r;

    (void)run_to_call(th, 1000);
    plat_write(th, DATA, &v, sizeof(v));
    r = plat_clone_space(th, &child);
    check(r == 0, "fork", "%d", r);
    if (r < 0)
        return;
    v = 6;
    plat_write(th, DATA, &v, sizeof(v));
    plat_regs(child)->rax = 0;
    (void)run_to_call(child, 1000);
    (void)run_to_call(th, 1000);
    plat_read(child, DATA, &w, sizeof(w));
    check(w == 5, "the child's memory is its own", "%lu", w);
    check(plat_space_pid(plat_space_of(child)) != plat_space_pid(plat_space_of(th)), "two pids",
          "%d %d", plat_space_pid(plat_space_of(child)), plat_space_pid(plat_space_of(th)));
    plat_thread_exit(th, 0);
    (void)run_to_call(child, 1000);
    plat_thread_exit(child, 0);
}

/* The copy is made when the parent goes on: a child that was started by then needs nobody else. */
static void test_fork_queued(void)
{
    struct plat_thread *th = guest_new(P(loop_call)), *child = NULL;
    uint64_t v = 5, w = 0;
    struct plat_exit e;
    int r;

    (void)run_to_call(th, 1000);
    plat_write(th, DATA, &v, sizeof(v));
    r = plat_fork(th, &child);
    check(r == 0, "queued fork", "%d", r);
    if (r < 0)
        return;
    plat_regs(child)->rax = 0;
    r = plat_store(child, DATA + 8, 77) | plat_store(child, 0x10, 1);
    plat_start(child);
    (void)run_to_call(th, 1000);
    (void)run_to_call(child, 1000);
    plat_read(child, DATA, &v, sizeof(v));
    plat_read(child, DATA + 8, &w, sizeof(w));
    check(r == 0 && v == 5 && (uint32_t)w == 77, "its memory, and what was stored there",
          "%d %lu %lu", r, v, w);
    plat_thread_exit(child, 0);
    r = plat_fork(th, &child);
    plat_space_kill(plat_space_of(th));
    plat_run(th, &e);
    check(r == 0 && e.event == PLAT_DEAD, "a parent that dies before its copy is made", "%d %d", r,
          e.event);
    plat_thread_exit(th, 0);
    plat_run(child, &e);
    check(e.event == PLAT_DEAD, "its child never was", "%d", e.event);
    plat_thread_exit(child, 0);
}

/* Killed at every stage of its birth. */
static void test_fork_kill(void)
{
    struct plat_thread *th = guest_new(P(loop_call)), *child = NULL;
    struct plat_exit e;
    int dead = 0, r = 0;

    (void)run_to_call(th, 1000);
    for (int i = 0; i < 100 && r == 0; i++) {
        r = plat_clone_space(th, &child);
        if (r < 0)
            break;
        for (volatile int k = 0; k < i * 2000; k++)
            ;
        if (i % 3)
            plat_space_kill(plat_space_of(child));
        if (i % 3 == 1) {
            plat_run(child, &e);
            dead += e.event == PLAT_DEAD;
        }
        plat_thread_exit(child, 0);
    }
    check(r == 0 && dead == 33, "forks killed early", "%d %d", r, dead);
    plat_thread_exit(th, 0);
}

static void *runner(void *arg)
{
    struct plat_exit *e = calloc(1, sizeof(*e));

    plat_run(arg, e);
    return e;
}

static struct plat_exit run_while(struct plat_thread *th, void (*fn)(struct plat_thread *), int us)
{
    struct plat_exit e = {0};
    pthread_t t;
    void *ret = NULL;

    pthread_create(&t, NULL, runner, th);
    usleep((useconds_t)us);
    fn(th);
    pthread_join(t, &ret);
    e = *(struct plat_exit *)ret;
    free(ret);
    return e;
}

static void test_interrupt(void)
{
    struct plat_thread *th = guest_new(P(spin));
    struct plat_exit e;
    uint64_t v = 0;

    e = run_while(th, plat_interrupt, 5000);
    plat_read(th, DATA, &v, 8);
    check(e.event == PLAT_INTERRUPTED && v > 1000, "a spinning guest is interrupted", "%d %lu",
          e.event, v);
    plat_interrupt(th);
    plat_run(th, &e);
    check(e.event == PLAT_INTERRUPTED, "an interrupt before it runs", NULL);
    e = run_while(th, plat_interrupt, 2000);
    check(e.event == PLAT_INTERRUPTED, "and again", NULL);
    plat_thread_exit(th, 0);
}

static void kill_it(struct plat_thread *th)
{
    plat_space_kill(plat_space_of(th));
}

static void test_dead(void)
{
    struct plat_thread *th = guest_new(P(spin));
    struct plat_exit e = run_while(th, kill_it, 3000);
    uint64_t v;
    ssize_t n;

    check(e.event == PLAT_DEAD, "a killed guest wakes its thread", "%d", e.event);
    plat_run(th, &e);
    n = plat_read(th, DATA, &v, 8);
    check(e.event == PLAT_DEAD && n == -ESRCH, "and stays dead", "%d %zd", e.event, n);
    plat_thread_exit(th, 0);
}

static void test_threads(void)
{
    struct plat_thread *th = guest_new(P(loop_call)), *c[50];
    int r = 0, n = 0;
    uint64_t v = 1;

    (void)run_to_call(th, 1000);
    for (int round = 0; round < 3; round++) {
        for (n = 0; n < 50 && r == 0; n++) {
            r = plat_clone_thread(th, &c[n]);
            if (r < 0)
                break;
            plat_regs(c[n])->rsp = STACK + 4096;
            plat_regs(c[n])->fs_base = 0x1000UL * (unsigned)n;
            (void)run_to_call(c[n], 1000);
        }
        for (int i = 0; i < n; i++) {
            (void)run_to_call(c[i], 1000);
            if (plat_regs(c[i])->fs_base != 0x1000UL * (unsigned)i)
                r = -1;
            plat_write(th, DATA, &v, 4);
            plat_thread_exit(c[i], i == 7 ? DATA : 0);
        }
    }
    check(r == 0, "threads come and go", "%d", r);
    (void)run_to_call(th, 1000);
    usleep(2000);
    plat_read(th, DATA, &v, 4);
    check(plat_clone_thread(th, &c[0]) == 0, "one more", NULL);
    plat_regs(c[0])->rip = CODE;
    {
        struct plat_exit e;

        plat_write(th, CODE + 0x100, "\xeb\xfe", 2);
        plat_regs(c[0])->rip = CODE + 0x100;
        e = run_while(c[0], plat_interrupt, 3000);
        check(e.event == PLAT_INTERRUPTED, "a second thread is interrupted", "%d", e.event);
    }
    plat_thread_exit(c[0], 0);
    plat_thread_exit(th, 0);
}

static void test_clear_tid(void)
{
    struct plat_thread *th = guest_new(P(futex_wait)), *c = NULL;
    uint32_t v = 0;
    int r;

    plat_regs(th)->rip = CODE;
    v = 9;
    plat_write(th, DATA + 64, &v, 4);
    r = plat_clone_thread(th, &c);
    if (r == 0)
        plat_thread_exit(c, DATA + 64);
    for (int i = 0; i < 1000 && v; i++) {
        usleep(100);
        plat_read(th, DATA + 64, &v, 4);
    }
    check(r == 0 && v == 0, "clear_tid", "%d %u", r, v);
    plat_thread_exit(th, 0);
}

static void test_fp(void)
{
    struct plat_thread *th = guest_new(P(fp)), *child = NULL;
    uint64_t v[2] = {0}, m1 = 0;
    uint32_t magic = 0;
    struct plat_regs *r;
    int x;

    (void)run_to_call(th, 1000);
    x = plat_clone_space(th, &child);
    (void)run_to_call(child, 1002);
    check(x == 0 && plat_regs(child)->rdi == 0x1122334455667788, "vector state after a fork", "%lx",
          plat_regs(child)->rdi);
    plat_thread_exit(child, 0);
    x = plat_fp_store(th, DATA);
    x |= plat_flush(th);
    plat_read(th, DATA + 160, v, 8); /* xmm0 */
    plat_read(th, DATA + 464, &m1, 8);
    plat_read(th, DATA + plat_fp_size() - 4, &magic, 4);
    check(x == 0 && v[0] == 0x1122334455667788, "fp_store", "%d %lx", x, v[0]);
    check((m1 >> 32) == plat_fp_size() && magic == 0x46505845, "size of a frame", "%lu %zu %x",
          m1 >> 32, plat_fp_size(), magic);
    v[0] = 42;
    plat_write(th, DATA + 160, v, 8);
    plat_fp_load(th, DATA);
    r = run_to_call(th, 1002);
    check(r->rdi == 42 && r->rsi == 0x1122334455667788, "fp_load", "%lu %lx", r->rdi, r->rsi);
    (void)run_to_call(th, 1000);
    plat_fp_load(th, 0);
    r = run_to_call(th, 1002);
    check(r->rdi == 0 && r->rsi == 0, "fp reset", "%lx", r->rdi);
    (void)run_to_call(th, 1000);
    memset(v, 0xff, sizeof(v));
    for (uint64_t at = DATA; at < DATA + plat_fp_size(); at += 16)
        plat_write(th, at, v, 16);
    plat_fp_load(th, DATA);
    r = run_to_call(th, 1002);
    check(r->orig_rax == 1002, "hostile vector state is survived", NULL);
    plat_fp_load(th, 0x10);
    check(plat_flush(th) == -EFAULT, "fp_load of nothing", NULL);
    plat_thread_exit(th, 0);
}

static uint64_t next_thunks = 0x10000000;

static int site_prot(void *ctx, uint64_t site)
{
    (void)ctx;
    return site >= CODE && site < CODE + MAP_BYTES ? PROT_READ | PROT_EXEC : -1;
}

static uint64_t alloc_near(void *ctx, uint64_t site, uint64_t size)
{
    uint64_t at = next_thunks;

    (void)ctx;
    (void)site;
    next_thunks += size;
    return at;
}

static void allow_patching(struct plat_thread *th)
{
    static const struct plat_patch_hooks hooks = {site_prot, alloc_near};

    plat_set_patch_hooks(plat_space_of(th), &hooks, NULL);
}

static int is_patched(struct plat_thread *th, unsigned off)
{
    uint8_t b = 0;

    plat_read(th, CODE + off, &b, 1);
    return b == 0xe9;
}

static void test_identity(void)
{
    struct plat_thread *th = guest_new(P(loop_getppid));
    struct plat_identity id = {.pid = 10, .tid = 11, .ppid = 12, .uid = 1};
    double t;

    plat_set_identity(th, &id);
    plat_regs(th)->r12 = 100000;
    t = now_us();
    (void)run_to_call(th, 1001);
    t = now_us() - t;
    check(plat_regs(th)->rdi == 12, "getppid is answered in the stub", "%.3f us", t / 100000);
    allow_patching(th);
    id.trace = true;
    plat_set_identity(th, &id);
    (void)run_to_call(th, 110);
    id.trace = false;
    plat_set_identity(th, &id);
    plat_regs(th)->r12 = 1000000;
    t = now_us();
    (void)run_to_call(th, 1001);
    t = now_us() - t;
    check(plat_regs(th)->rdi == 12 && is_patched(th, 0), "getppid from a patched site", "%.4f us",
          t / 1000000);
    id.trace = true;
    plat_set_identity(th, &id);
    (void)run_to_call(th, 110);
    check(plat_regs(th)->orig_rax == 110, "not if traced", NULL);
    plat_thread_exit(th, 0);
}

static void *run_waiter(void *arg)
{
    run_to_call(arg, 1003);
    return NULL;
}

static void test_futex(void)
{
    struct plat_thread *th = guest_new(P(futex_wait)), *c = NULL;
    struct plat_exit e;
    pthread_t t;
    int r;

    e = run_while(th, plat_interrupt, 30000);
    check(e.event == PLAT_FUTEX && plat_regs(th)->orig_rax == SYS_futex,
          "a futex wait is broken off", "%d", e.event);
    plat_write(th, CODE + 0x200, guest_futex_wake,
               (size_t)(guest_futex_wake_end - guest_futex_wake));
    r = plat_clone_thread(th, &c);
    plat_regs(c)->rip = CODE + 0x200;
    plat_regs(th)->rip -= 2;
    plat_regs(th)->rax = SYS_futex;
    pthread_create(&t, NULL, run_waiter, th);
    usleep(30000);
    (void)run_to_call(c, 1004);
    pthread_join(t, NULL);
    check(r == 0 && plat_regs(c)->rdi == 1 && plat_regs(th)->rdi == 0, "threads wake each other",
          "%ld %ld", (long)plat_regs(c)->rdi, (long)plat_regs(th)->rdi);
    plat_thread_exit(c, 0);
    plat_thread_exit(th, 0);
}

static void test_patch_mov(void)
{
    struct plat_thread *th, *child = NULL;
    struct plat_regs *r = NULL;
    struct plat_exit e;
    int ok = 1, fp = 0;
    uint64_t v = 0;

    th = guest_new(P(loop_call));
    allow_patching(th);
    for (int i = 0; i < 100; i++) {
        plat_regs(th)->rdi = (uint64_t)i;
        plat_regs(th)->rbx = (uint64_t)i * 3;
        plat_regs(th)->r12 = (uint64_t)i * 5;
        r = run_to_call(th, 1000);
        ok = ok && r->rdi == (uint64_t)i && r->rbx == (uint64_t)i * 3 && r->r12 == (uint64_t)i * 5;
        ok = ok && r->rip == CODE + 7 && r->rsp == STACK + MAP_BYTES - 64 && r->rcx == r->rip &&
             (int64_t)r->rax == -ENOSYS;
    }
    check(ok && is_patched(th, 0), "mov;syscall is patched, other registers change", "%d", ok);
    for (int i = 0; i < 100; i++) {
        r->rax = (uint64_t)i;
        plat_copy_out(th, DATA, &i, sizeof(i));
        r = run_to_call(th, 1000);
    }
    plat_read(th, DATA, &v, 4);
    check(v == 99, "copies by the trampoline", "%lu", v);
    plat_copy_out(th, 0x100, "x", 1);
    plat_mmap(th, 0x800000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, NULL);
    (void)run_to_call(th, 1000);
    check(plat_read(th, 0x800000, &v, 4) == 4, "a mapping by the trampoline", NULL);
    fp = plat_fp_store(th, DATA) | plat_flush(th);
    plat_read(th, DATA + 464, &v, 4);
    check(fp == 0 && v == 0x46505853, "fp_store leaves the patched path", "%d %lx", fp, v);
    (void)run_to_call(th, 1000);
    fp = plat_clone_space(th, &child);
    ok = fp == 0;
    if (ok)
        r = run_to_call(child, 1000);
    check(ok && is_patched(child, 0), "fork of a patched guest", "%d", fp);
    plat_thread_exit(child, 0);
    (void)run_to_call(th, 1000);
    plat_interrupt(th);
    plat_run(th, &e);
    check(e.event == PLAT_INTERRUPTED, "interrupt", "%d", e.event);
    (void)run_to_call(th, 1000);
    r->rip -= 2; /* restart */
    plat_regs(th)->rip = CODE + 5;
    plat_regs(th)->rax = 1000;
    (void)run_to_call(th, 1000);
    plat_regs(th)->gs_base = 0x12345000;
    (void)run_to_call(th, 1000);
    check(!is_patched(th, 0) && plat_regs(th)->gs_base == 0x12345000, "GS of its own: unpatched",
          NULL);
    plat_thread_exit(th, 0);
}

static void test_patch_cmp(void)
{
    struct plat_thread *th = guest_new(P(loop_cmp)), *c = NULL;
    struct plat_regs *r;
    struct plat_exit e;
    int ok = 1;

    allow_patching(th);
    plat_regs(th)->rbx = 1000;
    r = run_to_call(th, 1000);
    ok = plat_clone_thread(th, &c) == 0; /* this one stays blocked at the site */
    for (int i = 0; i < 100; i++) {
        r->rax = 5;
        r = run_to_call(th, 1000);
        ok = ok && r->rip == CODE + 4;
    }
    check(ok && is_patched(th, 2), "syscall;cmp is patched", "%d", ok);
    plat_regs(c)->rax = 5;
    (void)run_to_call(c, 1000);
    plat_regs(c)->rax = (uint64_t)-EPERM; /* > -4096: call 231 */
    r = run_to_call(c, 231);
    check(r->orig_rax == 231, "a thread that was blocked there goes on in the thunk", "%lx",
          r->rip);
    r = plat_regs(th);
    r->rip -= 2;
    r->rax = 1000;
    (void)run_to_call(th, 1000);
    check(r->rip == CODE + 4, "a restarted call", NULL);
    r->r15 = 1; /* by a frame */
    r->rax = (uint64_t)-EPERM;
    run_to(th, PLAT_SYSCALL, &e);
    check(r->orig_rax == 231, "and its cmp with all registers restored", NULL);
    plat_thread_exit(c, 0);
    plat_thread_exit(th, 0);
}

static atomic_bool stop_interrupts;
static void *interrupter(void *arg)
{
    while (!stop_interrupts) {
        plat_interrupt(arg);
        for (volatile int i = 0; i < 500; i++)
            ;
    }
    return NULL;
}

/* Calls are counted by the guest (rdi) and must neither be lost nor done twice. */
static void interrupt_storm(const char *name, struct plat_thread *th, long nr)
{
    struct plat_exit e;
    pthread_t t;
    int calls = 0, interrupts = 0, bad = 0;

    stop_interrupts = false;
    pthread_create(&t, NULL, interrupter, th);
    /* On a busy machine the other thread comes late. */
    for (int i = 0; i < 60000 || (interrupts <= 5 && i < 6000000); i++) {
        struct plat_regs *r = plat_regs(th);

        plat_run(th, &e);
        if (e.event == PLAT_INTERRUPTED) {
            interrupts++;
        } else if (e.event == PLAT_SYSCALL) {
            bad += (long)r->orig_rax != nr || r->rsp != STACK + MAP_BYTES - 64 || r->rbx != 1000;
            bad += r->r15 != 77;
            r->rax = (uint64_t)calls++ & 0xff;
        } else {
            bad++;
            printf("# event %d signo %d at %lx rip %lx\n", e.event, e.signo, e.address, r->rip);
            break;
        }
    }
    stop_interrupts = true;
    pthread_join(t, NULL);
    check(!bad && calls > 100 && interrupts > 5, name, "%d calls, %d interrupts, %d bad", calls,
          interrupts, bad);
}

static void test_storm(void)
{
    struct plat_thread *th = guest_new(P(loop_call));

    plat_regs(th)->rbx = 1000;
    plat_regs(th)->r15 = 77;
    interrupt_storm("interrupts at any moment, trapped", th, 1000);
    plat_thread_exit(th, 0);
    th = guest_new(P(loop_call));
    allow_patching(th);
    plat_regs(th)->rbx = 1000;
    plat_regs(th)->r15 = 77;
    interrupt_storm("interrupts at any moment, patched", th, 1000);
    plat_thread_exit(th, 0);
    th = guest_new(P(loop_cmp));
    allow_patching(th);
    plat_regs(th)->rbx = 1000;
    plat_regs(th)->r15 = 77;
    interrupt_storm("interrupts at any moment, syscall;cmp", th, 1000);
    plat_thread_exit(th, 0);
}

static void test_ahead(void)
{
    struct plat_thread *th = guest_new(P(loop_cmp));
    struct plat_regs *r = plat_regs(th);
    char buf[600] = "", big[600];
    double t, t2;
    ssize_t n;
    int ok;

    plat_write(th, DATA, "/etc/passwd", 12);
    memset(big, 'x', sizeof(big));
    plat_write(th, DATA + MAP_BYTES - sizeof(big), big, sizeof(big));
    r->rbx = SYS_openat;
    r->rsi = DATA;
    (void)run_to_call(th, SYS_openat);
    n = plat_read_string(th, DATA, buf, sizeof(buf));
    ok = n == 11 && !strcmp(buf, "/etc/passwd");
    ok = ok && plat_read_string(th, DATA + 5, buf, sizeof(buf)) == 6 && !strcmp(buf, "passwd");
    ok = ok && plat_read_string(th, DATA, buf, 11) == -ENAMETOOLONG;
    check(ok, "a path is copied ahead", "%s", buf);
    t = now_us();
    for (int i = 0; i < 1000; i++)
        plat_read_string(th, DATA, buf, sizeof(buf));
    t2 = now_us();
    for (int i = 0; i < 1000; i++)
        plat_space_read(plat_space_of(th), DATA, buf, 12);
    check(1, "and read", "%.3f us, %.3f by a call", (t2 - t) / 1000, (now_us() - t2) / 1000);
    plat_write(th, DATA, "/etc/shadow", 12);
    n = plat_read_string(th, DATA, buf, sizeof(buf));
    check(n == 11 && !strcmp(buf, "/etc/shadow"), "not after a write", "%s", buf);
    r->rax = 0;
    r->rsi = DATA + MAP_BYTES - 20;
    (void)run_to_call(th, SYS_openat);
    n = plat_read_string(th, r->rsi, buf, sizeof(buf));
    check(n == -EFAULT, "a path that ends at a hole", "%zd", n);
    r->rax = 0;
    r->rsi = DATA + MAP_BYTES - 600;
    (void)run_to_call(th, SYS_openat);
    n = plat_read_string(th, r->rsi, buf, 512);
    check(n == -ENAMETOOLONG, "a long path", "%zd", n);
    r->rax = 0;
    r->rsi = 0x10;
    (void)run_to_call(th, SYS_openat);
    check(plat_read_string(th, r->rsi, buf, sizeof(buf)) == -EFAULT, "no path at all", NULL);
    plat_thread_exit(th, 0);
}

static void test_donate(void)
{
    struct plat_thread *th = guest_new(P(loop_cmp)), *child = NULL;
    struct plat_regs *r = plat_regs(th);
    int fd = memfd_create("f", 0), ok;
    char buf[8] = "";
    int64_t pos = 1;
    struct plat_exit e;

    ok = write(fd, "0123456789", 10) == 10 && plat_lend(th, 5, fd, &(struct plat_lend){0}) == 0;
    close(fd);
    r->rbx = SYS_pread64;
    r->rdi = 5;
    r->rsi = DATA;
    r->rdx = 4;
    r->r10 = 3;
    e = run_while(th, plat_interrupt, 20000);
    plat_read(th, DATA, buf, 4);
    check(ok && e.event == PLAT_INTERRUPTED && !memcmp(buf, "3456", 4), "a lent file is read",
          "%d %s", e.event, buf);
    ok = plat_clone_space(th, &child) == 0;
    if (ok)
        run_to(child, PLAT_SYSCALL, &e);
    check(ok && e.event == PLAT_SYSCALL, "not by a fork", NULL);
    if (ok)
        plat_thread_exit(child, 0);
    (void)plat_take_back(plat_space_of(th), 5);
    (void)run_to_call(th, SYS_pread64);
    check(plat_revoke(th, 5) == 0, "what was taken back is not read", NULL);
    fd = memfd_create("f", 0);
    ok = write(fd, "0123456789", 10) == 10 &&
         plat_lend(th, 5, fd, &(struct plat_lend){.pos = &pos}) == 0;
    close(fd);
    r->rax = 0;
    r->rbx = SYS_read;
    r->rdx = 4;
    e = run_while(th, plat_interrupt, 20000);
    plat_read(th, DATA, buf, 4);
    pos = plat_take_back(plat_space_of(th), 5);
    check(ok && e.event == PLAT_INTERRUPTED && pos == 10 && buf[0] == '9', "a position moves",
          "%d %s %d", e.event, buf, (int)pos);
    check(plat_lend(th, 256, 0, &(struct plat_lend){0}) == -ERANGE, "only low numbers", NULL);
    plat_thread_exit(th, 0);
}

enum { STRESS_THREADS = 5 };
static atomic_bool stress_stop;
static int stress_patched;
static atomic_int stress_bad, stress_calls, stress_interrupts, stress_forks;

static int stress_one(struct plat_thread *th, uint64_t id)
{
    struct plat_regs *r = plat_regs(th);
    struct plat_exit e;

    plat_run(th, &e);
    if (e.event == PLAT_INTERRUPTED || e.event == PLAT_FUTEX) {
        stress_interrupts++;
        if (e.event == PLAT_FUTEX) {
            r->rip -= 2;
            r->rax = r->orig_rax;
        }
        return 0;
    }
    if (e.event == PLAT_SYSCALL && r->orig_rax == SYS_getpid) { /* an interrupt came first */
        r->rax = 10;
        return 0;
    }
    if (e.event != PLAT_SYSCALL || r->r15 != id || r->rdi != id ||
        (r->orig_rax != 1000 && r->orig_rax != 1001)) {
        printf("# %lu: event %d signo %d at %lx: nr %ld rip %lx rax %lx rdi %lx r15 %lx\n", id,
               e.event, e.signo, e.address, (long)r->orig_rax, r->rip, r->rax, r->rdi, r->r15);
        stress_bad++;
        return -1;
    }
    stress_calls++;
    r->rax = id;
    if (stress_calls % 7 == 0)
        r->r14++; /* by a frame */
    return 0;
}

static void *stress_thread(void *arg)
{
    struct plat_thread *th = arg, *child = NULL;
    uint64_t id = plat_regs(th)->r15;

    for (int i = 0; !stress_stop; i++) {
        if (stress_one(th, id) < 0)
            break;
        if (i % 500 != 499)
            continue;
        if (plat_clone_space(th, &child) < 0)
            continue;
        stress_forks++;
        for (int k = 0; k < 30; k++)
            if (stress_one(child, id) < 0)
                break;
        plat_thread_exit(child, 0);
    }
    return NULL;
}

static int count_patched(struct plat_thread *th)
{
    size_t size = (size_t)(guest_mix_end - guest_mix);
    uint8_t now[512];
    int n = 0;

    plat_read(th, CODE, now, size);
    for (size_t i = 0; i < size; i++)
        n += now[i] == 0xe9 && (uint8_t)guest_mix[i] != 0xe9 &&
             ((uint8_t)guest_mix[i] == 0xb8 || (uint8_t)guest_mix[i] == 0x0f);
    return n;
}

/* Several threads trap at the sites, wait in them and run through them while they are patched. */
static void stress_round(void)
{
    struct plat_identity id = {.pid = 10};
    struct plat_thread *th[STRESS_THREADS];
    pthread_t t[STRESS_THREADS];

    th[0] = guest_new(P(mix));
    allow_patching(th[0]);
    plat_set_identity(th[0], &id);
    stress_stop = false;
    for (uint64_t i = 0; i < STRESS_THREADS; i++) {
        if (i && plat_clone_thread(th[0], &th[i]) < 0)
            exit(1);
        plat_regs(th[i])->r15 = plat_regs(th[i])->rdi = 100 + i;
        plat_regs(th[i])->rsp = STACK + 0x1000 * (i + 1);
    }
    for (int i = 0; i < STRESS_THREADS; i++)
        pthread_create(&t[i], NULL, stress_thread, th[i]);
    for (int i = 0; i < 100; i++) {
        plat_interrupt(th[i % STRESS_THREADS]);
        usleep(500);
    }
    stress_stop = true;
    for (int i = 0; i < STRESS_THREADS; i++) {
        plat_interrupt(th[i]);
        pthread_join(t[i], NULL);
    }
    stress_patched += count_patched(th[0]);
    for (int i = 0; i < STRESS_THREADS; i++)
        plat_thread_exit(th[i], 0);
}

static void test_stress(void)
{
    for (int i = 0; i < 20 && !stress_bad; i++)
        stress_round();
    check(!stress_bad && stress_patched > 20, "threads, patches, forks and interrupts at once",
          "%d calls, %d interrupts, %d forks, %d sites", stress_calls, stress_interrupts,
          stress_forks, stress_patched);
}

static void measure(const char *name, struct plat_thread *th, long nr)
{
    enum { N = 20000 };
    double t, t0;

    for (int i = 0; i < 1000; i++)
        (void)run_to_call(th, nr);
    t = now_us();
    for (int i = 0; i < N; i++)
        (void)run_to_call(th, nr);
    t = (now_us() - t) / N;
    t0 = now_us();
    for (int i = 0; i < N; i++)
        (void)syscall(SYS_getppid);
    t0 = (now_us() - t0) / N;
    check(1, name, "%.2f us, %.1f times a native call", t, t / t0);
}

static void test_speed(void)
{
    struct plat_thread *th = guest_new(P(loop_call)), *c = NULL;
    double t;
    enum { N = 200 };

    measure("hand-over, trapped", th, 1000);
    allow_patching(th);
    measure("hand-over, patched", th, 1000);
    t = now_us();
    for (int i = 0; i < N; i++) {
        if (plat_clone_thread(th, &c) == 0)
            plat_thread_exit(c, 0);
    }
    check(1, "thread made and ended", "%.1f us", (now_us() - t) / N);
    t = now_us();
    for (int i = 0; i < N; i++) {
        if (plat_clone_space(th, &c) == 0) {
            (void)run_to_call(c, 1000);
            plat_thread_exit(c, 0);
        }
    }
    check(1, "fork, one call and end", "%.1f us", (now_us() - t) / N);
    plat_thread_exit(th, 0);
    t = now_us();
    for (int i = 0; i < 5 * N; i++) {
        th = guest_new(P(hello));
        (void)run_to_call(th, 1000);
        plat_thread_exit(th, 0);
    }
    check(1, "new space, one call and end", "%.1f us", (now_us() - t) / (5 * N));
}

/* For a profiler: `test long` */
static void test_long(void)
{
    struct plat_thread *th = guest_new(P(loop_call));
    double t;

    allow_patching(th);
    for (int round = 0; round < 10; round++) {
        t = now_us();
        for (int i = 0; i < 500000; i++)
            (void)run_to_call(th, 1000);
        printf("# %.3f us\n", (now_us() - t) / 500000);
    }
    plat_thread_exit(th, 0);
}

static const struct {
    const char *name;
    void (*fn)(void);
} tests[] = {
    {"hello", test_hello},
    {"memory", test_memory},
    {"fault", test_fault},
    {"tags", test_tags},
    {"same-file", test_same_file},
    {"fork", test_fork},
    {"fork_queued", test_fork_queued},
    {"fork_kill", test_fork_kill},
    {"dead", test_dead},
    {"interrupt", test_interrupt},
    {"threads", test_threads},
    {"clear_tid", test_clear_tid},
    {"fp", test_fp},
    {"identity", test_identity},
    {"futex", test_futex},
    {"patch_mov", test_patch_mov},
    {"patch_cmp", test_patch_cmp},
    {"storm", test_storm},
    {"stress", test_stress},
    {"ahead", test_ahead},
    {"donate", test_donate},
    {"hostile", test_hostile},
    {"vdso", test_vdso},
    {"speed", test_speed},
};

void run_tests(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (argc < 2 || !strcmp(argv[1], tests[i].name))
            tests[i].fn();
    if (argc > 1 && !strcmp(argv[1], "spaces"))
        for (int i = 0; i < 10000; i++) {
            struct plat_thread *th = guest_new(P(hello));

            (void)run_to_call(th, 1000);
            plat_thread_exit(th, 0);
        }
    if (argc > 1 && !strcmp(argv[1], "long"))
        test_long();
}
