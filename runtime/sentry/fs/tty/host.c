/*
 * Terminals on a host pty whose slave the container was given. The host's side stays raw, our line
 * discipline does the rest. One thread a terminal reads the keyboard, so that ^C works while nobody
 * reads, and writes what the host did not take at once.
 *
 * Threats: the guest's bytes reach the user's terminal as they are, escape sequences included, as
 * with any container's terminal. No ioctl of the guest is passed on but the window's size.
 */
#include "runtime/sentry/fs/tty/tty_internal.h"
#include "runtime/sentry/vfs/path.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CHUNK = 1024, STACK = 65536 };

/* ---- output
 * ------------------------------------------------------------------------------------------ */
void host_flush_locked(struct tty *tty)
{
    const char *from;

    while (ldisc_out_size(&tty->ld)) {
        size_t n = ldisc_out_peek(&tty->ld, &from);
        ssize_t r = write(tty->host_fd, from, n);

        if (r <= 0) {
            host_kick(tty); /* the thread waits until it can go on */
            return;
        }
        ldisc_out_consume(&tty->ld, (size_t)r);
    }
}

void host_kick(struct tty *tty)
{
    uint64_t one = 1;

    if (tty->is_host)
        (void)!write(tty->stop_fd, &one, sizeof(one));
}

void host_resized_locked(struct tty *tty)
{
    if (tty->is_host)
        (void)ioctl(tty->host_fd, TIOCSWINSZ, &tty->size);
}

/* ---- the keyboard's thread
 * ---------------------------------------------------------------------------- */
struct pending {
    char data[CHUNK];
    size_t size, at;
};

/* Also when everybody has closed it, until the last output is out. */
static bool still_used(struct tty *tty)
{
    bool used;

    mutex_lock(&tty->lock);
    used = (tty->slaves || ldisc_out_size(&tty->ld)) && !tty->hung_up;
    mutex_unlock(&tty->lock);
    return used;
}

/* Waits for keys (unless some are pending), room for output, or a kick. */
static short wait_host(struct tty *tty, const struct pending *p)
{
    struct pollfd fds[2] = {{.fd = tty->host_fd}, {.fd = tty->stop_fd, .events = POLLIN}};
    uint64_t kicks;

    mutex_lock(&tty->lock);
    fds[0].events =
        (short)((p->at < p->size ? 0 : POLLIN) | (ldisc_out_size(&tty->ld) ? POLLOUT : 0));
    mutex_unlock(&tty->lock);
    /* A hang-up would be reported all the time, wanted or not. */
    if (!fds[0].events)
        fds[0].fd = -1;
    (void)poll(fds, 2, -1);
    if (fds[1].revents)
        (void)!read(tty->stop_fd, &kicks, sizeof(kicks));
    return fds[0].revents;
}

static void write_more(struct tty *tty)
{
    struct tty_due due = {0};

    mutex_lock(&tty->lock);
    tty_collect_locked(tty, &due);
    mutex_unlock(&tty->lock);
    tty_do_due(tty, &due);
}

/* False: the other side has hung up. */
static bool read_more(struct tty *tty, struct pending *p)
{
    ssize_t n = read(tty->host_fd, p->data, sizeof(p->data));

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    p->size = (size_t)n;
    p->at = 0;
    return n > 0;
}

static void *host_thread(void *arg)
{
    struct tty *tty = arg;
    struct pending p = {.size = 0};

    while (still_used(tty)) {
        short events = wait_host(tty, &p);

        if (events & POLLOUT)
            write_more(tty);
        if (events & (POLLIN | POLLHUP | POLLERR) && p.at == p.size && !read_more(tty, &p)) {
            tty_hangup(tty);
            break;
        }
        if (p.at < p.size)
            p.at += tty_receive(tty, p.data + p.at, p.size - p.at);
    }
    tty_put(tty);
    return NULL;
}

void host_last_close(struct tty *tty)
{
    host_kick(tty);
}

static int start_thread(struct tty *tty)
{
    pthread_attr_t attr;
    sigset_t all, old;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&tty->thread, &attr, host_thread, tty_get(tty));
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0)
        tty_put(tty);
    return r == 0 ? 0 : -EAGAIN;
}

/* ---- making one
 * ----------------------------------------------------------------------------------------- */
static void make_raw(int fd)
{
    struct termios tio;

    if (ioctl(fd, TCGETS, &tio) < 0)
        return;
    tio.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    tio.c_oflag &= ~(tcflag_t)OPOST;
    tio.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    tio.c_cc[VMIN] = 1;
    tio.c_cc[VTIME] = 0;
    (void)ioctl(fd, TCSETS, &tio);
}

/* A file on the terminal's node in t's /dev/pts, or without a path if there is none. */
static int open_file(struct task *t, struct tty *tty, struct file **ret)
{
    struct path dir, path;
    struct devpts *d = devpts_of_task(t, &dir);
    char name[16];
    int r;

    if (d && devpts_add(d, tty) == 0) {
        (void)snprintf(name, sizeof(name), "%u", tty->index);
        r = path_lookup_at(t, &dir, name, 0, &path);
        path_put(&dir);
        if (r == 0) {
            r = vfs_open_path(t, &path, O_RDWR | O_NOCTTY, ret);
            path_put(&path);
        }
        return r;
    }
    if (d)
        path_put(&dir);
    r = file_new(&tty_slave_ops, O_RDWR, NULL, ret);
    if (r < 0)
        return r;
    mutex_lock(&tty->lock);
    tty->slaves++;
    mutex_unlock(&tty->lock);
    (*ret)->private = tty_get(tty);
    return 0;
}

int tty_host_new(struct task *t, int host_fd, struct file **ret)
{
    struct tty *tty = tty_new();
    struct file *f = NULL;
    int r;

    if (!tty)
        return -ENOMEM;
    tty->is_host = true;
    tty->was_open = true;
    tty->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (tty->stop_fd < 0) {
        tty_put(tty);
        return -EMFILE;
    }
    make_raw(host_fd);
    (void)fcntl(host_fd, F_SETFL, O_RDWR | O_NONBLOCK);
    (void)ioctl(host_fd, TIOCGWINSZ, &tty->size);
    if (t)
        tty->uid = t->cred->euid;
    tty->host_fd = host_fd;
    r = open_file(t, tty, &f);
    if (r == 0)
        r = start_thread(tty);
    if (r < 0) {
        tty->host_fd = -1; /* stays the caller's */
        file_put(f);
    } else {
        *ret = f;
    }
    tty_put(tty);
    return r;
}

void tty_host_winch(struct file *f)
{
    struct tty *tty = tty_of(f);
    struct winsize size;

    if (!tty || !tty->is_host || ioctl(tty->host_fd, TIOCGWINSZ, &size) < 0)
        return;
    mutex_lock(&tty->lock);
    tty->size = size;
    mutex_unlock(&tty->lock);
    tty_signal_foreground(tty, SIGWINCH);
}
