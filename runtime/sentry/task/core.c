/*
 * Writes a core file: notes (core_notes.c), then the mappings that the process's filter names
 * (/proc/PID/coredump_filter; by default anonymous ones, private ones of files that were written
 * to, and the first page of programs). Pages of zeros
 * are left out as holes. The dying thread does it alone: the others have left what they know of
 * their registers. RLIMIT_CORE cuts it off.
 */
#include "runtime/sentry/task/core.h"

#include "common/cleanup.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/core_notes.h"
#include "runtime/sentry/vfs/ops.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { PAGE = 4096, CORE_MIN = PAGE, CHUNK = 65536, CORE_FLAG = 0x80, SEGMENTS_MAX = 65534 };

struct core {
    struct list threads; /* struct core_thread; tasks_lock */
};

bool core_begin_locked(struct task *t, int sig)
{
    struct process *p = t->process;

    if (p->group_exit || p->core || !(l_sigmask(sig) & SIGMASK_CORE) || !t->mm->dumpable ||
        task_rlimit(t, RLIMIT_CORE) < CORE_MIN)
        return false;
    p->core = calloc(1, sizeof(*p->core));
    if (p->core)
        list_init(&p->core->threads);
    return p->core;
}

void core_thread_leaves(struct task *t)
{
    struct core_thread *c = core_thread_new(t);

    if (!c)
        return;
    mutex_lock(&g_tasks_lock);
    list_append(&t->process->core->threads, &c->link);
    mutex_unlock(&g_tasks_lock);
}

/* As task_kill_siblings: whoever leaves wakes exec_by. */
static void await_others(struct task *t)
{
    struct process *p = t->process;

    mutex_lock(&g_tasks_lock);
    p->exec_by = t;
    while (p->n_threads > 1) {
        task_sleep_begin(t);
        mutex_unlock(&g_tasks_lock);
        task_sleep_uninterruptible(t);
        mutex_lock(&g_tasks_lock);
    }
    p->exec_by = NULL;
    mutex_unlock(&g_tasks_lock);
}

/* ---- what goes into it ------------------------------------------------------------------------
 */
static bool is_elf(struct task *t, const struct vma *v)
{
    char magic[SELFMAG];

    return v->offset == 0 && (v->prot & PROT_READ) &&
           plat_read(t->th, v->start, magic, sizeof(magic)) == (ssize_t)sizeof(magic) &&
           memcmp(magic, ELFMAG, SELFMAG) == 0;
}

static bool is_nameless(struct task *t, struct file *f)
{
    struct stat st;

    return vfs_stat_file(t, f, &st) == 0 && st.st_nlink == 0;
}

/* core(5), "Controlling which mappings are written". */
static uint64_t bytes_wanted(struct task *t, const struct vma *v)
{
    uint32_t filter = __atomic_load_n(&t->process->core_filter, __ATOMIC_RELAXED);
    uint64_t all = v->end - v->start;

    if (v->flags & VMA_SPECIAL)
        return v->name && strcmp(v->name, "[vdso]") == 0 ? all : 0;
    if (!(v->prot & PROT_READ))
        return 0;
    if (v->flags & VMA_SHARED)
        return filter & (!v->file || is_nameless(t, v->file) ? CORE_ANON_SHARED : CORE_FILE_SHARED)
                   ? all
                   : 0;
    if ((filter & CORE_ANON_PRIVATE) && (!v->file || (v->flags & VMA_ACCOUNTED)))
        return all;
    if ((filter & CORE_FILE_PRIVATE) && v->file)
        return all;
    return (filter & CORE_ELF_HEADERS) && v->file && is_elf(t, v) ? PAGE : 0;
}

static int segments(struct task *t, struct buf *out, size_t *ret_n)
{
    struct mm *mm = t->mm;
    int r = 0;

    *ret_n = 0;
    mutex_lock(&mm->lock);
    for (struct vma *v = vma_find(&mm->set, 0); v && r == 0 && *ret_n < SEGMENTS_MAX;
         v = vma_next(&mm->set, v)) {
        Elf64_Phdr h = {
            .p_type = PT_LOAD,
            .p_vaddr = v->start,
            .p_filesz = bytes_wanted(t, v),
            .p_memsz = v->end - v->start,
            .p_flags = (v->prot & PROT_READ ? PF_R : 0U) | (v->prot & PROT_WRITE ? PF_W : 0U) |
                       (v->prot & PROT_EXEC ? PF_X : 0U),
            .p_align = PAGE,
        };

        r = buf_append(out, &h, sizeof(h));
        (*ret_n)++;
    }
    mutex_unlock(&mm->lock);
    return r;
}

/* ---- the file ---------------------------------------------------------------------------------
 */
struct dump {
    struct task *t;
    struct file *f;
    uint64_t limit, at;
};

/* False: the end, by error or limit. */
static bool emit(struct dump *d, const void *data, size_t size)
{
    size_t room = (size_t)MIN(d->limit - d->at, (uint64_t)size);

    if (room && vfs_write_kernel(d->t, d->f, data, room, (int64_t)d->at) != (ssize_t)room)
        return false;
    d->at += room;
    return room == size;
}

static bool all_zero(const char *data, size_t size)
{
    return !data[0] && memcmp(data, data + 1, size - 1) == 0;
}

/* Pages that can't be read are left out, as holes. */
static bool emit_memory(struct dump *d, char *chunk, uint64_t addr, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += CHUNK) {
        size_t n = (size_t)MIN(size - at, (uint64_t)CHUNK);
        ssize_t got = plat_read(d->t->th, addr + at, chunk, n);

        if (d->t->th && got > 0)
            memset(chunk + got, 0, n - (size_t)got);
        if (got <= 0 || all_zero(chunk, n)) {
            if (d->limit - d->at < n)
                return false;
            d->at += n;
        } else if (!emit(d, chunk, n)) {
            return false;
        }
    }
    return true;
}

static void write_core(struct dump *d, Elf64_Phdr *loads, size_t n_loads, const struct buf *notes)
{
    CLEANUP(free_ptr) char *chunk = malloc(CHUNK);
    uint64_t heads = sizeof(Elf64_Ehdr) + (n_loads + 1) * sizeof(Elf64_Phdr), at;
    Elf64_Phdr note = {.p_type = PT_NOTE, .p_offset = heads, .p_filesz = notes->size, .p_align = 4};
    Elf64_Ehdr e = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(e),
        .e_ehsize = sizeof(e),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)(n_loads + 1),
    };

    at = (heads + notes->size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    for (size_t i = 0; i < n_loads; i++, at += loads[i - 1].p_filesz)
        loads[i].p_offset = at;
    if (!chunk || !emit(d, &e, sizeof(e)) || !emit(d, &note, sizeof(note)) ||
        !emit(d, loads, n_loads * sizeof(*loads)) || !emit(d, notes->data, notes->size))
        return;
    for (size_t i = 0; i < n_loads; i++) {
        d->at = MIN(loads[i].p_offset, d->limit);
        if (!emit_memory(d, chunk, loads[i].p_vaddr, loads[i].p_filesz))
            return;
    }
    (void)vfs_ftruncate(d->t, d->f, (int64_t)d->at); /* the last pages may be a hole */
}

/* In place of what was there: a file of somebody else's, or a link, is not written to. */
static struct file *open_core(struct task *t)
{
    struct open_how_k how = {.flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, .mode = 0600};
    struct file *f;

    (void)vfs_unlink(t, AT_FDCWD, "core");
    return vfs_open(t, AT_FDCWD, "core", &how, &f) == 0 ? f : NULL;
}

static bool dump(struct task *t, const struct l_siginfo *info, struct core *core)
{
    CLEANUP(free_ptr) struct core_thread *first = core_thread_new(t);
    CLEANUP(buf_fini) struct buf notes = BUF_INIT, loads = BUF_INIT;
    struct dump d = {.t = t, .limit = task_rlimit(t, RLIMIT_CORE)};
    size_t n = 0;

    if (!first || core_notes(t, info, first, &core->threads, &notes) < 0 ||
        segments(t, &loads, &n) < 0 || !(d.f = open_core(t)))
        return false;
    d.limit = MIN(d.limit, (uint64_t)INT64_MAX);
    write_core(&d, (void *)loads.data, n, &notes);
    file_put(d.f);
    return true;
}

void core_finish(struct task *t, const struct l_siginfo *info)
{
    struct process *p = t->process;
    struct core_thread *c;
    bool dumped;

    await_others(t);
    dumped = dump(t, info, p->core);
    mutex_lock(&g_tasks_lock);
    mutex_lock(&p->sighand->lock);
    if (dumped)
        p->group_exit_status |= CORE_FLAG;
    mutex_unlock(&p->sighand->lock);
    while ((c = list_first(&p->core->threads, struct core_thread, link))) {
        list_remove(&c->link);
        free(c);
    }
    free(p->core);
    p->core = NULL;
    mutex_unlock(&g_tasks_lock);
}
