#pragma once
struct mm;
struct plat_thread;
/* Lets the platform patch call sites in this address space (platform.h, plat_patch_hooks). */
void mm_allow_patching(struct mm *mm, struct plat_thread *th);
