/*
 * Terminals: their life, sessions and foreground groups, what becomes due when characters arrive.
 */
#include "runtime/sentry/abi/errno.h"
#include "runtime/sentry/fs/tty/tty_internal.h"
#include "runtime/sentry/vfs/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct tty *tty_new(void)
{
    struct tty *tty = calloc(1, sizeof(*tty));

    if (!tty)
        return NULL;
    ref_init(&tty->ref);
    ldisc_init(&tty->ld);
    waitq_init(&tty->read_wait);
    waitq_init(&tty->write_wait);
    waitq_init(&tty->master_wait);
    tty->host_fd = tty->stop_fd = -1;
    return tty;
}

struct tty *tty_get(struct tty *tty)
{
    ref_get(&tty->ref);
    return tty;
}

void tty_put(struct tty *tty)
{
    if (!tty || !ref_put(&tty->ref))
        return;
    devpts_remove(tty);
    if (tty->session)
        pid_put(tty->session);
    if (tty->foreground)
        pid_put(tty->foreground);
    if (tty->host_fd >= 0)
        (void)close(tty->host_fd);
    if (tty->stop_fd >= 0)
        (void)close(tty->stop_fd);
    ldisc_fini(&tty->ld);
    free(tty);
}

struct tty *tty_of(const struct file *f)
{
    return f->ops == &tty_slave_ops || f->ops == &tty_master_ops ? f->private : NULL;
}

/* ---- what becomes due ---------------------------------------------------------------------------
 */
void tty_collect_locked(struct tty *tty, struct tty_due *due)
{
    struct ldisc *l = &tty->ld;

    due->signals |= l->signals;
    due->readable |= ldisc_readable(l);
    due->output |= ldisc_out_size(l) > 0;
    due->writable |= !l->stopped && ldisc_out_room(l) > LDISC_OUT / 2;
    if (l->flushed && tty->packet)
        tty->packet_status |= TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE;
    if (l->flow_changed && tty->packet)
        tty->packet_status |= l->stopped ? TIOCPKT_STOP : TIOCPKT_START;
    due->output |= tty->packet_status != 0;
    l->signals = 0;
    l->flushed = l->flow_changed = false;
    if (tty->is_host)
        host_flush_locked(tty);
}

struct pid *tty_foreground_of(struct file *f)
{
    struct tty *tty = f->private;
    struct pid *group;

    mutex_lock(&g_tasks_lock);
    group = tty->foreground ? pid_get(tty->foreground) : NULL;
    mutex_unlock(&g_tasks_lock);
    return group;
}

void tty_signal_foreground(struct tty *tty, int sig)
{
    struct pid *group;

    mutex_lock(&g_tasks_lock);
    group = tty->foreground ? pid_get(tty->foreground) : NULL;
    mutex_unlock(&g_tasks_lock);
    if (!group)
        return;
    (void)signal_send_pgrp(group, sig, NULL);
    pid_put(group);
}

void tty_do_due(struct tty *tty, const struct tty_due *due)
{
    for (int sig = 1; sig < 32; sig++)
        if (due->signals >> sig & 1)
            tty_signal_foreground(tty, sig);
    if (due->readable)
        waitq_wake(&tty->read_wait, POLLIN | POLLRDNORM);
    if (due->writable)
        waitq_wake(&tty->write_wait, POLLOUT | POLLWRNORM);
    if (due->output)
        waitq_wake(&tty->master_wait, POLLIN | POLLRDNORM | POLLPRI);
}

size_t tty_receive(struct tty *tty, const char *data, size_t size)
{
    struct tty_due due = {0};
    size_t n;

    mutex_lock(&tty->lock);
    n = ldisc_receive(&tty->ld, data, size);
    tty_collect_locked(tty, &due);
    mutex_unlock(&tty->lock);
    tty_do_due(tty, &due);
    return n;
}

/* ---- sessions
 * ------------------------------------------------------------------------------------ */
/* Takes the terminal from every process of its session. tasks_lock held; the caller puts
 * *ret_session after unlocking, and as many references of tty as it says. */
static unsigned detach_session_locked(struct tty *tty, struct pid **ret_session)
{
    struct process *p;
    unsigned n = 0;

    *ret_session = tty->session;
    if (tty->session)
        list_for_each_entry (p, &tty->session->session, session_link)
            if (p->tty == tty) {
                p->tty = NULL;
                n++;
            }
    tty->session = NULL;
    return n;
}

static void put_many(struct tty *tty, unsigned n)
{
    while (n--)
        tty_put(tty);
}

/* SIGHUP and SIGCONT to the foreground, or the leader, then the session is without a terminal. */
static void end_session(struct tty *tty, bool to_leader)
{
    struct pid *session, *foreground;
    struct process *leader = NULL;
    unsigned n;

    mutex_lock(&g_tasks_lock);
    foreground = tty->foreground;
    tty->foreground = NULL;
    n = detach_session_locked(tty, &session);
    if (session && session->process && to_leader)
        leader = process_get(session->process);
    mutex_unlock(&g_tasks_lock);
    if (leader) {
        (void)signal_send_process(leader, SIGHUP, NULL);
        (void)signal_send_process(leader, SIGCONT, NULL);
        process_put(leader);
    }
    if (foreground) {
        (void)signal_send_pgrp(foreground, SIGHUP, NULL);
        (void)signal_send_pgrp(foreground, SIGCONT, NULL);
        pid_put(foreground);
    }
    if (session)
        pid_put(session);
    put_many(tty, n);
}

void tty_hangup(struct tty *tty)
{
    bool already;

    mutex_lock(&tty->lock);
    already = tty->hung_up;
    tty->hung_up = true;
    mutex_unlock(&tty->lock);
    if (already)
        return;
    waitq_wake(&tty->read_wait, 0);
    waitq_wake(&tty->write_wait, 0);
    waitq_wake(&tty->master_wait, 0);
    end_session(tty, true);
}

void tty_disassociate(struct process *p, bool exiting)
{
    struct tty *tty;

    mutex_lock(&g_tasks_lock);
    tty = p->tty && p->session == p->pid ? tty_get(p->tty) : NULL;
    mutex_unlock(&g_tasks_lock);
    (void)exiting;
    if (!tty)
        return;
    end_session(tty, false);
    tty_put(tty);
}

/* Makes tty the controlling terminal of p, the leader of its session. tasks_lock held. */
static void attach_locked(struct process *p, struct tty *tty)
{
    struct pid *old = tty->foreground;

    tty->session = pid_get(p->session);
    tty->foreground = pid_get(p->pgrp);
    if (old)
        pid_put(old);
    p->tty = tty_get(tty);
}

void tty_set_controlling(struct process *p, struct file *f)
{
    struct tty *tty = tty_of(f);

    if (!tty)
        return;
    mutex_lock(&g_tasks_lock);
    if (!tty->session && !p->tty)
        attach_locked(p, tty);
    mutex_unlock(&g_tasks_lock);
}

static void put_after(struct tty *tty)
{
    if (tty)
        tty_put(tty);
}

/* TIOCSCTTY. */
int tty_set_session(struct task *t, struct tty *tty, bool steal)
{
    struct process *p = t->process;
    struct pid *stolen_session = NULL;
    unsigned stolen = 0;
    int r = 0;

    mutex_lock(&g_tasks_lock);
    if (p->tty == tty && tty->session == p->session)
        goto unlock;
    if (p->session != p->pid || p->tty) {
        r = -EPERM;
        goto unlock;
    }
    if (tty->session) {
        if (!steal || !cred_capable(t->cred, CAP_SYS_ADMIN)) {
            r = -EPERM;
            goto unlock;
        }
        stolen = detach_session_locked(tty, &stolen_session);
    }
    attach_locked(p, tty);
unlock:
    mutex_unlock(&g_tasks_lock);
    if (stolen_session)
        pid_put(stolen_session);
    put_many(tty, stolen);
    return r;
}

/* TIOCNOTTY. */
int tty_leave(struct task *t, struct tty *tty)
{
    struct process *p = t->process;
    struct tty *gone = NULL;
    bool leader;

    mutex_lock(&g_tasks_lock);
    if (p->tty != tty) {
        mutex_unlock(&g_tasks_lock);
        return -ENOTTY;
    }
    leader = p->session == p->pid;
    if (!leader) {
        gone = p->tty;
        p->tty = NULL;
    }
    mutex_unlock(&g_tasks_lock);
    put_after(gone);
    if (leader)
        tty_disassociate(p, false);
    return 0;
}

void tty_describe(struct process *p, unsigned *ret_nr, int *ret_pgrp)
{
    *ret_nr = 0;
    *ret_pgrp = -1;
    mutex_lock(&g_tasks_lock);
    if (p->tty) {
        *ret_nr = TTY_MAJOR_PTS << 8 | (p->tty->index & 255) | (p->tty->index & ~255U) << 12;
        if (p->tty->foreground)
            *ret_pgrp = pid_in(p->tty->foreground, p->pidns);
    }
    mutex_unlock(&g_tasks_lock);
}

/* ---- job control
 * ---------------------------------------------------------------------------------- */
/* setpgid(2) and POSIX: nobody outside the group, in its session, is a parent of a member. */
static bool orphaned_locked(const struct pid *group)
{
    const struct process *p;

    list_for_each_entry (p, &group->pgrp, pgrp_link)
        if (p->state == PROCESS_ALIVE && p->parent && p->parent->pgrp != p->pgrp &&
            p->parent->session == p->session)
            return false;
    return true;
}

int tty_check_background(struct task *t, struct tty *tty, int sig)
{
    struct process *p = t->process;
    struct pid *group = NULL;
    bool ignored, orphaned = false;

    mutex_lock(&g_tasks_lock);
    if (p->tty == tty && tty->foreground && p->pgrp != tty->foreground) {
        group = pid_get(p->pgrp);
        orphaned = orphaned_locked(group);
    }
    mutex_unlock(&g_tasks_lock);
    if (!group)
        return 0;
    mutex_lock(&p->sighand->lock);
    ignored = t->blocked & l_sigmask(sig) || p->sighand->actions[sig - 1].handler == 1;
    mutex_unlock(&p->sighand->lock);
    if (ignored || orphaned) {
        pid_put(group);
        /* Writers and settings go through, readers fail; an orphan fails at both. */
        return sig == SIGTTIN || (orphaned && !ignored) ? -EIO : 0;
    }
    (void)signal_send_pgrp(group, sig, NULL);
    pid_put(group);
    return -ERESTARTSYS;
}

/* ---- opening
 * --------------------------------------------------------------------------------------- */
int tty_open_slave(struct task *t, struct tty *tty, struct file *f)
{
    bool io, busy;

    mutex_lock(&tty->lock);
    io = tty->hung_up || (!tty->is_host && (tty->locked || !tty->master_open));
    busy = tty->exclusive && t && !capable(t, CAP_SYS_ADMIN);
    if (!io && !busy) {
        tty->slaves++;
        tty->was_open = true;
    }
    mutex_unlock(&tty->lock);
    if (io || busy)
        return io ? -EIO : -EBUSY;
    f->ops = &tty_slave_ops;
    f->private = tty_get(tty);
    if (t && !(f->flags & O_NOCTTY)) {
        mutex_lock(&g_tasks_lock);
        if (t->process->session == t->process->pid && !t->process->tty && !tty->session)
            attach_locked(t->process, tty);
        mutex_unlock(&g_tasks_lock);
    }
    return 0;
}

int tty_open_controlling(struct task *t, struct file *f)
{
    struct tty *tty;
    int r;

    mutex_lock(&g_tasks_lock);
    tty = t->process->tty ? tty_get(t->process->tty) : NULL;
    mutex_unlock(&g_tasks_lock);
    if (!tty)
        return -ENXIO;
    r = tty_open_slave(t, tty, f);
    tty_put(tty);
    return r == -EIO ? -ENXIO : r;
}

int tty_open_console(struct task *t, struct file *f)
{
    return tty_open_controlling(t, f);
}

int pts_open(struct task *t, struct file *f, unsigned index)
{
    struct devpts *d = devpts_of(f);
    struct tty *tty;
    int r;

    /* A node of devpts itself knows its number; one that mknod made says it by its own. */
    index = devpts_index(f, index);
    tty = d ? devpts_find(d, index) : NULL;

    if (!tty)
        return -EIO;
    r = tty_open_slave(t, tty, f);
    tty_put(tty);
    return r;
}
