/* Guest programs, position independent, copied to CODE. */
    .section .rodata
    .macro program name
    .globl guest_\name, guest_\name\()_end
guest_\name:
    .endm

program hello               /* two calls: 1000(1,2,3,4,5,6), then exit_group */
    mov $1000, %eax
    mov $1, %edi
    mov $2, %esi
    mov $3, %edx
    mov $4, %r10d
    mov $5, %r8d
    mov $6, %r9d
    mov $0x1234567890, %rbx
    syscall
    mov %rax, %rdi
    mov $231, %eax
    syscall
guest_hello_end:

program loop_call           /* forever: call 1000 by mov;syscall */
1:  mov $1000, %eax
    syscall
    jmp 1b
guest_loop_call_end:

program loop_cmp            /* forever: call rbx by syscall;cmp */
1:  mov %ebx, %eax
    syscall
    cmp $-4096, %rax
    ja 2f
    jmp 1b
2:  mov $231, %eax
    syscall
guest_loop_cmp_end:

program loop_getppid        /* r12 times getppid, then call 1001 */
1:  mov $110, %eax
    syscall
    dec %r12
    jnz 1b
    mov %rax, %rdi
    mov $1001, %eax
    syscall
    mov $1000, %r12d
    jmp 1b
guest_loop_getppid_end:

program spin                /* touches DATA forever */
    mov $0x500000, %ebx
1:  incq (%rbx)
    jmp 1b
guest_spin_end:

program fault               /* reads address 0x10 */
    mov 0x10, %rax
    hlt
guest_fault_end:

program fp                  /* xmm0, ymm1 and zmm31-free pattern over a call */
    mov $0x1122334455667788, %rax
    movq %rax, %xmm0
    movq %rax, %xmm7
    mov $1000, %eax
    syscall
    movq %xmm0, %rdi
    movq %xmm7, %rsi
    mov $1002, %eax
    syscall
    jmp guest_fp
guest_fp_end:

program futex_wait          /* futex(DATA, WAIT|PRIVATE, 0, NULL), then 1003(result) */
1:  mov $202, %eax
    mov $0x500000, %edi
    mov $128, %esi
    xor %edx, %edx
    xor %r10d, %r10d
    syscall
    mov %rax, %rdi
    mov $1003, %eax
    syscall
    jmp 1b
guest_futex_wait_end:

program futex_wake          /* store 1 to DATA, futex(DATA, WAKE|PRIVATE, 1), then 1004(result) */
    mov $0x500000, %edi
    movl $1, (%rdi)
    mov $202, %eax
    mov $129, %esi
    mov $1, %edx
    syscall
    mov %rax, %rdi
    mov $1004, %eax
    syscall
    jmp guest_futex_wake
guest_futex_wake_end:

program evil                /* jumps to rbx with rax = nr: plays hostile code */
    jmp *%rbx
guest_evil_end:

program clock               /* calls the function at rbx (a vDSO symbol) with (0, DATA), then 1005 */
    xor %edi, %edi
    mov $0x500000, %esi
    call *%rbx
    mov %rax, %rdi
    mov $1005, %eax
    syscall
guest_clock_end:

    .balign 16
program mix                 /* r15: who am I. Calls of all kinds; ud2 if an answer is not mine */
1:  mov $1000, %eax
    syscall
    cmp %r15, %rax
    jne 3f
    mov $202, %ebx
    mov $0x500000, %edi
    mov $129, %esi
    mov $1, %edx
    call 2f
    mov $1001, %ebx
    mov %r15, %rdi
    call 2f
    cmp %r15, %rax
    jne 3f
    mov $39, %ebx
    call 2f
    cmp $10, %eax
    jne 3f
    mov %r15, %rdi
    jmp 1b
3:  ud2
    .balign 64
    .skip 59, 0x90          /* the sites cross fetch blocks and cache lines */
2:  mov %ebx, %eax
    syscall
    cmp $-4096, %rax
    ja 3b
    ret
guest_mix_end:

    .section .note.GNU-stack, "", @progbits
