/* Programs as a hostile guest would write them: headers, segments, interpreter of the ELF loader.
 */
#include "runtime/sentry/mm/elf.h"
#include "runtime/sentry/vfs/inode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *g_data;
static size_t g_size;

static ssize_t read_input(struct inode *i, struct uio *u, int64_t pos)
{
    (void)i;
    if (pos < 0)
        abort(); /* the VFS refuses such offsets: the loader may not ask for one */
    return (size_t)pos >= g_size ? 0 : uio_copy_to(u, g_data + pos, g_size - (size_t)pos);
}

/* What the mapping code relies on. */
static void check(const struct elf_image *e)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < e->header.e_phnum; i++) {
        const Elf64_Phdr *p = &e->segments[i];

        if (p->p_type != PT_LOAD || !p->p_memsz)
            continue;
        if (p->p_vaddr < last || p->p_filesz > p->p_memsz || p->p_vaddr + p->p_memsz > e->high ||
            p->p_vaddr + p->p_memsz < p->p_vaddr)
            abort();
        last = p->p_vaddr + p->p_memsz;
    }
    if (e->low >= e->high || memchr(e->interpreter, 0, sizeof(e->interpreter)) == NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct inode_ops ops = {.read = read_input};
    static struct inode inode = {.ops = &ops};
    static struct elf_image image;
    struct file f = {.inode = &inode};
    uint8_t *exact = malloc(size ? size : 1); /* so that the sanitizer sees what is read beyond */

    if (!exact)
        return 0;
    memcpy(exact, data, size);
    g_data = exact;
    g_size = size;
    if (elf_read(&f, &image) == 0)
        check(&image);
    free(exact);
    return 0;
}
