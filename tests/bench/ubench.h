#pragma once
/* Rows of the benchmark of basic operations: each does its operation n times. */
#include <stddef.h>

/* The program itself, and a file of 128 KiB beside it: both of the image. */
extern const char *ub_self, *ub_data;
extern char ub_buf[65536];

double ub_now(void); /* microseconds */
void ub_die(const char *what) __attribute__((noreturn));

#define UB_FILE_ROWS(X)                                                                            \
    X(getpid, 20000)                                                                               \
    X(getppid, 20000)                                                                              \
    X(umask, 20000)                                                                                \
    X(fstat, 10000)                                                                                \
    X(stat, 5000)                                                                                  \
    X(open_close, 3000)                                                                            \
    X(open_enoent, 3000)                                                                           \
    X(pread_1, 5000)                                                                               \
    X(pread_4k, 5000)                                                                              \
    X(pread_64k, 2000)                                                                             \
    X(pread_image_1, 5000)                                                                         \
    X(pread_image_4k, 5000)                                                                        \
    X(pread_image_64k, 2000)                                                                       \
    X(read_image_4k, 5000)                                                                         \
    X(pwrite_1, 5000)                                                                              \
    X(pwrite_4k, 5000)                                                                             \
    X(pwrite_64k, 2000)                                                                            \
    X(rootfs_pwrite_4k, 5000)                                                                      \
    X(rootfs_pread_4k, 5000)                                                                       \
    X(read_zero, 5000)                                                                             \
    X(create_unlink, 500)                                                                          \
    X(pipe_1, 5000)                                                                                \
    X(pipe_4k, 5000)                                                                               \
    X(socketpair_1, 5000)                                                                          \
    X(epoll_wait_0, 5000)                                                                          \
    X(epoll_pipe, 3000)
#define UB_PROC_ROWS(X)                                                                            \
    X(mmap_touch_munmap, 2000)                                                                     \
    X(mmap_threads, 2000)                                                                          \
    X(fault_anon, 4000)                                                                            \
    X(fault_file, 4000)                                                                            \
    X(thread_create_join, 200)                                                                     \
    X(fork_wait, 50)                                                                               \
    X(fork_exec_wait, 30)                                                                          \
    X(spawn_exec_wait, 30)                                                                         \
    X(pingpong_pipe, 1000)                                                                         \
    X(pingpong_futex, 1000)                                                                        \
    X(pingpong_tcp, 500)                                                                           \
    X(cpu_loop, 5000)

#define UB_DECLARE(name, n) void ub_##name(long n_times);
UB_FILE_ROWS(UB_DECLARE)
UB_PROC_ROWS(UB_DECLARE)
#undef UB_DECLARE
