/*
 * Build-time generator: turns the tables runtime/security/(role)_calls.def into constant classic
 * BPF by libseccomp, as C initialisers on standard output. Nothing of libseccomp is left at run
 * time.
 */
#include "runtime/security/calls.h"

#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/filter.h>

static void die(const char *what, const char *call, int code)
{
    fprintf(stderr, "generate filters: %s %s: error %d\n", what, call, code);
    exit(1);
}

static void print_program(const char *role, scmp_filter_ctx ctx)
{
    int fd = memfd_create("filter", 0);
    struct sock_filter insn;
    unsigned n = 0;
    int r = seccomp_export_bpf(ctx, fd);

    if (fd < 0 || r < 0)
        die("export", role, r);
    (void)lseek(fd, 0, SEEK_SET);
    printf("static const struct sock_filter filter_%s[] = {\n", role);
    for (; read(fd, &insn, sizeof(insn)) == (ssize_t)sizeof(insn); n++)
        printf("    {0x%04x, %u, %u, 0x%08x},\n", insn.code, insn.jt, insn.jf, insn.k);
    printf("}; /* %u instructions */\n", n);
    (void)close(fd);
}

static void add(scmp_filter_ctx ctx, uint32_t action, const char *call, unsigned n_args,
                const struct scmp_arg_cmp *args)
{
    int nr = seccomp_syscall_resolve_name(call), r;

    if (nr < 0)
        die("unknown call", call, nr);
    r = seccomp_rule_add_array(ctx, action, nr, n_args, args);
    if (r < 0)
        die("rule", call, r);
}

static scmp_filter_ctx begin(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);

    /* 2: a binary tree. When a filter is installed, the kernel tries it on every system call there
     * is. */
    if (!ctx || seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0 ||
        seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
        die("init", "", 0);
    return ctx;
}

#define EQ(arg, value) SCMP_CMP64(arg, SCMP_CMP_EQ, (uint64_t)(value))
#define LE(arg, value) SCMP_CMP64(arg, SCMP_CMP_LE, (uint64_t)(value))
#define BITS(arg, mask, value)                                                                     \
    SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint64_t)(mask), (uint64_t)(value))
#define COUNT(...)       (sizeof((struct scmp_arg_cmp[]){__VA_ARGS__}) / sizeof(struct scmp_arg_cmp))
#define ALLOW(name, why) add(ctx, SCMP_ACT_ALLOW, #name, 0, NULL);
#define ALLOW_IF(name, why, ...)                                                                   \
    add(ctx, SCMP_ACT_ALLOW, #name, COUNT(__VA_ARGS__), (struct scmp_arg_cmp[]){__VA_ARGS__});
#define REFUSE(name, code, why) add(ctx, SCMP_ACT_ERRNO(code), #name, 0, NULL);

static void generate_sentry(void)
{
    scmp_filter_ctx ctx = begin();

#include "runtime/security/sentry_calls.def"
    print_program("sentry", ctx);
    seccomp_release(ctx);
}

static void generate_gofer(void)
{
    scmp_filter_ctx ctx = begin();

#include "runtime/security/gofer_calls.def"
    print_program("gofer", ctx);
    seccomp_release(ctx);
}

static void generate_monitor(void)
{
    scmp_filter_ctx ctx = begin();

#include "runtime/security/monitor_calls.def"
    print_program("monitor", ctx);
    seccomp_release(ctx);
}

static void generate_broker(void)
{
    scmp_filter_ctx ctx = begin();

#include "runtime/security/broker_calls.def"
    print_program("broker", ctx);
    seccomp_release(ctx);
}

int main(void)
{
    printf("/* Generated from runtime/security/(role)_calls.def. */\n#include <linux/filter.h>\n");
    generate_sentry();
    generate_gofer();
    generate_monitor();
    generate_broker();
    return 0;
}
