#pragma once
/* Vector state: what a signal frame holds against what debuggers and core files hold. */
#include <stddef.h>
#include <stdint.h>

/* Turns plat_fp_get's frame into the layout of NT_X86_XSTATE, in place: its size. The first 512
 * bytes are NT_PRFPREG's. */
size_t xstate_of_frame(uint8_t *frame);
