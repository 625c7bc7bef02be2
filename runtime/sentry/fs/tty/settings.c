/* Settings of terminals (termios(3)), in the forms that Linux had over time; and their locks. */
#include "runtime/sentry/fs/tty/tty_internal.h"
#include "runtime/sentry/mm/mm.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Kernel structures that termbits.h lacks. */
struct l_termio {
    uint16_t c_iflag, c_oflag, c_cflag, c_lflag;
    uint8_t c_line, c_cc[8];
};
#define L_TERMIOS_SIZE offsetof(struct termios2, c_ispeed)

static void get_settings(struct tty *tty, struct termios2 *ret)
{
    mutex_lock(&tty->lock);
    *ret = tty->ld.tio;
    mutex_unlock(&tty->lock);
}

/* Bits that a privileged process has locked stay as they are (TIOCSLCKTRMIOS). */
static void keep_locked(struct termios2 *tio, const struct termios2 *old,
                        const struct termios2 *lock)
{
    tio->c_iflag = (old->c_iflag & lock->c_iflag) | (tio->c_iflag & ~lock->c_iflag);
    tio->c_oflag = (old->c_oflag & lock->c_oflag) | (tio->c_oflag & ~lock->c_oflag);
    tio->c_cflag = (old->c_cflag & lock->c_cflag) | (tio->c_cflag & ~lock->c_cflag);
    tio->c_lflag = (old->c_lflag & lock->c_lflag) | (tio->c_lflag & ~lock->c_lflag);
    tio->c_line = lock->c_line ? old->c_line : tio->c_line;
    for (size_t i = 0; i < sizeof(tio->c_cc); i++)
        tio->c_cc[i] = lock->c_cc[i] ? old->c_cc[i] : tio->c_cc[i];
}

static long show_locks(struct task *t, struct tty *tty, gaddr_t arg)
{
    struct termios2 locks;

    mutex_lock(&tty->lock);
    locks = tty->settings_lock;
    mutex_unlock(&tty->lock);
    return copy_out(t, arg, &locks, L_TERMIOS_SIZE);
}

static long change_locks(struct task *t, struct tty *tty, gaddr_t arg)
{
    struct termios2 locks = {0};

    if (!capable(t, CAP_SYS_ADMIN))
        return -EPERM;
    if (copy_in(t, &locks, arg, L_TERMIOS_SIZE) < 0)
        return -EFAULT;
    mutex_lock(&tty->lock);
    tty->settings_lock = locks;
    mutex_unlock(&tty->lock);
    return 0;
}

static long show_settings(struct task *t, struct tty *tty, unsigned cmd, gaddr_t arg)
{
    struct termios2 tio;
    struct l_termio old = {0};

    get_settings(tty, &tio);
    if (cmd == TCGETS)
        return copy_out(t, arg, &tio, L_TERMIOS_SIZE);
    if (cmd == TCGETS2)
        return copy_out(t, arg, &tio, sizeof(tio));
    old.c_iflag = (uint16_t)tio.c_iflag;
    old.c_oflag = (uint16_t)tio.c_oflag;
    old.c_cflag = (uint16_t)tio.c_cflag;
    old.c_lflag = (uint16_t)tio.c_lflag;
    memcpy(old.c_cc, tio.c_cc, sizeof(old.c_cc));
    return copy_out(t, arg, &old, sizeof(old));
}

static int read_old(struct task *t, gaddr_t arg, struct termios2 *tio)
{
    struct l_termio old;

    if (copy_in(t, &old, arg, sizeof(old)) < 0)
        return -EFAULT;
    tio->c_iflag = (tio->c_iflag & 0xffff0000) | old.c_iflag;
    tio->c_oflag = (tio->c_oflag & 0xffff0000) | old.c_oflag;
    tio->c_cflag = (tio->c_cflag & 0xffff0000) | old.c_cflag;
    tio->c_lflag = (tio->c_lflag & 0xffff0000) | old.c_lflag;
    memcpy(tio->c_cc, old.c_cc, sizeof(old.c_cc));
    return 0;
}

/* kind: 0 struct termio, 1 termios, 2 termios2. */
static long change_settings(struct task *t, struct tty *tty, gaddr_t arg, unsigned kind, bool flush)
{
    struct termios2 tio;
    struct tty_due due = {0};
    int r = tty_check_background(t, tty, SIGTTOU);

    if (r < 0)
        return r;
    get_settings(tty, &tio);
    if (kind == 0)
        r = read_old(t, arg, &tio);
    else
        r = copy_in(t, &tio, arg, kind == 1 ? L_TERMIOS_SIZE : sizeof(tio));
    if (r < 0)
        return -EFAULT;
    mutex_lock(&tty->lock);
    keep_locked(&tio, &tty->ld.tio, &tty->settings_lock);
    if (flush)
        ldisc_flush_in(&tty->ld);
    ldisc_set(&tty->ld, &tio);
    tty_collect_locked(tty, &due);
    due.writable = true;
    mutex_unlock(&tty->lock);
    tty_do_due(tty, &due);
    host_kick(tty);
    return 0;
}

long tty_settings_ioctl(struct task *t, struct tty *tty, unsigned cmd, gaddr_t arg)
{
    switch (cmd) {
    case TCGETS:
    case TCGETS2:
    case TCGETA:
        return show_settings(t, tty, cmd, arg);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return change_settings(t, tty, arg, 0, cmd == TCSETAF);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return change_settings(t, tty, arg, 1, cmd == TCSETSF);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return change_settings(t, tty, arg, 2, cmd == TCSETSF2);
    case TIOCGLCKTRMIOS:
        return show_locks(t, tty, arg);
    case TIOCSLCKTRMIOS:
        return change_locks(t, tty, arg);
    default:
        return -ENOTTY;
    }
}
