/* The line discipline; see ldisc.h. */
#include "runtime/sentry/fs/tty/ldisc.h"

#include "common/cleanup.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MASK        (LDISC_IN - 1)
#define OUT_MASK    (LDISC_OUT - 1)
#define DISABLED    '\0' /* _POSIX_VDISABLE; in the buffer, with an end mark: EOF */
#define CTRL_TO_(c) ((char)((c) ^ 0100))

static const struct termios2 default_tio = {
    .c_iflag = ICRNL | IXON,
    .c_oflag = OPOST | ONLCR,
    .c_cflag = B38400 | CS8 | CREAD,
    .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    .c_cc = {[VINTR] = 3,
             [VQUIT] = 28,
             [VERASE] = 127,
             [VKILL] = 21,
             [VEOF] = 4,
             [VMIN] = 1,
             [VSTART] = 17,
             [VSTOP] = 19,
             [VSUSP] = 26,
             [VREPRINT] = 18,
             [VDISCARD] = 15,
             [VWERASE] = 23,
             [VLNEXT] = 22},
    .c_ispeed = 38400,
    .c_ospeed = 38400,
};

void ldisc_init(struct ldisc *l)
{
    memset(l, 0, sizeof(*l));
    l->tio = default_tio;
}

void ldisc_fini(struct ldisc *l)
{
    free(l->out);
    l->out = NULL;
}

static bool on(tcflag_t flags, tcflag_t f)
{
    return flags & f;
}

static bool is_cc(const struct ldisc *l, char c, unsigned which)
{
    return l->tio.c_cc[which] != DISABLED && (cc_t)c == l->tio.c_cc[which];
}

/* ---- output ------------------------------------------------------------------------------------
 */
static bool out_raw(struct ldisc *l, char c)
{
    if (!l->out)
        l->out = malloc(LDISC_OUT);
    if (!l->out || !ldisc_out_room(l))
        return false;
    l->out[l->out_head++ & OUT_MASK] = c;
    return true;
}

static bool is_continuation(const struct ldisc *l, char c)
{
    return on(l->tio.c_iflag, IUTF8) && ((unsigned char)c & 0xc0) == 0x80;
}

/* One character through OPOST. False: no room. */
static bool out_char(struct ldisc *l, char c)
{
    const tcflag_t o = l->tio.c_oflag;
    unsigned spaces;

    if (!on(o, OPOST))
        return out_raw(l, c);
    if (ldisc_out_room(l) < 8)
        return false;
    switch (c) {
    case '\n':
        if (on(o, ONLRET))
            l->column = 0;
        if (on(o, ONLCR)) {
            l->column = l->canon_column = 0;
            return out_raw(l, '\r') && out_raw(l, '\n');
        }
        break;
    case '\r':
        if (on(o, ONOCR) && l->column == 0)
            return true;
        if (on(o, OCRNL)) {
            if (on(o, ONLRET))
                l->column = l->canon_column = 0;
            return out_raw(l, '\n');
        }
        l->column = l->canon_column = 0;
        break;
    case '\t':
        spaces = 8 - (l->column & 7);
        l->column += spaces;
        if ((o & TABDLY) == XTABS) {
            while (spaces--)
                (void)out_raw(l, ' ');
            return true;
        }
        break;
    case '\b':
        if (l->column)
            l->column--;
        break;
    default:
        if (on(o, OLCUC))
            c = (char)toupper((unsigned char)c);
        if (!iscntrl((unsigned char)c) && !is_continuation(l, c))
            l->column++;
    }
    return out_raw(l, c);
}

size_t ldisc_write(struct ldisc *l, const char *data, size_t size)
{
    size_t i = 0;

    if (l->stopped)
        return 0;
    while (i < size && out_char(l, data[i]))
        i++;
    return i;
}

size_t ldisc_out_peek(const struct ldisc *l, const char **ret)
{
    unsigned at = l->out_tail & OUT_MASK;

    *ret = l->out + at;
    return MIN(ldisc_out_size(l), (size_t)(LDISC_OUT - at));
}

void ldisc_out_consume(struct ldisc *l, size_t size)
{
    l->out_tail += (unsigned)size;
}

void ldisc_flush_out(struct ldisc *l)
{
    l->out_tail = l->out_head;
}

/* ---- the input buffer ---------------------------------------------------------------------------
 */
static bool is_end(const struct ldisc *l, unsigned pos)
{
    return l->ends[(pos & MASK) / 64] >> (pos & 63) & 1;
}

static void set_end(struct ldisc *l, unsigned pos, bool yes)
{
    uint64_t bit = 1ULL << (pos & 63), *word = &l->ends[(pos & MASK) / 64];

    *word = yes ? *word | bit : *word & ~bit;
}

static void put_in(struct ldisc *l, char c, bool end)
{
    l->in[l->head & MASK] = c;
    set_end(l, l->head, end);
    l->head++;
}

void ldisc_flush_in(struct ldisc *l)
{
    l->tail = l->canon_head = l->head;
    l->lnext = false;
}

static bool canonical(const struct ldisc *l)
{
    return on(l->tio.c_lflag, ICANON);
}

bool ldisc_readable(const struct ldisc *l)
{
    return canonical(l) ? l->canon_head != l->tail : l->head != l->tail;
}

size_t ldisc_available(const struct ldisc *l)
{
    size_t n = 0;

    if (!canonical(l))
        return l->head - l->tail;
    for (unsigned p = l->tail; p != l->canon_head; p++)
        n += !(is_end(l, p) && l->in[p & MASK] == DISABLED);
    return n;
}

/* Skips an EOF mark at the tail. */
static bool skip_eof(struct ldisc *l)
{
    if (l->tail == l->canon_head || !is_end(l, l->tail) || l->in[l->tail & MASK] != DISABLED)
        return false;
    set_end(l, l->tail++, false);
    return true;
}

size_t ldisc_read(struct ldisc *l, char *data, size_t size)
{
    unsigned limit = canonical(l) ? l->canon_head : l->head;
    size_t n = 0;

    while (n < size && l->tail != limit) {
        bool end = is_end(l, l->tail);

        if (canonical(l) && end && skip_eof(l))
            return n;
        data[n++] = l->in[l->tail & MASK];
        set_end(l, l->tail++, false);
        if (canonical(l) && end)
            return n;
    }
    /* A full read up to an EOF mark: it must not make an end of file of its own. */
    if (canonical(l) && n == size)
        (void)skip_eof(l);
    if (!canonical(l))
        l->canon_head = l->tail;
    return n;
}

/* ---- echo
 * ---------------------------------------------------------------------------------------- */
static bool is_ctl(char c)
{
    return iscntrl((unsigned char)c) && c != '\t';
}

static void echo(struct ldisc *l, char c)
{
    if (on(l->tio.c_lflag, ECHOCTL) && is_ctl(c) && c != '\n') {
        (void)out_char(l, '^');
        (void)out_char(l, CTRL_TO_(c));
    } else {
        (void)out_char(l, c);
    }
}

/* Columns that the character at pos took when it was echoed; tabs need the ones before it. */
static unsigned width(const struct ldisc *l, unsigned pos)
{
    char c = l->in[pos & MASK];
    unsigned column = l->canon_column;

    if (c == '\t') {
        for (unsigned p = l->canon_head; p != pos; p++)
            column += width(l, p);
        return 8 - (column & 7);
    }
    if (is_ctl(c))
        return on(l->tio.c_lflag, ECHOCTL) ? 2 : 0;
    return is_continuation(l, c) ? 0 : 1;
}

static void erase_one(struct ldisc *l)
{
    unsigned columns;

    do {
        l->head--;
    } while (l->head != l->canon_head && is_continuation(l, l->in[l->head & MASK]));
    if (!on(l->tio.c_lflag, ECHO))
        return;
    if (!on(l->tio.c_lflag, ECHOE)) {
        echo(l, (char)l->tio.c_cc[VERASE]);
        return;
    }
    for (columns = width(l, l->head); columns; columns--) {
        (void)out_char(l, '\b');
        (void)out_char(l, ' ');
        (void)out_char(l, '\b');
    }
}

static void erase_word(struct ldisc *l)
{
    bool word = false;

    while (l->head != l->canon_head) {
        char c = l->in[(l->head - 1) & MASK];

        if (isalnum((unsigned char)c) || c == '_')
            word = true;
        else if (word && !is_continuation(l, c))
            break;
        erase_one(l);
    }
}

static void kill_line(struct ldisc *l)
{
    const tcflag_t f = l->tio.c_lflag;

    if (on(f, ECHO) && on(f, ECHOK) && on(f, ECHOKE) && on(f, ECHOE)) {
        while (l->head != l->canon_head)
            erase_one(l);
        return;
    }
    l->head = l->canon_head;
    if (!on(f, ECHO))
        return;
    echo(l, (char)l->tio.c_cc[VKILL]);
    if (on(f, ECHOK))
        (void)out_char(l, '\n');
}

static void reprint(struct ldisc *l)
{
    if (!on(l->tio.c_lflag, ECHO))
        return;
    echo(l, (char)l->tio.c_cc[VREPRINT]);
    (void)out_char(l, '\n');
    for (unsigned p = l->canon_head; p != l->head; p++)
        echo(l, l->in[p & MASK]);
}

/* ---- input
 * --------------------------------------------------------------------------------------- */
static bool signal_char(struct ldisc *l, char c)
{
    int sig = is_cc(l, c, VINTR)   ? SIGINT
              : is_cc(l, c, VQUIT) ? SIGQUIT
              : is_cc(l, c, VSUSP) ? SIGTSTP
                                   : 0;

    if (!sig)
        return false;
    if (!on(l->tio.c_lflag, NOFLSH)) {
        ldisc_flush_in(l);
        ldisc_flush_out(l);
        l->flushed = true;
    }
    if (on(l->tio.c_iflag, IXON))
        l->stopped = false;
    if (on(l->tio.c_lflag, ECHO))
        echo(l, c);
    l->signals |= 1U << sig;
    return true;
}

static bool flow_char(struct ldisc *l, char c)
{
    bool start = is_cc(l, c, VSTART), stop = is_cc(l, c, VSTOP);

    if (!start && !stop)
        return false;
    l->flow_changed |= l->stopped != (stop && !start);
    l->stopped = stop && !start;
    return true;
}

static void end_line(struct ldisc *l, char c)
{
    put_in(l, c, true);
    l->canon_head = l->head;
    l->canon_column = l->column;
}

/* Characters that edit or end the line. */
static bool canonical_char(struct ldisc *l, char c)
{
    const tcflag_t f = l->tio.c_lflag;

    if (is_cc(l, c, VERASE) || (on(f, IEXTEN) && is_cc(l, c, VWERASE)) || is_cc(l, c, VKILL)) {
        if (l->head == l->canon_head)
            return true;
        if (is_cc(l, c, VERASE))
            erase_one(l);
        else if (is_cc(l, c, VKILL))
            kill_line(l);
        else
            erase_word(l);
        return true;
    }
    if (on(f, IEXTEN) && is_cc(l, c, VLNEXT)) {
        l->lnext = true;
        if (on(f, ECHO) && on(f, ECHOCTL)) {
            (void)out_char(l, '^');
            (void)out_char(l, '\b');
        }
        return true;
    }
    if (on(f, IEXTEN) && is_cc(l, c, VREPRINT)) {
        reprint(l);
        return true;
    }
    if (is_cc(l, c, VEOF)) {
        end_line(l, DISABLED);
        return true;
    }
    if (c == '\n' || is_cc(l, c, VEOL) || (on(f, IEXTEN) && is_cc(l, c, VEOL2))) {
        if (on(f, ECHO) || (c == '\n' && on(f, ECHONL)))
            echo(l, c);
        end_line(l, c);
        return true;
    }
    return false;
}

static void plain_char(struct ldisc *l, char c)
{
    /* One place is kept for what ends the line. */
    if (canonical(l) && l->head - l->tail >= LDISC_IN - 1) {
        if (on(l->tio.c_iflag, IMAXBEL))
            (void)out_raw(l, '\a');
        return;
    }
    if (l->head == l->canon_head)
        l->canon_column = l->column;
    if (on(l->tio.c_lflag, ECHO))
        echo(l, c);
    /* A 0377 is doubled, so that marked errors can be told from it. */
    if (on(l->tio.c_iflag, PARMRK) && (unsigned char)c == 0377 && l->head - l->tail < LDISC_IN - 1)
        put_in(l, c, false);
    put_in(l, c, false);
}

static void receive_one(struct ldisc *l, char c)
{
    const tcflag_t i = l->tio.c_iflag, f = l->tio.c_lflag;

    if (on(i, ISTRIP))
        c &= 0x7f;
    if (on(i, IUCLC) && on(f, IEXTEN))
        c = (char)tolower((unsigned char)c);
    if (l->lnext) {
        l->lnext = false;
        plain_char(l, c);
        return;
    }
    if (on(i, IXON) && flow_char(l, c))
        return;
    if (on(f, ISIG) && signal_char(l, c))
        return;
    if (l->stopped && on(i, IXON) && on(i, IXANY)) {
        l->stopped = false;
        l->flow_changed = true;
    }
    if (c == '\r') {
        if (on(i, IGNCR))
            return;
        if (on(i, ICRNL))
            c = '\n';
    } else if (c == '\n' && on(i, INLCR)) {
        c = '\r';
    }
    if (canonical(l) && canonical_char(l, c))
        return;
    plain_char(l, c);
}

size_t ldisc_receive(struct ldisc *l, const char *data, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        /* Raw: what doesn't fit waits outside; canonical: a full line swallows it. */
        if (!canonical(l) && l->head - l->tail >= LDISC_IN - 2)
            break;
        if (canonical(l) && l->head - l->tail >= LDISC_IN - 1 && l->canon_head != l->tail)
            break;
        if (l->head - l->tail >= LDISC_IN) {
            /* Full of one unfinished line whose last place was an end's. */
            break;
        }
        receive_one(l, data[i]);
    }
    return i;
}

void ldisc_set(struct ldisc *l, const struct termios2 *tio)
{
    bool was = canonical(l), now = on(tio->c_lflag, ICANON);

    l->tio = *tio;
    if (!on(tio->c_iflag, IXON) && l->stopped) {
        l->stopped = false;
        l->flow_changed = true;
    }
    if (was == now)
        return;
    /* What was typed is one line, whatever it contains, or no line at all. */
    memset(l->ends, 0, sizeof(l->ends));
    l->lnext = false;
    l->canon_head = l->tail;
    if (now && l->head != l->tail) {
        set_end(l, l->head - 1, true);
        l->canon_head = l->head;
    }
}
