/*
 * execve(2). A new image always gets a fresh host process: the old one may be shared (vfork) or
 * hostile. Order: find and check everything that may fail, then (point of no return) kill the
 * siblings, make the space, map, build the stack, commit credentials.
 */
#include "runtime/sentry/task/exec.h"

#include "runtime/sentry/mm/elf.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/mm/patch.h"
#include "runtime/sentry/sentry.h"
#include "runtime/sentry/signal/internal.h"
#include "runtime/sentry/task/exec_cred.h"
#include "runtime/sentry/task/exit.h"
#include "runtime/sentry/task/namespaces.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/task/robust.h"
#include "runtime/sentry/task/run.h"
#include "runtime/sentry/task/trace.h"
#include "runtime/sentry/task/userns.h"
#include "runtime/sentry/time/timers.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

/* What was found out before the point of no return. */
struct image {
    struct file *file, *interp_file; /* references */
    struct elf_image *elf, *interp;  /* heap: large */
    uint32_t setuid, setgid;         /* ID_INVALID: none */
};

static void image_fini(struct image *i)
{
    file_put(i->file);
    file_put(i->interp_file);
    free(i->elf);
    free(i->interp);
}

/* "#!interpreter [one argument]": rewrites argv and *path. 1 it was a script, 0 not, -errno. */
static int script(struct exec_request *r, struct file *f, char *path /* PATH_MAX */)
{
    char line[257], *interp, *arg, *end;
    ssize_t n = vfs_read_exec(f, line, sizeof(line) - 1, 0);
    char first[PATH_MAX];

    if (n < 0)
        return (int)n;
    line[n] = 0;
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return 0;
    end = memchr(line, '\n', (size_t)n);
    if (!end && n == (ssize_t)sizeof(line) - 1 && !memchr(line + 2, ' ', (size_t)n - 2))
        return -ENOEXEC;
    if (end)
        *end = 0;
    interp = line + 2 + strspn(line + 2, " \t");
    if (!*interp)
        return -ENOEXEC;
    arg = interp + strcspn(interp, " \t");
    if (*arg) {
        *arg++ = 0;
        arg += strspn(arg, " \t");
    }
    for (char *p = arg + strlen(arg); p > arg && (p[-1] == ' ' || p[-1] == '\t');)
        *--p = 0;
    /* argv[0] is replaced by: interpreter [argument] path */
    if (r->argv.n) {
        size_t old = strlen(r->argv.data) + 1;

        memmove(r->argv.data, r->argv.data + old, r->argv.size - old);
        r->argv.size -= old;
        r->argv.n--;
    }
    (void)snprintf(first, sizeof(first), "%s", path);
    if (exec_strings_prepend(&r->argv, first) < 0 ||
        (*arg && exec_strings_prepend(&r->argv, arg) < 0) ||
        exec_strings_prepend(&r->argv, interp) < 0)
        return -E2BIG;
    (void)snprintf(path, PATH_MAX, "%s", interp);
    return 1;
}

static int open_image(struct task *t, struct exec_request *r, struct image *i)
{
    char path[PATH_MAX];
    int dirfd = r->dirfd, flags = r->flags, e;

    if (strlen(r->path) >= sizeof(path))
        return -ENAMETOOLONG;
    (void)snprintf(path, sizeof(path), "%s", r->path);
    for (int depth = 0;; depth++) {
        e = vfs_open_exec(t, dirfd, path, flags, &i->file, &i->setuid, &i->setgid);
        if (e < 0)
            return e;
        if (!path[0] || (path[0] != '/' && dirfd != AT_FDCWD)) {
            char name[PATH_MAX];

            /* What fexecve's script sees as its own name. */
            (void)snprintf(name, sizeof(name), path[0] ? "/dev/fd/%d/%.4000s" : "/dev/fd/%d", dirfd,
                           path);
            (void)snprintf(path, sizeof(path), "%.4095s", name);
        }
        e = script(r, i->file, path);
        if (e <= 0)
            break;
        file_put(i->file);
        i->file = NULL;
        if (depth >= EXEC_SCRIPT_DEPTH)
            return -ELOOP;
        dirfd = AT_FDCWD;
        flags = 0;
    }
    if (e < 0)
        return e;
    i->elf = malloc(sizeof(*i->elf));
    return i->elf ? elf_read(i->file, i->elf) : -ENOMEM;
}

static int open_interpreter(struct task *t, struct image *i)
{
    uint32_t uid, gid;
    int e;

    if (!i->elf->interpreter[0])
        return 0;
    e = vfs_open_exec(t, AT_FDCWD, i->elf->interpreter, 0, &i->interp_file, &uid, &gid);
    if (e < 0)
        return e;
    i->interp = malloc(sizeof(*i->interp));
    if (!i->interp)
        return -ENOMEM;
    e = elf_read(i->interp_file, i->interp);
    return e == -ENOEXEC ? -ELIBBAD : e;
}

/* ---- the new image
 * -------------------------------------------------------------------------------- */

static uint64_t random_pages(uint64_t n)
{
    uint64_t v = 0;

    (void)!getrandom(&v, sizeof(v), GRND_NONBLOCK);
    return (v % n) * PAGE_BYTES;
}

struct loaded {
    uint64_t entry, phdr, end, bias; /* of the program */
    uint64_t start, interp_base;     /* where execution begins; AT_BASE */
    uint64_t stack_top, sp;
};

static int map_images(struct task *t, const struct image *i, struct loaded *l)
{
    uint64_t phdr, end;
    int e;

    if (i->elf->header.e_type == ET_DYN) {
        /* As Linux: programs at two thirds of the address space; a loader run by itself, among the
         * mappings. */
        l->bias = i->interp ? PAGE_FLOOR(TASK_SIZE_BYTES / 3 * 2) + random_pages(1 << 20)
                            : vma_room(t->mm, i->elf->high - i->elf->low) - i->elf->low;
        l->bias -= i->interp ? i->elf->low : 0;
    }
    e = elf_map(t, i->elf, l->bias, &l->entry, &l->phdr, &l->end);
    if (e < 0)
        return e;
    l->start = l->entry;
    if (i->interp) {
        l->interp_base = i->interp->header.e_type == ET_DYN
                             ? vma_room(t->mm, i->interp->high - i->interp->low) - i->interp->low
                             : 0;
        e = elf_map(t, i->interp, l->interp_base, &l->start, &phdr, &end);
        if (e < 0)
            return e;
    }
    t->mm->start_code = i->elf->low + l->bias;
    t->mm->end_code = l->end;
    t->mm->start_data = t->mm->end_code;
    t->mm->end_data = l->end;
    t->mm->brk_start = t->mm->brk = PAGE_ALIGN(l->end) + random_pages(1 << 13);
    return 0;
}

/* The whole stack is mapped at once: the host grows it by faults, no guard logic in the sentry. */
static int map_stack(struct task *t, bool exec, struct loaded *l)
{
    rlim_t limit = task_rlimit(t, RLIMIT_STACK);
    uint64_t size = limit > 64UL << 20 ? 64UL << 20 : PAGE_ALIGN(MAX(limit, 128UL << 10));
    struct map_request r = {.size = size,
                            .prot = PROT_READ | PROT_WRITE | (exec ? PROT_EXEC : 0),
                            .flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                            .vma_flags = VMA_STACK,
                            .name = "[stack]"};
    uint64_t top =
        t->mm->reserved_start > TASK_SIZE_BYTES / 2 ? t->mm->reserved_start : TASK_SIZE_BYTES;
    long at;

    top = PAGE_FLOOR(top - PAGE_BYTES * 16 - random_pages(1 << 14));
    while (!mm_range_free(t->mm, top - size, top) && top > size * 2)
        top -= 1UL << 20;
    r.addr = top - size;
    at = mm_map(t, &r);
    if (at < 0)
        return (int)at;
    l->stack_top = top;
    if (t->mm->mmap_base > r.addr)
        t->mm->mmap_base = r.addr - PAGE_BYTES * 256;
    t->mm->start_stack = top;
    return 0;
}

struct stack_image {
    char *data; /* size bytes that end at stack_top */
    size_t size, used;
    uint64_t top;
    int error;
};

static uint64_t push(struct stack_image *s, const void *data, size_t size)
{
    if (s->used + size > s->size) {
        s->error = -E2BIG;
        return s->top;
    }
    s->used += size;
    memcpy(s->data + s->size - s->used, data, size);
    return s->top - s->used;
}

static uint64_t push_strings(struct stack_image *s, const struct exec_strings *strings)
{
    return push(s, strings->data ? strings->data : "", strings->size);
}

static size_t fill_pointers(uint64_t *out, const struct exec_strings *s, uint64_t base)
{
    size_t off = 0;

    for (unsigned i = 0; i < s->n; i++) {
        out[i] = base + off;
        off += strlen(s->data + off) + 1;
    }
    out[s->n] = 0;
    return s->n + 1;
}

struct auxv_values {
    const struct image *i;
    const struct loaded *l;
    uint64_t random, execfn, platform;
};

static unsigned build_auxv(struct task *t, const struct auxv_values *v, uint64_t *out)
{
    const struct cred *c = t->cred;
    bool secure = c->uid != c->euid || c->gid != c->egid || t->exec_gained_caps;
    const uint64_t pairs[][2] = {
        {AT_SYSINFO_EHDR, t->mm->vdso},
        {AT_HWCAP, getauxval(AT_HWCAP)},
        {AT_PAGESZ, PAGE_BYTES},
        {AT_CLKTCK, 100},
        {AT_PHDR, v->l->phdr},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, v->i->elf->header.e_phnum},
        {AT_BASE, v->l->interp_base},
        {AT_FLAGS, 0},
        {AT_ENTRY, v->l->entry},
        {AT_UID, uid_from_kernel(c->userns, c->uid)},
        {AT_EUID, uid_from_kernel(c->userns, c->euid)},
        {AT_GID, gid_from_kernel(c->userns, c->gid)},
        {AT_EGID, gid_from_kernel(c->userns, c->egid)},
        {AT_SECURE, secure},
        {AT_RANDOM, v->random},
        {AT_HWCAP2, getauxval(AT_HWCAP2)},
        {AT_EXECFN, v->execfn},
        {AT_PLATFORM, v->platform},
        {AT_MINSIGSTKSZ, plat_fp_size() + 1024},
        {AT_NULL, 0},
    };
    unsigned n = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
        if (pairs[i][0] == AT_SYSINFO_EHDR && !pairs[i][1])
            continue;
        out[n++] = pairs[i][0];
        out[n++] = pairs[i][1];
    }
    memcpy(t->mm->auxv, out, MIN(n, (unsigned)ARRAY_SIZE(t->mm->auxv)) * sizeof(*out));
    t->mm->n_auxv = n;
    return n;
}

static int build_stack(struct task *t, const struct exec_request *r, const struct image *i,
                       struct loaded *l)
{
    struct auxv_values v = {.i = i, .l = l};
    size_t words = r->argv.n + r->envp.n + 64, size;
    struct stack_image s = {.top = l->stack_top - 8};
    uint64_t *table, args, env;
    unsigned char random[16] = {0};
    size_t n = 0;
    int e;

    size = r->argv.size + r->envp.size + strlen(r->path) + words * 8 + 512;
    s.size = size;
    s.data = calloc(1, size);
    table = calloc(words, sizeof(*table));
    if (!s.data || !table) {
        free(s.data);
        free(table);
        return -ENOMEM;
    }
    (void)!getrandom(random, sizeof(random), GRND_NONBLOCK);
    v.execfn = push(&s, r->path, strlen(r->path) + 1);
    env = push_strings(&s, &r->envp);
    args = push_strings(&s, &r->argv);
    v.platform = push(&s, "x86_64", 7);
    v.random = push(&s, random, sizeof(random));
    table[n++] = r->argv.n;
    n += fill_pointers(table + n, &r->argv, args);
    n += fill_pointers(table + n, &r->envp, env);
    n += build_auxv(t, &v, table + n);
    s.used = s.top - ((s.top - s.used - n * 8) & ~15ULL) - n * 8;
    l->sp = push(&s, table, n * 8);
    t->mm->arg_start = args;
    t->mm->arg_end = t->mm->env_start = args + r->argv.size;
    t->mm->env_start = env;
    t->mm->env_end = env + r->envp.size;
    e = s.error ? s.error
                : (l->sp & 15 ? -EIO : copy_out_now(t, l->sp, s.data + s.size - s.used, s.used));
    free(s.data);
    free(table);
    return e;
}

static void start_at(struct task *t, const struct loaded *l)
{
    struct plat_regs *regs = plat_regs(t->th);
    uint64_t cs = regs->cs, ss = regs->ss;

    memset(regs, 0, sizeof(*regs));
    regs->cs = cs ? cs : 0x33;
    regs->ss = ss ? ss : 0x2b;
    regs->eflags = 0x202;
    regs->rip = l->start;
    regs->rsp = l->sp;
}

/* ---- leaving the old image
 * --------------------------------------------------------------------------- */

/* A non-leader that execs takes over the leader's number (execve(2)). */
static void become_leader(struct task *t)
{
    struct process *p = t->process;
    struct pid *mine;

    mutex_lock(&g_tasks_lock);
    mine = t->pid;
    if (p->leader != t) {
        struct task *old = p->leader;

        if (old && old->trace)
            trace_detach_locked(old, 0);
        p->leader = t;
        (void)task_get(t);
        t->pid = p->pid;
        p->pid->task = t;
        mine->task = NULL;
        pid_release_if_unused_locked(mine);
        if (old)
            task_put(old);
    }
    mutex_unlock(&g_tasks_lock);
}

static void leave_old_image(struct task *t)
{
    struct mm *old = t->mm;

    fdtable_new_image(t->files);
    robust_list_exit(t);
    task_account_old_image(t);
    if (t->th) {
        gaddr_t clear = old && mm_users(old) > 1 ? t->clear_tid : 0;

        mm_task_exits(t);
        plat_thread_exit(task_take_host(t), clear);
    }
    mutex_lock(&g_tasks_lock);
    t->mm = NULL;
    mutex_unlock(&g_tasks_lock);
    mm_put(old);
    t->clear_tid = 0;
    t->robust_list = 0;
    t->altstack = (struct l_stack){.flags = SS_DISABLE};
    t->mm_undo_size = 0;
}

static int enter_new_space(struct task *t, struct image *i)
{
    struct plat_thread *th;
    struct mm *mm;
    int e = plat_space_new(t->process->container->plat, &th);

    if (e < 0)
        return e;
    mm = mm_new(th);
    if (!mm) {
        plat_thread_exit(th, 0);
        return -ENOMEM;
    }
    if (~t->cpu_affinity)
        (void)plat_set_affinity(th, t->cpu_affinity);
    mm->exe = file_get(i->file);
    if (!t->trace)
        mm_allow_patching(mm, th);
    mutex_lock(&g_tasks_lock);
    t->th = th;
    t->mm = mm;
    signal_publish_mask(t);
    signal_recalc_new(t);
    mutex_unlock(&g_tasks_lock);
    return 0;
}

static void reset_signals(struct task *t)
{
    struct process *p = t->process;
    struct sighand *s = p->sighand;

    /* Handlers shared with another process (CLONE_SIGHAND without CLONE_THREAD) become our own. */
    if (s->ref.n > 1) {
        struct sighand *own = sighand_new();

        if (own) {
            memcpy(own->actions, s->actions, sizeof(own->actions));
            mutex_lock(&g_tasks_lock);
            p->sighand = own;
            mutex_unlock(&g_tasks_lock);
            sighand_put(s);
            s = own;
        }
    }
    mutex_lock(&s->lock);
    for (int i = 0; i < L_NSIG; i++) {
        if (s->actions[i].handler != (uint64_t)(uintptr_t)SIG_IGN)
            s->actions[i].handler = (uint64_t)(uintptr_t)SIG_DFL;
        s->actions[i].flags = 0;
        s->actions[i].mask = 0;
        s->actions[i].restorer = 0;
    }
    mutex_unlock(&s->lock);
}

/* Descriptors shared by CLONE_FILES are shared no longer (execve(2)). */
static void unshare_files(struct task *t)
{
    struct fdtable *old = t->files, *own;

    if (!fdtable_shared(old))
        return;
    own = fdtable_clone(old);
    if (!own)
        return;
    mutex_lock(&g_tasks_lock);
    t->files = own;
    mutex_unlock(&g_tasks_lock);
    fdtable_put(t, old);
}

static void set_comm(struct task *t, const char *path)
{
    const char *base = strrchr(path, '/');

    (void)snprintf(t->comm, sizeof(t->comm), "%.15s", base ? base + 1 : path);
}

/* Beyond the point of no return. */
static int replace_image(struct task *t, struct exec_request *r, struct image *i, struct cred *cred)
{
    struct loaded l = {0};
    int e;

    leave_old_image(t);
    e = enter_new_space(t, i);
    if (e < 0)
        return e;
    task_set_cred(t, cred);
    e = map_stack(t, i->elf->exec_stack, &l);
    if (e == 0)
        e = map_images(t, i, &l);
    if (e == 0)
        e = plat_flush(t->th); /* the stack is written from outside: it must be there */
    if (e == 0)
        e = build_stack(t, r, i, &l);
    if (e == 0)
        e = plat_fp_load(t->th, 0);
    if (e < 0)
        return e;
    set_comm(t, r->path);
    start_at(t, &l);
    t->mm->dumpable = cred->uid == cred->euid && cred->gid == cred->egid;
    task_publish_identity(t);
    return 0;
}

int task_exec(struct task *t, struct exec_request *r, bool first)
{
    struct image i = {.setuid = UINT32_MAX, .setgid = UINT32_MAX};
    struct cred *cred = NULL;
    int old_tid = trace_pid_seen(t, t), e = open_image(t, r, &i);

    if (e == 0)
        e = open_interpreter(t, &i);
    if (e == 0)
        e = exec_new_cred(t, i.file, i.setuid, i.setgid, &cred);
    if (e == 0 && !first)
        e = task_kill_siblings(t);
    if (e < 0) {
        cred_put(cred);
        image_fini(&i);
        return e;
    }
    if (!first) {
        become_leader(t);
        timers_process_exec(t->process);
        reset_signals(t);
        unshare_files(t);
        fdtable_close_on_exec(t, t->files);
    }
    t->process->did_exec = true;
    e = replace_image(t, r, &i, cred);
    if (e == 0)
        t->process->exit_signal = t->process->exit_signal ? SIGCHLD : 0;
    image_fini(&i);
    task_vfork_done(t);
    if (e < 0 && !first) {
        task_exit_request(t, SIGKILL, true);
        return -ENOEXEC;
    }
    if (e == 0)
        trace_exec(t, old_tid);
    return e;
}
