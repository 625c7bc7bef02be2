/* /proc/PID files that look into memory: cmdline, environ, auxv, maps, smaps, mem. */
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/mm/mm.h"
#include "runtime/sentry/mm/trace_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { STRINGS_MAX = 1 << 20, CHUNK = 4096 };

/* Appends memory of w from start to end; stops silently where it can't be read. */
static int append_memory(struct task *task, uint64_t start, uint64_t end, struct buf *out)
{
    char chunk[CHUNK];

    if (end - start > STRINGS_MAX)
        end = start + STRINGS_MAX;
    while (start < end) {
        ssize_t got = mm_access(task, start, chunk, MIN(end - start, sizeof(chunk)), false);

        if (got <= 0)
            break;
        if (buf_append(out, chunk, (size_t)got) < 0)
            return -ENOMEM;
        start += (uint64_t)got;
    }
    return 0;
}

struct strings {
    uint64_t arg_start, arg_end, env_start, env_end;
};

static bool strings_of(struct task *task, struct strings *s)
{
    struct mm *mm = proc_mm(task);

    if (!mm)
        return false;
    mutex_lock(&mm->lock);
    *s = (struct strings){mm->arg_start, mm->arg_end, mm->env_start, mm->env_end};
    mutex_unlock(&mm->lock);
    mm_put(mm);
    return s->arg_start && s->arg_start <= s->arg_end;
}

SHOW(proc_show_cmdline)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct strings s;
    int r = proc_target(t, n, false, &w);

    if (r < 0)
        return r;
    if (!strings_of(w.task, &s))
        return 0;
    r = append_memory(w.task, s.arg_start, s.arg_end, out);
    if (r < 0 || !out->size || !out->data[out->size - 1])
        return r;
    /* setproctitle(): a title that overwrote the final NUL goes on in the environment. */
    if (s.env_start == s.arg_end && s.env_start <= s.env_end)
        r = append_memory(w.task, s.env_start, s.env_end, out);
    if (r == 0)
        out->size = strnlen(out->data, out->size);
    return r;
}

SHOW(proc_show_environ)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct strings s;
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    if (!strings_of(w.task, &s) || s.env_start > s.env_end)
        return 0;
    return append_memory(w.task, s.env_start, s.env_end, out);
}

SHOW(proc_show_auxv)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct mm *mm;
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mm = proc_mm(w.task);
    if (!mm)
        return 0;
    mutex_lock(&mm->lock);
    r = buf_append(out, mm->auxv,
                   MIN(mm->n_auxv, (unsigned)ARRAY_SIZE(mm->auxv)) * sizeof(uint64_t));
    mutex_unlock(&mm->lock);
    mm_put(mm);
    return r;
}

static int show_maps(struct task *t, struct pseudo_node *n, struct buf *out, bool smaps)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct mm *mm;
    int r = proc_target(t, n, true, &w);

    if (r < 0)
        return r;
    mm = proc_mm(w.task);
    if (!mm)
        return 0;
    r = mm_show_maps(t, w.task, out, smaps);
    mm_put(mm);
    return r;
}

SHOW(proc_show_maps)
{
    return show_maps(t, n, out, false);
}

SHOW(proc_show_smaps)
{
    return show_maps(t, n, out, true);
}

/* Adds up the "Name:  N kB" lines of smaps. */
SHOW(proc_show_smaps_rollup)
{
    static const char *const keys[] = {"Rss",           "Pss",           "Shared_Clean",
                                       "Shared_Dirty",  "Private_Clean", "Private_Dirty",
                                       "Referenced",    "Anonymous",     "LazyFree",
                                       "AnonHugePages", "Swap",          "Locked"};
    CLEANUP(buf_fini) struct buf smaps = BUF_INIT;
    unsigned long sums[ARRAY_SIZE(keys)] = {0};
    char *save = NULL;
    int r = show_maps(t, n, &smaps, true);

    if (r < 0 || !smaps.size)
        return r;
    for (char *line = strtok_r(smaps.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
            size_t len = strlen(keys[i]);

            if (strncmp(line, keys[i], len) == 0 && line[len] == ':')
                sums[i] += strtoul(line + len + 1, NULL, 10);
        }
    (void)buf_puts(out, "00400000-7fffffffffff ---p 00000000 00:00 0                  [rollup]\n");
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
        (void)buf_printf(out, "%s:%*lu kB\n", keys[i], 23 - (int)strlen(keys[i]), sums[i]);
    return 0;
}

/* ---- mem ------------------------------------------------------------------------------------- */
static ssize_t mem_move(struct task *t, struct file *f, struct uio *u, int64_t *pos, bool write)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    char chunk[CHUNK];
    ssize_t done = 0;
    int r = proc_target(t, pseudo_node_of_file(f), true, &w);

    if (r < 0)
        return r == -ESRCH ? 0 : r; /* its memory is gone, and with it what there is to read */
    while (u->left) {
        size_t size = MIN(u->left, sizeof(chunk) - ((uint64_t)*pos & (CHUNK - 1)));
        ssize_t n = write ? uio_copy_from(u, chunk, size) : (ssize_t)size;

        if (n > 0)
            n = trace_memory(t, w.task, (uint64_t)*pos, chunk, (size_t)n, write);
        else
            n = -EFAULT;
        if (n > 0 && !write)
            n = uio_copy_to(u, chunk, (size_t)n);
        if (n <= 0)
            return done ? done : -EIO;
        done += n;
        *pos += n;
    }
    return done;
}

static ssize_t mem_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    return mem_move(t, f, u, pos, false);
}

static ssize_t mem_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
    return mem_move(t, f, u, pos, true);
}

static int64_t mem_seek(struct task *t, struct file *f, int64_t offset, int whence)
{
    (void)t;
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return -EINVAL;
    f->pos = whence == SEEK_CUR ? f->pos + offset : offset;
    return f->pos;
}

const struct file_ops proc_mem_ops = {.read = mem_read, .write = mem_write, .seek = mem_seek};
