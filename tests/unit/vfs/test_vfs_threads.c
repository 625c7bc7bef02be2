/* Many tasks change one small tree at once: no crash, no leak, nothing left behind. */
#include "fake.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 4000, NAMES = 5 };

struct worker {
    struct fake k; /* shares the first one's mount */
    unsigned seed;
};

static void name_of(struct worker *w, char *buf, size_t size)
{
    int a = rand_r(&w->seed) % NAMES, b = rand_r(&w->seed) % NAMES;

    if (rand_r(&w->seed) % 2)
        (void)snprintf(buf, size, "/n%d", a);
    else
        (void)snprintf(buf, size, "/n%d/n%d", a, b);
}

static void one_step(struct worker *w)
{
    struct task *t = &w->k.task;
    char a[32], b[32], buf[64];
    struct names n = {.d = {.emit = collect}};
    struct file *f;
    struct path p;

    name_of(w, a, sizeof(a));
    name_of(w, b, sizeof(b));
    switch (rand_r(&w->seed) % 9) {
    case 0:
        (void)vfs_mkdir(t, AT_FDCWD, a, 0755);
        break;
    case 1:
        (void)vfs_rmdir(t, AT_FDCWD, a);
        break;
    case 2:
        (void)vfs_unlink(t, AT_FDCWD, a);
        break;
    case 3:
        (void)vfs_rename(t, AT_FDCWD, a, AT_FDCWD, b, rand_r(&w->seed) % 3 ? 0 : RENAME_EXCHANGE);
        break;
    case 4:
        if (do_open(t, a, O_CREAT | O_RDWR, &f) == 0) {
            (void)vfs_write_kernel(t, f, a, strlen(a), rand_r(&w->seed) % 100000);
            (void)vfs_read_kernel(t, f, buf, sizeof(buf), 0);
            file_put(f);
        }
        break;
    case 5:
        (void)vfs_link(t, AT_FDCWD, a, AT_FDCWD, b, 0);
        break;
    case 6:
        (void)vfs_symlink(t, b, AT_FDCWD, a);
        break;
    case 7:
        if (do_open(t, a, O_RDONLY | O_DIRECTORY, &f) == 0) {
            mutex_lock(&f->pos_lock);
            (void)f->ops->iterate(t, f, &n.d);
            mutex_unlock(&f->pos_lock);
            file_put(f);
        }
        break;
    default:
        if (path_lookup(t, AT_FDCWD, a, WALK_FOLLOW, &p) == 0) {
            (void)task_path_name(t, &p, buf, sizeof(buf));
            if (rand_r(&w->seed) % 2)
                (void)vfs_chmod(t, &p, 0755);
            path_put(&p);
        }
    }
}

static void *work(void *arg)
{
    int i;

    for (i = 0; i < ROUNDS; i++)
        one_step(arg);
    return NULL;
}

static void run_on(struct super *s, uint64_t *used_inodes)
{
    struct worker *w = calloc(THREADS, sizeof(*w));
    pthread_t th[THREADS];
    struct task *t = fake_init_on(&w[0].k, s);
    char name[32];
    int i, j;

    for (i = 0; i < THREADS; i++) {
        if (i) {
            w[i].k = w[0].k;
            w[i].k.task.process = &w[i].k.process;
            w[i].k.task.fs = &w[i].k.fs;
        }
        w[i].seed = 77U + (unsigned)i;
    }
    for (i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&th[i], NULL, work, &w[i]), 0);
    for (i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(th[i], NULL), 0);
    for (i = 0; i < NAMES; i++) {
        for (j = 0; j < NAMES; j++) {
            (void)snprintf(name, sizeof(name), "/n%d/n%d", i, j);
            if (vfs_unlink(t, AT_FDCWD, name) == -EISDIR)
                (void)vfs_rmdir(t, AT_FDCWD, name);
        }
        (void)snprintf(name, sizeof(name), "/n%d", i);
        if (vfs_unlink(t, AT_FDCWD, name) == -EISDIR) {
            for (j = 0; j < NAMES; j++) {
                char deep[64];
                int k;

                for (k = 0; k < NAMES; k++) {
                    (void)snprintf(deep, sizeof(deep), "/n%d/n%d/n%d", i, j, k);
                    (void)vfs_unlink(t, AT_FDCWD, deep);
                    (void)vfs_rmdir(t, AT_FDCWD, deep);
                }
                (void)snprintf(deep, sizeof(deep), "/n%d/n%d", i, j);
                (void)vfs_rmdir(t, AT_FDCWD, deep);
            }
            (void)vfs_rmdir(t, AT_FDCWD, name);
        }
    }
    if (used_inodes && strcmp(list_dir(t, "/"), "") == 0) {
        dentry_shrink_super(s);
        cr_assert_leq(*used_inodes, 2, "%lu inodes are left", (unsigned long)*used_inodes);
    }
    fake_fini(&w[0].k);
    free(w);
}

Test(vfs_threads, tmpfs)
{
    struct super *s;

    cr_assert_eq(tmpfs_super_new("mode=755", 64 << 20, &s), 0);
    run_on(s, &((struct tmpfs *)s->private)->used_inodes);
}

Test(vfs_threads, overlay)
{
    struct super *upper, *lower, *s;
    struct fake builder;
    struct task *t;
    char name[32];
    int i;

    cr_assert_eq(tmpfs_super_new("mode=755", 0, &lower), 0);
    t = fake_init_on(&builder, super_get(lower));
    super_user_get(lower);
    for (i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof(name), "/n%d", i);
        (void)vfs_mkdir(t, AT_FDCWD, name, 0755);
        (void)snprintf(name, sizeof(name), "/n%d/n%d", i, (i * 3) % NAMES);
        put_file(t, name, "below");
    }
    fake_fini(&builder);
    cr_assert_eq(tmpfs_super_new("mode=755", 64 << 20, &upper), 0);
    cr_assert_eq(overlay_super_new(upper->root, &lower->root, 1, NULL, &s), 0);
    super_put(upper);
    run_on(s, NULL);
    super_user_put(lower);
    super_put(lower);
}
