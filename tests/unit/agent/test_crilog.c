#include "agent/crilog.h"
#include "common/fdio.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char g_dir[] = "/tmp/crilog.XXXXXX", g_path[64];

static void make_dir(void)
{
    cr_assert(mkdtemp(g_dir));
    (void)snprintf(g_path, sizeof(g_path), "%s/0.log", g_dir);
}

static void remove_dir(void)
{
    char old[80];

    (void)snprintf(old, sizeof(old), "%s.1", g_path);
    (void)unlink(old);
    (void)unlink(g_path);
    (void)rmdir(g_dir);
}

TestSuite(crilog, .init = make_dir, .fini = remove_dir);

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

Test(crilog, lines_and_parts)
{
    struct crilog l;
    struct crilog_stream s = {.name = "stdout"};
    struct error err = ERROR_INIT;
    char *text = NULL, big[40000];

    memset(big, 'x', sizeof(big));
    cr_assert_eq(crilog_open(&l, g_path, 0, &err), 0);
    crilog_feed(&l, &s, "one\ntw", 6);
    crilog_feed(&l, &s, "o\n\nrest", 7);
    crilog_flush(&l, &s);
    crilog_feed(&l, &s, big, sizeof(big));
    crilog_feed(&l, &s, "\n", 1);
    cr_assert_eq(file_read_all(AT_FDCWD, g_path, 1 << 20, &text, NULL, &err), 0);
    cr_expect(strstr(text, " stdout F one\n"));
    cr_expect(strstr(text, " stdout F two\n"));
    cr_expect(strstr(text, " stdout F \n"));
    cr_expect(strstr(text, " stdout P rest\n"));
    cr_expect_eq(count(text, " stdout P "), 3, "a line of 40,000 bytes is two parts and an end");
    free(text);
    (void)close(l.fd);
}

Test(crilog, rotation_bounds_the_disk)
{
    struct crilog l;
    struct crilog_stream s = {.name = "stderr"};
    struct error err = ERROR_INIT;
    struct stat st;

    cr_assert_eq(crilog_open(&l, g_path, 1000, &err), 0);
    for (int i = 0; i < 200; i++)
        crilog_feed(&l, &s, "0123456789\n", 11);
    cr_assert_eq(stat(g_path, &st), 0);
    cr_expect_leq(st.st_size, 1000);
    (void)close(l.fd);
}
