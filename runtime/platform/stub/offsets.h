#pragma once
/* Offsets for the assembly; stub.h checks them. */
#define AREA_TRAMPOLINE 8
#define AREA_SLOT       16
#define AREA_RET        24
#define AREA_RIP        32
#define AREA_ENTRY2     40

#define SLOT_INTR 24 /* and trace: one word of 8 bytes */
#define SLOT_ID   176
#define SLOT_REGS 256

#define ID_PID  0
#define ID_TID  4
#define ID_PPID 8
#define ID_UID  12
#define ID_EUID 16
#define ID_GID  20
#define ID_EGID 24

#define REG_R15      0
#define REG_R14      8
#define REG_R13      16
#define REG_R12      24
#define REG_RBP      32
#define REG_RBX      40
#define REG_R11      48
#define REG_R10      56
#define REG_R9       64
#define REG_R8       72
#define REG_RAX      80
#define REG_RCX      88
#define REG_RDX      96
#define REG_RSI      104
#define REG_RDI      112
#define REG_ORIG_RAX 120
#define REG_RIP      128
#define REG_CS       136
#define REG_EFLAGS   144
#define REG_RSP      152
#define REG_SS       160
#define REG_FS_BASE  168
#define REG_GS_BASE  176
