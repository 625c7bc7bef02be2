/*
 * Loading of ELF images (elf(5), the gABI). Everything in the file is checked before anything is
 * mapped: counts, alignments, overlaps, overflow. The zero-filled tail of the last data page is
 * written by the sentry.
 */
#include "runtime/sentry/mm/elf.h"

#include "runtime/guard.h"
#include "runtime/sentry/mm/map.h"
#include "runtime/sentry/task/task.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <string.h>

static int check_header(const Elf64_Ehdr *h)
{
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
        return -ENOEXEC;
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
        return -ENOEXEC;
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum < 1 ||
        (h->e_phnum > ELF_SEGMENTS_MAX && GUARDED(ELF_COUNTS)))
        return -ENOEXEC;
    return 0;
}

static int read_interpreter(struct elf_image *e, const Elf64_Phdr *p)
{
    if (e->interpreter[0] || p->p_filesz < 2 || p->p_filesz > sizeof(e->interpreter) ||
        p->p_offset > INT64_MAX / 2)
        return -ENOEXEC;
    if (vfs_read_exec(e->file, e->interpreter, p->p_filesz, (int64_t)p->p_offset) !=
        (ssize_t)p->p_filesz)
        return -EIO;
    if (e->interpreter[p->p_filesz - 1])
        return -ENOEXEC;
    return e->interpreter[0] ? 0 : -EACCES;
}

static int check_load(struct elf_image *e, const Elf64_Phdr *p, uint64_t *last_end)
{
    uint64_t start = PAGE_FLOOR(p->p_vaddr), end;

    if (p->p_filesz > p->p_memsz || p->p_memsz > TASK_SIZE_BYTES || p->p_vaddr > TASK_SIZE_BYTES)
        return -ENOEXEC;
    if (p->p_offset > INT64_MAX / 2 || p->p_filesz > INT64_MAX / 2)
        return -ENOEXEC;
    if (p->p_filesz && (p->p_vaddr & (PAGE_BYTES - 1)) != (p->p_offset & (PAGE_BYTES - 1)))
        return -ENOEXEC;
    end = PAGE_ALIGN(p->p_vaddr + p->p_memsz);
    if (end > TASK_SIZE_BYTES || start < *last_end)
        return -ENOEXEC;
    if (e->high == 0)
        e->low = start;
    e->high = end;
    *last_end = end;
    return 0;
}

int elf_read(struct file *f, struct elf_image *ret)
{
    uint64_t last_end = 0;
    size_t size;
    int r;

    memset(ret, 0, sizeof(*ret));
    ret->file = f;
    ret->exec_stack = false;
    if (vfs_read_exec(f, &ret->header, sizeof(ret->header), 0) != (ssize_t)sizeof(ret->header))
        return -ENOEXEC;
    r = check_header(&ret->header);
    if (r < 0)
        return r;
    size = ret->header.e_phnum * sizeof(Elf64_Phdr);
    if (ret->header.e_phoff > INT64_MAX / 2 ||
        vfs_read_exec(f, ret->segments, size, (int64_t)ret->header.e_phoff) != (ssize_t)size)
        return -ENOEXEC;
    for (unsigned i = 0; r == 0 && i < ret->header.e_phnum; i++) {
        const Elf64_Phdr *p = &ret->segments[i];

        if (p->p_type == PT_LOAD && p->p_memsz)
            r = check_load(ret, p, &last_end);
        else if (p->p_type == PT_INTERP)
            r = read_interpreter(ret, p);
        else if (p->p_type == PT_GNU_STACK)
            ret->exec_stack = p->p_flags & PF_X;
    }
    if (r == 0 && !ret->high)
        return -ENOEXEC;
    return r;
}

static int prot_of(const Elf64_Phdr *p)
{
    return (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
           (p->p_flags & PF_X ? PROT_EXEC : 0);
}

static int zero_tail(struct task *t, uint64_t from, uint64_t to)
{
    static const char zeros[PAGE_BYTES];

    return from < to ? copy_out(t, from, zeros, to - from) : 0;
}

static int map_segment(struct task *t, const struct elf_image *e, const Elf64_Phdr *p,
                       uint64_t bias)
{
    uint64_t at = PAGE_FLOOR(p->p_vaddr) + bias, skew = p->p_vaddr & (PAGE_BYTES - 1);
    uint64_t file_end = p->p_vaddr + bias + p->p_filesz, mapped = PAGE_ALIGN(file_end);
    uint64_t end = PAGE_ALIGN(p->p_vaddr + bias + p->p_memsz);
    struct map_request r = {.addr = at,
                            .size = mapped - at,
                            .prot = prot_of(p),
                            .flags = MAP_PRIVATE | MAP_FIXED,
                            .file = e->file,
                            .offset = p->p_offset - skew};
    long got;

    if (p->p_filesz) {
        got = mm_map(t, &r);
        if (got < 0)
            return (int)got;
        if ((p->p_flags & PF_W) && zero_tail(t, file_end, mapped) < 0)
            return -EFAULT;
    } else {
        mapped = at;
    }
    if (end <= mapped)
        return 0;
    r = (struct map_request){.addr = mapped,
                             .size = end - mapped,
                             .prot = prot_of(p),
                             .flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS};
    got = mm_map(t, &r);
    return got < 0 ? (int)got : 0;
}

int elf_map(struct task *t, const struct elf_image *e, uint64_t bias, uint64_t *ret_entry,
            uint64_t *ret_phdr, uint64_t *ret_end)
{
    *ret_phdr = 0;
    for (unsigned i = 0; i < e->header.e_phnum; i++) {
        const Elf64_Phdr *p = &e->segments[i];
        int r;

        if (p->p_type != PT_LOAD || !p->p_memsz)
            continue;
        r = map_segment(t, e, p, bias);
        if (r < 0)
            return r;
        if (e->header.e_phoff >= p->p_offset && e->header.e_phoff < p->p_offset + p->p_filesz)
            *ret_phdr = e->header.e_phoff - p->p_offset + p->p_vaddr + bias;
    }
    *ret_entry = e->header.e_entry + bias;
    *ret_end = e->high + bias;
    return 0;
}
