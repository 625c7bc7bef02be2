#pragma once
/* A pipe, for the files of this folder. */
#include "runtime/sentry/fs/pipe/pipe.h"
#include "runtime/sentry/fs/pipe/ring.h"

/* What pipes larger than a page may take of the sentry's memory, all together: beyond it new ones
 * get a page, as Linux does by pipe-user-pages-soft. */
#define PIPES_SIZE_MAX (128UL << 20)
bool pipe_charge(size_t size);
void pipe_uncharge(size_t size);

struct pipe { /* guarded by lock unless noted */
    struct mutex lock;
    struct ring ring;
    size_t charged;
    unsigned readers, writers;            /* open files by mode */
    unsigned reader_opens, writer_opens;  /* ever: for blocking opens of fifos */
    unsigned files;                       /* that refer to us; 0: free */
    struct pipe **slot;                   /* a fifo's place in its inode; g_fifo_lock */
    struct waitq read_wait, write_wait;   /* pollers */
    struct waitq read_sleep, write_sleep; /* blocked readers and writers */
    struct waitq open_wait;
};
