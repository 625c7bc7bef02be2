/*
 * Malformed ELF files, most of them made by damaging this very program: none may run on. With
 * "counts" only those whose header promises more than there may be.
 */
#include "attack.h"
#include <elf.h>
#include <stddef.h>

enum { EACH_MS = 80, RANDOM = 100 };

static char image[2 << 20];
static size_t size;
static int tries;

static void put(const char *path, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

    (void)!write(fd, image, n);
    close(fd);
}

static void run(void *path)
{
    char *const argv[] = {path, "child", NULL}, *const envp[] = {NULL};
    struct rlimit r = {1 << 28, 1 << 28};

    setrlimit(RLIMIT_STACK, &r);
    execve(path, argv, envp);
}

static void attempt(size_t n)
{
    if (!in_time())
        return;
    tries++;
    put("/tmp/bad", n);
    (void)apart(run, "/tmp/bad", EACH_MS);
}

static void with64(size_t at, uint64_t v, size_t width)
{
    char saved[8];

    memcpy(saved, image + at, 8);
    memcpy(image + at, &v, width);
    attempt(size);
    memcpy(image + at, saved, 8);
}

/* More entries than an image may have: the table and all behind it are what the file holds. */
static void counts(void)
{
    Elf64_Ehdr *h = (void *)image;

    h->e_phnum = 0xffff;
    h->e_phoff = sizeof(*h);
    memset(image + sizeof(*h), 0x41, sizeof(image) - sizeof(*h));
    size = sizeof(image);
    for (int i = 0; i < 3; i++)
        attempt(size);
}

int main(int argc, char **argv)
{
    static const uint64_t values[] = {0,          1,          4095,         0xffff,
                                      0x7fffffff, 0xfffff000, 1ULL << 46,   1ULL << 47,
                                      1ULL << 62, 1ULL << 63, (uint64_t)-1, (uint64_t)-4096};
    Elf64_Ehdr *h = (void *)image;
    char header[sizeof(*h)];
    int fd;

    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return 0;
    become_judge();
    fd = open("/proc/self/exe", O_RDONLY);
    size = (size_t)read(fd, image, sizeof(image));
    if (size < 4096)
        return 2;
    memcpy(header, image, sizeof(header));
    put("/tmp/bad", size);
    if (apart(run, "/tmp/bad", 5000) != 0) {
        fprintf(stderr, "control: undamaged it does not run\n");
        return 2;
    }
    if (argc > 1) {
        counts();
        return verdict(0, "elf");
    }
    for (size_t n = 0; n < 200; n += 13)
        attempt(n);
    attempt(size / 2);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        with64(offsetof(Elf64_Ehdr, e_phnum), values[i], 2);
        with64(offsetof(Elf64_Ehdr, e_phoff), values[i], 8);
        with64(offsetof(Elf64_Ehdr, e_entry), values[i], 8);
        with64(offsetof(Elf64_Ehdr, e_phentsize), values[i], 2);
        for (size_t k = 0; k < 2; k++) {
            size_t p = h->e_phoff + k * sizeof(Elf64_Phdr);

            with64(p + offsetof(Elf64_Phdr, p_vaddr), values[i], 8);
            with64(p + offsetof(Elf64_Phdr, p_offset), values[i], 8);
            with64(p + offsetof(Elf64_Phdr, p_memsz), values[i], 8);
            with64(p + offsetof(Elf64_Phdr, p_filesz), values[i], 8);
        }
    }
    /* Interpreters: itself, a directory, nothing, without end; a script of a script of ... */
    with64(h->e_phoff + offsetof(Elf64_Phdr, p_type), PT_INTERP, 4);
    for (int i = 0; i < RANDOM; i++) {
        size_t at = rnd() % 1024;

        with64(at, rnd(), 1 + rnd() % 8);
    }
    strcpy(image, "#!/tmp/bad\n");
    attempt(strlen(image));
    memset(image, 'A', 65536);
    memcpy(image, "#!", 2);
    attempt(65536);
    strcpy(image, "#!\n");
    attempt(3);
    memcpy(image, header, sizeof(header));
    counts();
    fprintf(stderr, "%d files\n", tries);
    return verdict(0, "elf");
}
