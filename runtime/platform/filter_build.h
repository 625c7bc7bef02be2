#pragma once
/* Makes BPF of the table. Compiled once in the stub (without libc) and once in the sentry. */
#include "runtime/guard.h"
#include "runtime/platform/filter.h"
#include <linux/audit.h>
#include <linux/seccomp.h>

#define FILTER_ROW(nr, name, check, arg, value, value2, why)                                       \
    {nr, #name, check, arg, value, value2, why},

struct filter_out {
    struct sock_filter *p;
    unsigned n;
};

static inline void emit(struct filter_out *o, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
    o->p[o->n++] = (struct sock_filter){code, jt, jf, k};
}

enum {
    F_LOAD = BPF_LD | BPF_W | BPF_ABS,
    F_JEQ = BPF_JMP | BPF_JEQ | BPF_K,
    F_JGE = BPF_JMP | BPF_JGE | BPF_K,
    F_JSET = BPF_JMP | BPF_JSET | BPF_K,
    F_AND = BPF_ALU | BPF_AND | BPF_K,
    F_SUB = BPF_ALU | BPF_SUB | BPF_K,
    F_RET = BPF_RET | BPF_K,
    /* Jump targets that are known at the end only. */
    TO_NEXT = 0,
    TO_TRAP = 250,
    TO_ALLOW = 251,
    TO_KILL = 252,
};

static inline void emit_check(struct filter_out *o, const struct filter_rule *r, int last)
{
    uint8_t ok = last ? TO_ALLOW : TO_NEXT;

    emit(o, F_LOAD, 0, 0, (uint32_t)(16 + 8 * r->arg));
    switch (r->check) {
    case RULE_ANY:
        o->n--;
        break;
    case RULE_MASK:
        emit(o, F_JSET, TO_TRAP, ok, ~r->value);
        break;
    case RULE_EQUAL:
        if (r->value2 != r->value)
            emit(o, F_JEQ, TO_ALLOW, TO_NEXT, r->value2);
        emit(o, F_JEQ, ok, TO_TRAP, r->value);
        break;
    case RULE_BELOW:
        emit(o, F_JGE, TO_TRAP, ok, r->value);
        break;
    case RULE_NOT:
        emit(o, F_JEQ, TO_TRAP, TO_NEXT, r->value2);
        emit(o, F_JEQ, TO_TRAP, ok, r->value);
        break;
    case RULE_FUTEX:
        /* Without PRIVATE and CLOCK_REALTIME: 0..5 and 9, 10 are fine, 6..8 and 11.. are PI. */
        emit(o, F_AND, 0, 0, ~0x180U);
        emit(o, F_JGE, TO_TRAP, TO_NEXT, 11);
        emit(o, F_JGE, ok, TO_NEXT, 9);
        emit(o, F_JGE, TO_TRAP, ok, 6);
        break;
    }
}

static inline uint8_t resolve(uint8_t target, unsigned at, unsigned n)
{
    return target < TO_TRAP ? target : (uint8_t)(n - 3 + (target - TO_TRAP) - at - 1);
}

/* Whatever comes from outside of [base, base + size) is trapped. */
static inline void emit_origin(struct filter_out *o, uint64_t base, uint32_t size)
{
    emit(o, F_LOAD, 0, 0, 12); /* instruction_pointer, high */
    emit(o, F_JEQ, TO_NEXT, TO_TRAP, (uint32_t)(base >> 32));
    emit(o, F_LOAD, 0, 0, 8);
    emit(o, F_SUB, 0, 0, (uint32_t)base);
    emit(o, F_JGE, TO_TRAP, TO_NEXT, size);
}

/*
 * Builds the program for a stub whose code lies at [base, base + size). Returns its length. `out`
 * has room for FILTER_MAX. `unguarded`: what a test build leaves out.
 */
static inline unsigned filter_build_body(const struct filter_rule *rules, unsigned n_rules,
                                         uint64_t base, uint32_t size, unsigned long unguarded,
                                         struct sock_filter *out)
{
    struct filter_out o = {out, 0};
    unsigned n;

    emit(&o, F_LOAD, 0, 0, 4); /* arch */
    emit(&o, F_JEQ, TO_NEXT, TO_KILL, AUDIT_ARCH_X86_64);
    if (GUARDED_IN(unguarded, STUB_ORIGIN))
        emit_origin(&o, base, size);
    emit(&o, F_LOAD, 0, 0, 0); /* nr */
    for (unsigned i = 0; i < n_rules; i += n) {
        unsigned at = o.n;

        n = 1;
        while (i + n < n_rules && rules[i + n].nr == rules[i].nr)
            n++;
        emit(&o, F_JEQ, rules[i].check == RULE_ANY ? TO_ALLOW : TO_NEXT, TO_NEXT,
             (uint32_t)rules[i].nr);
        if (rules[i].check == RULE_ANY)
            continue;
        for (unsigned j = 0; j < n; j++)
            emit_check(&o, &rules[i + j], j == n - 1);
        out[at].jf = (uint8_t)(o.n - at - 1);
    }
    if (!GUARDED_IN(unguarded, STUB_FILTER))
        emit(&o, F_JEQ, TO_TRAP, TO_ALLOW, STUB_TRAP_NR);
    n = o.n + 3;
    emit(&o, F_RET, 0, 0, SECCOMP_RET_TRAP);
    emit(&o, F_RET, 0, 0, SECCOMP_RET_ALLOW);
    emit(&o, F_RET, 0, 0, SECCOMP_RET_KILL_PROCESS);
    for (unsigned i = 0; i < n; i++) {
        if (BPF_CLASS(out[i].code) != BPF_JMP)
            continue;
        out[i].jt = resolve(out[i].jt, i, n);
        out[i].jf = resolve(out[i].jf, i, n);
    }
    return n;
}
