/*
 * One block a system call: its conditional rules in the profile's order, then its unconditional one
 * or the default. A block ends the program, so that no value has to be kept across it. Numbers
 * above the last one known get ENOSYS where the default is an error: libc falls back on that alone.
 */
#include "runtime/sentry/control/seccomp_profile.h"

#include "common/cleanup.h"
#include "runtime/sentry/syscalls/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_MAX = 4096, RULES_MAX = 4096, BLOCK_ARGS_MAX = 6 };

struct rule {
    int nr;
    unsigned order; /* in the profile */
    uint32_t action;
    const json_t *args; /* NULL: unconditional */
};

struct program {
    struct sock_filter code[CODE_MAX];
    struct rule rules[RULES_MAX];
    unsigned n, n_rules;
    uint32_t fallback;
    struct error *err;
};

/* ---- names -------------------------------------------------------------------------------------
 */
static const struct syscall_row *g_by_name[SYSCALL_MAX];
static size_t g_n_names;

static int compare_rows(const void *a, const void *b)
{
    return strcmp((*(const struct syscall_row *const *)a)->name,
                  (*(const struct syscall_row *const *)b)->name);
}

static void sort_names(void)
{
    for (size_t i = 0; i < SYSCALL_MAX; i++)
        if (syscall_table[i].name)
            g_by_name[g_n_names++] = &syscall_table[i];
    qsort(g_by_name, g_n_names, sizeof(g_by_name[0]), compare_rows);
}

static int number_of(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct syscall_row key = {.name = name}, *wanted = &key;
    const struct syscall_row **found;

    (void)pthread_once(&once, sort_names);
    found = bsearch(&wanted, g_by_name, g_n_names, sizeof(g_by_name[0]), compare_rows);
    return found ? (int)(*found - syscall_table) : -1;
}

static const struct {
    const char *name;
    uint32_t action;
    bool data; /* errnoRet goes with it */
} actions[] = {
    {"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false},
    {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false},
    {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false},
    {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false},
    {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true},
    {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true},
    {"SCMP_ACT_LOG", SECCOMP_RET_LOG, false},
    {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false},
};

static int action_of(struct program *p, const char *name, const json_t *data, uint32_t *ret)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(actions); i++)
        if (strcmp(actions[i].name, name) == 0) {
            uint32_t v = json_is_integer(data) ? (uint32_t)json_integer_value(data) : EPERM;

            *ret = actions[i].action | (actions[i].data ? v & SECCOMP_RET_DATA : 0);
            return 0;
        }
    return error_set(p->err, -EOPNOTSUPP, "linux.seccomp: action '%.40s' is not supported",
                     name ? name : "");
}

/* ---- code --------------------------------------------------------------------------------------
 */
static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (p->n < CODE_MAX)
        p->code[p->n] = (struct sock_filter){code, jt, jf, k};
    p->n++;
}

#define LOAD(p, offset)      emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset), 0, 0)
#define ANSWER(p, action)    emit(p, BPF_RET | BPF_K, action, 0, 0)
#define TEST(p, op, k, t, f) emit(p, BPF_JMP | BPF_K | (op), (uint32_t)(k), t, f)

/* Jump targets that are known later: the end of the rule. */
enum { TO_FAIL = 255 };

/*
 * One 64-bit comparison; falls through if it holds.
 */
static void compare(struct program *p, unsigned arg, const char *op, uint64_t v, uint64_t mask)
{
    uint32_t hi = (uint32_t)(v >> 32), lo = (uint32_t)v;
    size_t low = offsetof(struct seccomp_data, args) + arg * 8UL;
    bool greater = strcmp(op, "GT") == 0 || strcmp(op, "GE") == 0;
    bool less = strcmp(op, "LT") == 0 || strcmp(op, "LE") == 0;
    uint16_t last = strcmp(op, "GT") == 0 || strcmp(op, "LE") == 0 ? BPF_JGT : BPF_JGE;

    LOAD(p, low + 4);
    if (mask != UINT64_MAX)
        emit(p, BPF_ALU | BPF_AND | BPF_K, (uint32_t)(mask >> 32), 0, 0);
    if (greater || less) {
        /* High words decide unless they are equal: then 2 instructions more. */
        TEST(p, BPF_JGT, hi, greater ? 3 : TO_FAIL, 0);
        TEST(p, BPF_JEQ, hi, 0, greater ? TO_FAIL : 2);
        LOAD(p, low);
        TEST(p, last, lo, greater ? 0 : TO_FAIL, greater ? TO_FAIL : 0);
        return;
    }
    if (strcmp(op, "NE") == 0) {
        TEST(p, BPF_JEQ, hi, 0, 2);
        LOAD(p, low);
        TEST(p, BPF_JEQ, lo, TO_FAIL, 0);
        return;
    }
    TEST(p, BPF_JEQ, hi, 0, TO_FAIL);
    LOAD(p, low);
    if (mask != UINT64_MAX)
        emit(p, BPF_ALU | BPF_AND | BPF_K, (uint32_t)mask, 0, 0);
    TEST(p, BPF_JEQ, lo, 0, TO_FAIL);
}

static uint64_t number(const json_t *o, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(o, name));
}

static int emit_condition(struct program *p, const json_t *arg)
{
    static const char *const ops[] = {"NE", "LT", "LE", "EQ", "GE", "GT"};
    const char *op = json_string_value(json_object_get(arg, "op"));
    uint64_t index = number(arg, "index");

    if (op && strncmp(op, "SCMP_CMP_", 9) == 0 && index < 6) {
        for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
            if (strcmp(ops[i], op + 9) == 0) {
                compare(p, (unsigned)index, ops[i], number(arg, "value"), UINT64_MAX);
                return 0;
            }
        if (strcmp(op + 9, "MASKED_EQ") == 0) {
            compare(p, (unsigned)index, "EQ", number(arg, "valueTwo"), number(arg, "value"));
            return 0;
        }
    }
    return error_set(p->err, -EINVAL, "linux.seccomp: condition '%.40s' on argument %llu",
                     op ? op : "", (unsigned long long)index);
}

/* All conditions must hold. */
static int emit_rule(struct program *p, const json_t *args, uint32_t action)
{
    unsigned start = p->n;
    size_t i;
    json_t *arg;

    json_array_foreach((json_t *)(uintptr_t)args, i, arg)
    {
        int r = emit_condition(p, arg);

        if (r < 0)
            return r;
    }
    ANSWER(p, action);
    for (unsigned at = start; at < p->n && p->n <= CODE_MAX; at++) {
        struct sock_filter *f = &p->code[at];
        uint8_t distance = (uint8_t)(p->n - at - 1);

        if (BPF_CLASS(f->code) != BPF_JMP)
            continue;
        f->jt = f->jt == TO_FAIL ? distance : f->jt;
        f->jf = f->jf == TO_FAIL ? distance : f->jf;
    }
    return 0;
}

/* All rules of one call; they stand together and in order. */
static int emit_block(struct program *p, unsigned first, unsigned end)
{
    uint32_t otherwise = p->fallback;
    unsigned skip;
    int r = 0;

    TEST(p, BPF_JEQ, p->rules[first].nr, 1, 0);
    skip = p->n;
    emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
    for (unsigned i = first; i < end && r == 0; i++) {
        if (p->rules[i].args)
            r = emit_rule(p, p->rules[i].args, p->rules[i].action);
        else
            otherwise = p->rules[i].action;
    }
    ANSWER(p, otherwise);
    if (skip < CODE_MAX)
        p->code[skip].k = p->n - skip - 1;
    return r;
}

static int compare_rules(const void *a, const void *b)
{
    const struct rule *x = a, *y = b;

    return x->nr != y->nr ? x->nr - y->nr : x->order < y->order ? -1 : 1;
}

/* ---- the profile -------------------------------------------------------------------------------
 */
static int add_rule(struct program *p, const char *name, uint32_t action, const json_t *args)
{
    int nr = name ? number_of(name) : -1;

    if (nr < 0)
        return 0;
    if (p->n_rules == RULES_MAX)
        return error_set(p->err, -E2BIG, "linux.seccomp: more than %d rules", RULES_MAX);
    if (json_array_size(args) > BLOCK_ARGS_MAX)
        return error_set(p->err, -EINVAL, "linux.seccomp: %s: more than %d conditions", name,
                         BLOCK_ARGS_MAX);
    p->rules[p->n_rules] =
        (struct rule){nr, p->n_rules, action, json_array_size(args) ? args : NULL};
    p->n_rules++;
    return 0;
}

static int add_entry(struct program *p, const json_t *entry)
{
    const json_t *args = json_object_get(entry, "args");
    const char *name = json_string_value(json_object_get(entry, "action"));
    uint32_t action = 0;
    size_t i;
    json_t *v;
    int r = action_of(p, name, json_object_get(entry, "errnoRet"), &action);

    json_array_foreach(json_object_get(entry, "names"), i, v)
    {
        if (r == 0)
            r = add_rule(p, json_string_value(v), action, args);
    }
    return r;
}

static int generate(struct program *p)
{
    unsigned first = 0;
    int r = 0;

    qsort(p->rules, p->n_rules, sizeof(p->rules[0]), compare_rules);
    LOAD(p, offsetof(struct seccomp_data, arch));
    TEST(p, BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
    ANSWER(p, SECCOMP_RET_KILL_PROCESS);
    LOAD(p, offsetof(struct seccomp_data, nr));
    for (unsigned i = 1; i <= p->n_rules && r == 0; i++)
        if (i == p->n_rules || p->rules[i].nr != p->rules[first].nr) {
            r = emit_block(p, first, i);
            first = i;
        }
    if ((p->fallback & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO && p->n_rules) {
        TEST(p, BPF_JGT, p->rules[p->n_rules - 1].nr, 0, 1);
        ANSWER(p, SECCOMP_RET_ERRNO | ENOSYS);
    }
    ANSWER(p, p->fallback);
    if (r == 0 && p->n > CODE_MAX)
        r = error_set(p->err, -E2BIG, "linux.seccomp: is longer than %d instructions", CODE_MAX);
    return r;
}

int seccomp_profile_compile(const json_t *profile, void **ret_filter, struct error *err)
{
    CLEANUP(free_ptr) struct program *p = calloc(1, sizeof(*p));
    const char *name = json_string_value(json_object_get(profile, "defaultAction"));
    size_t i;
    json_t *entry;
    int r;

    *ret_filter = NULL;
    if (!profile)
        return 0;
    if (!p)
        return error_errno(err, -ENOMEM, "linux.seccomp");
    p->err = err;
    if (json_object_get(profile, "listenerPath"))
        return error_set(err, -EOPNOTSUPP, "linux.seccomp.listenerPath: is not supported");
    r = action_of(p, name, json_object_get(profile, "defaultErrnoRet"), &p->fallback);
    json_array_foreach(json_object_get(profile, "syscalls"), i, entry)
    {
        if (r == 0)
            r = add_entry(p, entry);
    }
    if (r == 0)
        r = generate(p);
    if (r < 0)
        return r;
    *ret_filter = seccomp_new(p->code, p->n);
    return *ret_filter ? 0 : error_set(err, -EINVAL, "linux.seccomp: cannot be compiled");
}
