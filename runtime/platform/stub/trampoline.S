/* Where patched call sites arrive. */
    .text
    .globl tramp_entry, tramp_check, tramp_end
tramp_entry:
    hlt
tramp_check:
tramp_end:

    .section .note.GNU-stack, "", @progbits
