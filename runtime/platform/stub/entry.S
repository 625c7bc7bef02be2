/*
 * Entry of the zygote, and the few instruction sequences whose addresses matter: the signal handler
 * moves an instruction pointer that it finds inside of them.
 */
#include "runtime/platform/stub/offsets.h"

    .text
    .globl _start
_start:
    xor %ebp, %ebp
    mov %rsp, %rdi
    and $-16, %rsp
    call zygote_main
    hlt

    .globl stub_restorer
stub_restorer:
    mov $15, %eax
    syscall
    hlt

/* A call that no filter allows: the handler finds this address and takes the frame over. */
    .globl stub_trap, stub_trap_ip
stub_trap:
    mov $0x3fffffff, %eax
    syscall
stub_trap_ip:
    hlt

/* long stub_copy(dst, src, n): a fault at the instruction continues at stub_copy_fault. */
    .globl stub_copy, stub_copy_insn, stub_copy_fault
stub_copy:
    mov %rdx, %rcx
stub_copy_insn:
    rep movsb
    xor %eax, %eax
    ret
stub_copy_fault:
    mov $-14, %eax
    cltq
    ret

/* long stub_string(dst, src, n) */
    .globl stub_string, stub_string_insn, stub_string_fault
stub_string:
    xor %eax, %eax
1:  cmp %rdx, %rax
    jae stub_string_fault
stub_string_insn:
    movzbl (%rsi,%rax), %ecx
    mov %cl, (%rdi,%rax)
    inc %rax
    test %cl, %cl
    jnz 1b
stub_string_fault:
    ret

/* long stub_cmpxchg(at, old, new): what the 32-bit word at `at` was, or -EFAULT */
    .globl stub_cmpxchg, stub_cmpxchg_insn, stub_cmpxchg_fault
stub_cmpxchg:
    mov %esi, %eax
stub_cmpxchg_insn:
    lock cmpxchg %edx, (%rdi)
    ret
stub_cmpxchg_fault:
    mov $-14, %rax
    ret

/* stub_resume(uc, slot): the last look at `intr` and the way back are one restartable sequence. */
    .globl stub_resume, resume_check, resume_end
stub_resume:
resume_check:
    cmpl $0, SLOT_INTR(%rsi)
    jne 1f
    mov %rdi, %rsp
    mov $15, %eax
    syscall
resume_end:
1:  mov %rdi, %rsp
    and $-16, %rsp
    call stub_interrupted
    hlt

/* stub_futex(slot, uaddr, op, val, timeout, uaddr2, val3, nr): futex, or one like it. A signal before the
   call breaks it off. */
    .globl stub_futex, futex_check, futex_end, futex_broken
stub_futex:
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 16(%rsp), %r9
    mov 24(%rsp), %eax
futex_check:
    cmpl $0, SLOT_INTR(%rbx)
    jne futex_broken
    syscall
futex_end:
    pop %rbx
    ret
futex_broken:
    mov $-4, %rax
    pop %rbx
    ret

/* long stub_clone(flags, stack, child_tid, uc): the child starts in stub_thread_start(uc). */
    .globl stub_clone
stub_clone:
    push %rbx
    mov %rcx, %rbx
    mov %rdx, %r10
    xor %edx, %edx
    xor %r8d, %r8d
    mov $56, %eax
    syscall
    test %rax, %rax
    jnz 1f
    mov %rbx, %rdi
    xor %ebp, %ebp
    call stub_thread_start
    hlt
1:  pop %rbx
    ret

/* stub_enter(entry, boot, stack) */
    .globl stub_enter
stub_enter:
    mov %rdx, %rsp
    mov %rdi, %rax
    mov %rsi, %rdi
    xor %ebp, %ebp
    call *%rax
    hlt

    .globl memcpy, memset
memcpy:
    mov %rdi, %rax
    mov %rdx, %rcx
    rep movsb
    ret
memset:
    mov %rdi, %r8
    mov %esi, %eax
    mov %rdx, %rcx
    rep stosb
    mov %r8, %rax
    ret

    .section .note.GNU-stack, "", @progbits
