#pragma once
/*
 * Protections that tests/escape switches off, one at a time, to see the attack that each one stops
 * succeed. Only a build that is made for that alone (`make unguarded`) can do so; in any other,
 * GUARDED() is true at compile time and nothing of this is left in the program. Only the .c files
 * that include this are made anew for that build (runtime/platform/module.mk), so no structure may
 * depend on it.
 */
#define GUARDS(X)                                                                                  \
    X(STUB_ORIGIN, "stub-origin", "calls from outside of the stub's code are trapped")             \
    X(STUB_FILTER, "stub-filter", "the stub's code may make a few calls only")                     \
    X(SLOT_SEAL, "slot-seal", "the memory shared with a stub is sealed against shrinking")         \
    X(SLOT_WORDS, "slot-words", "what a stub writes is checked before it is used")                 \
    X(LATE_ANSWERS, "late-answers", "who owes an answer for too long is killed")                   \
    X(POINTERS, "pointers", "a guest's address is never one of the sentry's")                      \
    X(ELF_COUNTS, "elf-counts", "an image's counts are checked before its tables are read")        \
    X(OPEN_FILES, "open-files", "descriptors of a process are limited")                            \
    X(MESSAGE_SIZES, "message-sizes", "control messages lie within what was sent")                 \
    X(WALK_ROOT, "walk-root", "no walk goes above a process's root")                               \
    X(GOFER_LINKS, "gofer-links", "the gofer follows no link")                                     \
    X(GOFER_ROOT, "gofer-root", "the gofer's root and Landlock hold the container's mounts only")  \
    X(SENTRY_ROOT, "sentry-root", "the sentry's root is empty")                                    \
    X(SENTRY_FILTER, "sentry-filter", "the sentry may make a few calls only")                      \
    X(GOFER_FILTER, "gofer-filter", "the gofer may make a few calls only")                         \
    X(CALLER_DEATH, "caller-death", "a sandbox ends with the program that runs it")                \
    X(FAIL_STOP, "fail-stop", "a fault of the sentry is reported, and ends it")                    \
    X(KNOWN_RECALL, "known-recall", "what is told of a file ahead is taken back when it changes")  \
    X(WATCH_DROP, "watch-drop", "watches told ahead are dropped when a number changes its file")

enum guard {
#define X(id, name, what) GUARD_##id,
    GUARDS(X)
#undef X
        GUARD_COUNT,
};

#ifdef BERM_TEST_UNGUARDED
#include <stdbool.h>
/* The process that has this role is taken over here, if the test asks for it
 * (tests/escape/taken.c): `install` puts the filter, a struct sock_fprog, into force. */
void taken_over(const char *role, int (*install)(const void *), const void *filter, bool guarded);
/* A set of guards by number that the caller hands to a program without libc. */
unsigned long unguarded_set(void);
#define GUARDED(id)         (!(unguarded_set() >> GUARD_##id & 1))
#define GUARDED_IN(set, id) (!((set) >> GUARD_##id & 1))
#define UNGUARDED_SET()     unguarded_set()
#else
#define GUARDED(id)         1
#define GUARDED_IN(set, id) ((void)(set), 1)
#define UNGUARDED_SET()     0UL
#endif
