#pragma once
/* Scope-bound ownership: `CLEANUP(close_fd) int fd = -1;`, handed on by TAKE_FD / TAKE_PTR. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn)           __attribute__((cleanup(fn)))
#define ARRAY_SIZE(a)         (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)             ((a) < (b) ? (a) : (b))
#define MAX(a, b)             ((a) > (b) ? (a) : (b))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static inline void free_ptr(void *p)
{
    free(*(void **)p);
    *(void **)p = NULL;
}

static inline void close_file(FILE **f)
{
    if (*f)
        (void)fclose(*f);
    *f = NULL;
}

static inline void close_dir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
    *d = NULL;
}

static inline int take_fd(int *fd)
{
    int v = *fd;

    *fd = -1;
    return v;
}

#define TAKE_FD(fd) take_fd(&(fd))
#define TAKE_PTR(ptr)                                                                              \
    ({                                                                                             \
        __typeof__(ptr) take_v_ = (ptr);                                                           \
        (ptr) = NULL;                                                                              \
        take_v_;                                                                                   \
    })
