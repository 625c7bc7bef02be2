#pragma once
/*
 * Plays the sentry: a process in its own user and pid namespaces, a zygote in a nested pid
 * namespace, and guest code that is copied in as machine code.
 */
#include "runtime/platform/platform.h"

enum { CODE = 0x400000, DATA = 0x500000, STACK = 0x600000, MAP_BYTES = 0x10000 };

extern struct plat *plat;

void check(int ok, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A fresh space with CODE, DATA and STACK mapped and the bytes [start, end) at CODE. */
struct plat_thread *guest_new(const char *start, const char *end);
/* plat_run until an event that is not an expected one; aborts the test with a message otherwise. */
void run_to(struct plat_thread *th, enum plat_event event, struct plat_exit *ret);
/* plat_run to a system call of this number. */
struct plat_regs *run_to_call(struct plat_thread *th, long nr);
double now_us(void);
