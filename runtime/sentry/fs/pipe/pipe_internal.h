#pragma once
/* A pipe, for the files of this folder. */
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/fs/pipe/ring.h"

struct pipe { /* guarded by lock unless noted */
    struct mutex lock;
    struct ring ring;
    unsigned readers, writers;            /* open files by mode */
    unsigned reader_opens, writer_opens;  /* ever: for blocking opens of fifos */
    unsigned files;                       /* that refer to us; 0: free */
    struct pipe **slot;                   /* a fifo's place in its inode; g_fifo_lock */
    struct waitq read_wait, write_wait;   /* pollers */
    struct waitq read_sleep, write_sleep; /* blocked readers and writers */
    struct waitq open_wait;
};
