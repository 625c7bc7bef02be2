/*
 * kcmp(2). What is told is an order, and an order of addresses would tell where the sentry's
 * objects lie: they are disguised first, as Linux does it.
 */
#include "runtime/sentry/syscalls/table.h"
#include "runtime/sentry/task/access.h"
#include "runtime/sentry/task/pid.h"
#include "runtime/sentry/vfs/file.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <sys/random.h>

static uint64_t g_disguise[KCMP_TYPES][2];

static void make_disguise(void)
{
    /* A short answer leaves zeros: an order of addresses, no more. */
    (void)!getrandom(g_disguise, sizeof(g_disguise), 0);
}

static uint64_t disguise(int type, const void *object)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make_disguise);
    return ((uint64_t)(uintptr_t)object ^ g_disguise[type][0]) * (g_disguise[type][1] | 1);
}

/* The object, if it is one that needs no reference. */
static const void *object_of_locked(const struct task *t, int type)
{
    switch (type) {
    case KCMP_VM:
        return t->mm;
    case KCMP_FILES:
        return t->files;
    case KCMP_FS:
        return t->fs;
    case KCMP_SIGHAND:
        return t->process->sighand;
    default:
        return &g_disguise; /* the same for all: there are no io contexts, undo lists are not told
                             */
    }
}

static long compare(int type, const void *x, const void *y)
{
    uint64_t vx = disguise(type, x), vy = disguise(type, y);

    return vx == vy ? 0 : (vx < vy ? 1 : 2);
}

long sys_kcmp(struct task *t, const struct sysargs *a)
{
    struct file *fx = NULL, *fy = NULL;
    int type = (int)a->v[2];
    struct task *x, *y;
    long r = -ESRCH;

    mutex_lock(&g_tasks_lock);
    x = task_find_locked(task_pidns(t), (int)a->v[0]);
    y = task_find_locked(task_pidns(t), (int)a->v[1]);
    if (x && y && x->files && y->files) {
        if (!task_may_access_locked(t, x, ACCESS_BY_FSIDS) ||
            !task_may_access_locked(t, y, ACCESS_BY_FSIDS)) {
            r = -EPERM;
        } else if (type == KCMP_FILE) {
            fx = fdtable_file(x->files, (int)a->v[3], NULL);
            fy = fdtable_file(y->files, (int)a->v[4], NULL);
            r = fx && fy ? compare(type, fx, fy) : -EBADF;
        } else if (type == KCMP_EPOLL_TFD) {
            r = -EOPNOTSUPP;
        } else if (type < 0 || type >= KCMP_TYPES) {
            r = -EINVAL;
        } else {
            r = compare(type, object_of_locked(x, type), object_of_locked(y, type));
        }
    }
    mutex_unlock(&g_tasks_lock);
    /* Not before: the last reference's end may want that lock. */
    file_put(fx);
    file_put(fy);
    return r;
}
