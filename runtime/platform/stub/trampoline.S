/*
 * Where patched call sites arrive, by a jump from their thunk: rcx is where to go on; rcx and r11
 * are the call's to destroy, and the flags are given up (no compiler keeps them over a system
 * call). No vector register and not the guest's stack is touched.
 *
 * A signal finds the instruction pointer here: between tramp_local and tramp_local_jump it starts
 * over at the first, between tramp_check and tramp_end as well (handler.c).
 */
#include "runtime/platform/stub/offsets.h"

    .text
    .globl tramp_entry, tramp_entry2, tramp_local, tramp_local_jump, tramp_check, tramp_end

    .balign 64
tramp_entry2:                       /* shape 2: what the guest sees as rip lies before the tail */
    mov -8(%rcx), %r11
    jmp 1f
    .balign 64
tramp_entry:
    mov %rcx, %r11
1:  mov %rcx, %gs:AREA_RET
    mov %r11, %gs:AREA_RIP
    mov %eax, %eax
    cmp $187, %eax
    jae tramp_hand
tramp_local:
    lea local_table(%rip), %r11
    movzbl (%r11,%rax), %r11d
    test %r11d, %r11d
    jz tramp_hand
    mov %gs:AREA_SLOT, %rcx
    cmpq $0, SLOT_INTR(%rcx)        /* intr and trace */
    jne tramp_hand
    mov (%rcx,%r11), %r11d
    mov %gs:AREA_RET, %rcx
    mov %r11d, %eax
tramp_local_jump:
    jmp *%rcx

tramp_hand:
    mov %gs:AREA_SLOT, %r11
    mov %r15, SLOT_REGS+REG_R15(%r11)
    mov %r14, SLOT_REGS+REG_R14(%r11)
    mov %r13, SLOT_REGS+REG_R13(%r11)
    mov %r12, SLOT_REGS+REG_R12(%r11)
    mov %rbp, SLOT_REGS+REG_RBP(%r11)
    mov %rbx, SLOT_REGS+REG_RBX(%r11)
    mov %r10, SLOT_REGS+REG_R10(%r11)
    mov %r9,  SLOT_REGS+REG_R9(%r11)
    mov %r8,  SLOT_REGS+REG_R8(%r11)
    mov %rdx, SLOT_REGS+REG_RDX(%r11)
    mov %rsi, SLOT_REGS+REG_RSI(%r11)
    mov %rdi, SLOT_REGS+REG_RDI(%r11)
    mov %rsp, SLOT_REGS+REG_RSP(%r11)
    mov %gs:0, %rsp
    mov %rsp, %rdi
    add $-128, %rsp
    pushfq
    pop %rcx
    mov %rcx, SLOT_REGS+REG_EFLAGS(%r11)
    cld
    mov %rax, %rsi
    call tramp_call
2:  test %eax, %eax
    jnz stub_trap                   /* the frame of the trap brings all registers */

tramp_check:
    mov %gs:AREA_SLOT, %r11
    cmpl $0, SLOT_INTR(%r11)
    jne 3f
    mov SLOT_REGS+REG_R10(%r11), %r10
    mov SLOT_REGS+REG_R9(%r11), %r9
    mov SLOT_REGS+REG_R8(%r11), %r8
    mov SLOT_REGS+REG_RDX(%r11), %rdx
    mov SLOT_REGS+REG_RSI(%r11), %rsi
    mov SLOT_REGS+REG_RDI(%r11), %rdi
    mov SLOT_REGS+REG_RAX(%r11), %rax
    mov SLOT_REGS+REG_RSP(%r11), %rsp
    mov %gs:AREA_RET, %rcx
    mov SLOT_REGS+REG_EFLAGS(%r11), %r11
    jmp *%rcx
tramp_end:

3:  mov %gs:0, %rsp
    mov %rsp, %rdi
    add $-128, %rsp
    call tramp_interrupted
    jmp 2b

    .section .rodata
    .balign 64
    .globl local_table
local_table:                        /* system call number: offset of the answer in the slot */
    .macro answer nr, field
    .org local_table + \nr
    .byte SLOT_ID + \field
    .endm
    answer 39,  ID_PID
    answer 102, ID_UID
    answer 104, ID_GID
    answer 107, ID_EUID
    answer 108, ID_EGID
    answer 110, ID_PPID
    answer 186, ID_TID

    .section .note.GNU-stack, "", @progbits
