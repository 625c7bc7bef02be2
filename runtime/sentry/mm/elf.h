#pragma once
/* Executables: x86-64 ELF, static, static-pie or with an interpreter. The file is hostile. */
#include "runtime/sentry/mm/mm.h"

#include <elf.h>

enum { ELF_SEGMENTS_MAX = 64 };

struct elf_image {
    struct file *file; /* borrowed */
    Elf64_Ehdr header;
    Elf64_Phdr segments[ELF_SEGMENTS_MAX]; /* n = header.e_phnum */
    char interpreter[4096];                /* "" if none */
    bool exec_stack;
    uint64_t low, high; /* span of PT_LOAD, page aligned */
};

/* Reads and validates headers: 0, -ENOEXEC (not for us or malformed), -EIO, -ELIBBAD. Touches no
 * memory. */
int elf_read(struct file *f, struct elf_image *ret);
/* Maps the segments in the current (fresh) space at bias (0 for ET_EXEC; else chosen by the
 * caller): queued. 0 or -errno. ret_entry and ret_phdr are addresses in the guest. */
int elf_map(struct task *t, const struct elf_image *e, uint64_t bias, uint64_t *ret_entry,
            uint64_t *ret_phdr, uint64_t *ret_end);
