/* The notes of a core file, in the layouts of <sys/procfs.h>, which debuggers read. */
#include "runtime/sentry/task/core_notes.h"

#include "common/cleanup.h"
#include "runtime/sentry/mm/vma.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/xstate.h"
#include "runtime/sentry/vfs/path.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/procfs.h>

enum { FX_BYTES = 512, ALIGN = 4 };

struct core_thread *core_thread_new(struct task *t)
{
    struct core_thread *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    list_init(&c->link);
    c->tid = task_tid(t);
    c->regs = *plat_regs(t->th);
    c->blocked = t->blocked;
    c->pending = t->pending_own.set;
    if (plat_fp_size() <= sizeof(c->vector) && plat_fp_get(t->th, c->vector) == 0)
        c->vector_size = xstate_of_frame(c->vector);
    return c;
}

static int add(struct buf *out, uint32_t type, const void *data, size_t size)
{
    static const char zero[ALIGN];
    const char *name = type == NT_X86_XSTATE ? "LINUX\0\0" : "CORE\0\0\0"; /* 8 bytes, padded */
    Elf64_Nhdr n = {type == NT_X86_XSTATE ? 6 : 5, (uint32_t)size, type};
    int r = buf_append(out, &n, sizeof(n));

    if (r == 0)
        r = buf_append(out, name, 8);
    if (r == 0)
        r = buf_append(out, data, size);
    return r ? r : buf_append(out, zero, -size & (ALIGN - 1));
}

static int add_status(struct task *t, const struct l_siginfo *info, const struct core_thread *c,
                      struct buf *out)
{
    struct elf_prstatus s = {
        .pr_info = {.si_signo = info->signo, .si_code = info->code, .si_errno = info->error},
        .pr_cursig = (short)info->signo,
        .pr_sigpend = c->pending,
        .pr_sighold = c->blocked,
        .pr_pid = c->tid,
        .pr_fpvalid = c->vector_size > 0,
    };
    struct process *p = t->process;

    mutex_lock(&g_tasks_lock);
    s.pr_ppid = p->parent ? pid_in(p->parent->pid, p->pidns) : 0;
    s.pr_pgrp = pid_in(p->pgrp, p->pidns);
    s.pr_sid = pid_in(p->session, p->pidns);
    mutex_unlock(&g_tasks_lock);
    _Static_assert(sizeof(s.pr_reg) == sizeof(c->regs), "user_regs_struct");
    memcpy(&s.pr_reg, &c->regs, sizeof(s.pr_reg));
    return add(out, NT_PRSTATUS, &s, sizeof(s));
}

static int add_vector(const struct core_thread *c, struct buf *out)
{
    int r = 0;

    if (c->vector_size >= FX_BYTES)
        r = add(out, NT_PRFPREG, c->vector, FX_BYTES);
    if (r == 0 && c->vector_size > FX_BYTES)
        r = add(out, NT_X86_XSTATE, c->vector, c->vector_size);
    return r;
}

static int add_process(struct task *t, struct buf *out)
{
    struct elf_prpsinfo i = {.pr_sname = 'R', .pr_nice = (char)t->nice, .pr_pid = task_tgid(t)};
    size_t size = t->mm->arg_end - t->mm->arg_start;
    ssize_t n;

    i.pr_uid = t->cred->uid;
    i.pr_gid = t->cred->gid;
    (void)snprintf(i.pr_fname, sizeof(i.pr_fname), "%s",
                   t->process->leader ? t->process->leader->comm : t->comm);
    n = plat_read(t->th, t->mm->arg_start, i.pr_psargs, MIN(size, sizeof(i.pr_psargs) - 1));
    for (ssize_t k = 0; k + 1 < n; k++)
        if (!i.pr_psargs[k])
            i.pr_psargs[k] = ' ';
    return add(out, NT_PRPSINFO, &i, sizeof(i));
}

/* Number and page size; start, end, page offset of each; then their names. */
static int add_files(struct task *t, struct buf *out)
{
    CLEANUP(buf_fini) struct buf table = BUF_INIT, names = BUF_INIT;
    uint64_t head[2] = {0, 4096};
    struct mm *mm = t->mm;
    char name[PATH_MAX];
    int r = buf_append(&table, head, sizeof(head));

    mutex_lock(&mm->lock);
    for (struct vma *v = vma_find(&mm->set, 0); v && r == 0; v = vma_next(&mm->set, v)) {
        uint64_t row[3] = {v->start, v->end, v->offset / 4096};

        if (!v->file || v->name || file_name(t, v->file, name, sizeof(name)) < 0)
            continue;
        head[0]++;
        r = buf_append(&table, row, sizeof(row));
        if (r == 0)
            r = buf_append(&names, name, strlen(name) + 1);
    }
    mutex_unlock(&mm->lock);
    if (r == 0) {
        memcpy(table.data, head, sizeof(head));
        r = names.size ? buf_append(&table, names.data, names.size) : 0;
    }
    return r ? r : add(out, NT_FILE, table.data, table.size);
}

int core_notes(struct task *t, const struct l_siginfo *info, const struct core_thread *first,
               struct list *others, struct buf *out)
{
    struct core_thread *c;
    int r = add_status(t, info, first, out);

    if (r == 0)
        r = add_process(t, out);
    if (r == 0)
        r = add(out, NT_SIGINFO, info, sizeof(*info));
    if (r == 0)
        r = add(out, NT_AUXV, t->mm->auxv, t->mm->n_auxv * sizeof(t->mm->auxv[0]));
    if (r == 0)
        r = add_files(t, out);
    if (r == 0)
        r = add_vector(first, out);
    list_for_each_entry (c, others, link) {
        if (r == 0)
            r = add_status(t, info, c, out);
        if (r == 0)
            r = add_vector(c, out);
    }
    return r;
}
