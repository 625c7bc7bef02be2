/* The line discipline: canonical editing, signals, echo, raw mode. */
#include "runtime/sentry/fs/tty/ldisc.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct ldisc l;

static void setup(void)
{
    ldisc_init(&l);
}

static void type(const char *s)
{
    cr_assert_eq(ldisc_receive(&l, s, strlen(s)), strlen(s));
}

static void expect_line(const char *want, size_t size)
{
    char got[256];
    size_t n = ldisc_read(&l, got, sizeof(got));

    cr_assert_eq(n, size, "got %zu bytes", n);
    cr_assert_eq(memcmp(got, want, size), 0);
}

static void expect_out(const char *want)
{
    char got[512];
    size_t n = 0;
    const char *p;

    while (ldisc_out_size(&l)) {
        size_t k = ldisc_out_peek(&l, &p);

        memcpy(got + n, p, k);
        n += k;
        ldisc_out_consume(&l, k);
    }
    got[n] = 0;
    cr_assert_str_eq(got, want);
}

TestSuite(ldisc, .init = setup);

Test(ldisc, gives_whole_lines_only)
{
    type("ab");
    cr_assert(!ldisc_readable(&l));
    type("c\r");
    cr_assert(ldisc_readable(&l));
    cr_assert_eq(ldisc_available(&l), 4);
    expect_line("abc\n", 4);
    cr_assert(!ldisc_readable(&l));
    expect_out("abc\r\n");
}

Test(ldisc, erases_characters_words_and_lines)
{
    type("abx\177c\n");
    expect_line("abc\n", 4);
    expect_out("abx\b \bc\r\n");
    type("one two\027three\n");
    expect_line("one three\n", 10);
    type("wrong\025ok\n");
    expect_line("ok\n", 3);
}

Test(ldisc, erases_a_control_character_with_both_columns)
{
    type("\026\001\177x\n");
    expect_line("x\n", 2);
    expect_out("^\b^A\b \b\b \bx\r\n");
}

Test(ldisc, ends_input_at_eof)
{
    type("ab\004");
    expect_line("ab", 2);
    cr_assert(!ldisc_readable(&l));
    type("\004");
    cr_assert(ldisc_readable(&l));
    expect_line("", 0);
    cr_assert(!ldisc_readable(&l));
}

Test(ldisc, full_read_swallows_the_eof_mark)
{
    char got[2];

    type("ab\004");
    cr_assert_eq(ldisc_read(&l, got, 2), 2);
    cr_assert(!ldisc_readable(&l));
}

Test(ldisc, reads_lines_one_at_a_time)
{
    type("a\nb\n");
    expect_line("a\n", 2);
    expect_line("b\n", 2);
}

Test(ldisc, makes_signals)
{
    type("typed\003");
    cr_assert_eq(l.signals, 1U << SIGINT);
    cr_assert(l.flushed);
    type("x\n");
    expect_line("x\n", 2);
}

Test(ldisc, stops_and_starts_output)
{
    type("\023");
    cr_assert_eq(ldisc_write(&l, "x", 1), 0);
    type("\021");
    cr_assert_eq(ldisc_write(&l, "x\n", 2), 2);
    expect_out("x\r\n");
}

Test(ldisc, raw_mode_passes_everything)
{
    struct termios2 tio = l.tio;

    tio.c_lflag = 0;
    tio.c_iflag = 0;
    tio.c_oflag = 0;
    ldisc_set(&l, &tio);
    type("\003\r\004");
    expect_line("\003\r\004", 3);
    cr_assert_eq(l.signals, 0);
    expect_out("");
}

Test(ldisc, raw_mode_takes_no_more_than_fits)
{
    static char big[3 * LDISC_IN];
    struct termios2 tio = l.tio;
    size_t n;

    tio.c_lflag = 0;
    ldisc_set(&l, &tio);
    memset(big, 'x', sizeof(big));
    n = ldisc_receive(&l, big, sizeof(big));
    cr_assert(n < LDISC_IN);
    cr_assert_eq(ldisc_available(&l), n);
    cr_assert_eq(ldisc_receive(&l, big, 10), 0);
}

Test(ldisc, a_long_line_can_still_be_ended)
{
    static char big[3 * LDISC_IN];

    memset(big, 'x', sizeof(big));
    cr_assert_eq(ldisc_receive(&l, big, sizeof(big)), sizeof(big));
    ldisc_flush_out(&l);
    type("\n");
    cr_assert(ldisc_readable(&l));
    cr_assert_eq(ldisc_available(&l), LDISC_IN);
}

Test(ldisc, keeps_what_was_typed_when_switching_to_raw)
{
    struct termios2 tio = l.tio;

    type("abc");
    tio.c_lflag &= ~(tcflag_t)ICANON;
    ldisc_set(&l, &tio);
    expect_line("abc", 3);
}

Test(ldisc, expands_tabs_if_told)
{
    l.tio.c_oflag |= XTABS;
    cr_assert_eq(ldisc_write(&l, "a\tb", 3), 3);
    expect_out("a       b");
}
