#pragma once
/*
 * The line discipline (N_TTY of Linux; termios(3)): what happens to a character on its way from the
 * keyboard to the reader and from the writer to the screen. Pure: no locks, no sleeping, no tasks.
 */
#include <asm/termbits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LDISC_IN = 4096, LDISC_OUT = 16384 };

struct ldisc {
    struct termios2 tio;
    /* Input: free-running positions; [tail, canon_head) is complete lines, [canon_head, head) the
     * line being edited. Without ICANON, canon_head is not used. */
    unsigned head, tail, canon_head;
    char in[LDISC_IN];
    uint64_t ends[LDISC_IN / 64]; /* positions where a line ends */
    bool lnext;                   /* the next character is literal */
    unsigned column, canon_column;
    /* Output: towards the screen. */
    char *out; /* LDISC_OUT bytes, made at first use */
    unsigned out_head, out_tail;
    bool stopped;     /* by STOP or TCOOFF */
    uint32_t signals; /* of ISIG characters, bit n: signal n; taken by the caller */
    bool flushed;     /* input and output were flushed by one of them; taken by the caller */
    bool flow_changed;
};

void ldisc_init(struct ldisc *l);
void ldisc_fini(struct ldisc *l);

/* Takes characters from the keyboard: how many (fewer if there is no room). May produce echo. */
size_t ldisc_receive(struct ldisc *l, const char *data, size_t size);
/* Takes characters from a writer: how many (fewer if there is no room; 0 while stopped). */
size_t ldisc_write(struct ldisc *l, const char *data, size_t size);

/* Bytes that a read would return now (complete lines only, with ICANON; an empty line that EOF
 * ended counts in ldisc_readable but adds nothing here). */
size_t ldisc_available(const struct ldisc *l);
bool ldisc_readable(const struct ldisc *l);
/* Canonical: one line or part of it; else what is there. */
size_t ldisc_read(struct ldisc *l, char *data, size_t size);

/* Output that waits to be shown. */
static inline size_t ldisc_out_size(const struct ldisc *l)
{
    return l->out_head - l->out_tail;
}
static inline size_t ldisc_out_room(const struct ldisc *l)
{
    return LDISC_OUT - ldisc_out_size(l);
}
/* A contiguous piece of it; ldisc_out_consume afterwards. */
size_t ldisc_out_peek(const struct ldisc *l, const char **ret);
void ldisc_out_consume(struct ldisc *l, size_t size);

void ldisc_flush_in(struct ldisc *l);
void ldisc_flush_out(struct ldisc *l);
/* New settings; lines being edited become readable when ICANON goes off, and so on. */
void ldisc_set(struct ldisc *l, const struct termios2 *tio);
