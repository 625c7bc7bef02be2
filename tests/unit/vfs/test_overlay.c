/* Overlay over tmpfs: copy-up, whiteouts, merged directories, rename. */
#include "fake.h"

static struct super *g_lower;

/* A lower tree with /f, /d/{a,b}, /l -> f; then the overlay as the task's root. */
static struct task *overlay_init(struct fake *k)
{
    struct super *upper, *s;
    struct fake builder;
    struct task *t;

    cr_assert_eq(tmpfs_super_new("mode=755", 0, &g_lower), 0);
    t = fake_init_on(&builder, super_get(g_lower));
    super_user_get(g_lower);
    put_file(t, "/f", "lower");
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d", 0755), 0);
    put_file(t, "/d/a", "A");
    put_file(t, "/d/b", "B");
    cr_assert_eq(vfs_symlink(t, "f", AT_FDCWD, "/l"), 0);
    fake_fini(&builder);
    cr_assert_eq(tmpfs_super_new("mode=755", 1 << 20, &upper), 0);
    cr_assert_eq(overlay_super_new(upper->root, &g_lower->root, 1, NULL, &s), 0);
    super_put(upper);
    return fake_init_on(k, s);
}

static uint64_t ino_of(struct task *t, const char *name)
{
    struct path p;
    struct attr a;

    cr_assert_eq(path_lookup(t, AT_FDCWD, name, 0, &p), 0);
    cr_assert_eq(inode_getattr(t, p.dentry->inode, &a), 0);
    path_put(&p);
    return a.ino;
}

static void forget_names(struct fake *k)
{
    dentry_drop(k->fs.root.dentry);
    dentry_shrink_super(k->fs.root.mount->super);
}

Test(overlay, reads_through_and_copies_up)
{
    struct fake k;
    struct task *t = overlay_init(&k);
    struct file *reader;
    char buf[16];
    uint64_t ino;

    cr_assert_str_eq(get_file(t, "/f"), "lower");
    cr_assert_str_eq(get_file(t, "/l"), "lower");
    ino = ino_of(t, "/f");
    cr_assert_eq(do_open(t, "/f", O_RDONLY, &reader), 0);
    put_file(t, "/f", "upper!");
    cr_assert_str_eq(get_file(t, "/f"), "upper!");
    cr_assert_eq(vfs_read_kernel(t, reader, buf, sizeof(buf), 0), 6);
    file_put(reader);
    cr_assert_eq(ino_of(t, "/f"), ino);
    forget_names(&k);
    cr_assert_eq(ino_of(t, "/f"), ino);
    cr_assert_str_eq(get_file(t, "/f"), "upper!");
    fake_fini(&k);
}

Test(overlay, append_keeps_lower_data)
{
    struct fake k;
    struct task *t = overlay_init(&k);
    struct file *f;

    cr_assert_eq(do_open(t, "/f", O_WRONLY | O_APPEND, &f), 0);
    cr_assert_eq(vfs_write_kernel(t, f, "+", 1, 0), 1);
    file_put(f);
    cr_assert_str_eq(get_file(t, "/f"), "lower+");
    fake_fini(&k);
}

Test(overlay, chmod_leaves_data_below)
{
    struct fake k;
    struct task *t = overlay_init(&k);
    struct path p;
    struct attr a;

    cr_assert_eq(path_lookup(t, AT_FDCWD, "/d/a", 0, &p), 0);
    cr_assert_eq(vfs_chmod(t, &p, 0600), 0);
    cr_assert(ovl_node(p.dentry->inode)->metacopy);
    path_put(&p);
    cr_assert_str_eq(get_file(t, "/d/a"), "A");
    forget_names(&k);
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/d/a", 0, &p), 0);
    cr_assert_eq(inode_getattr(t, p.dentry->inode, &a), 0);
    cr_assert_eq(a.mode & 0777, 0600);
    cr_assert_eq(a.size, 1);
    path_put(&p);
    cr_assert_str_eq(get_file(t, "/d/a"), "A");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d/a", AT_FDCWD, "/moved", 0), 0);
    forget_names(&k);
    cr_assert_str_eq(get_file(t, "/moved"), "A");
    cr_assert_eq(exists(t, "/d/a"), -ENOENT);
    fake_fini(&k);
}

Test(overlay, whiteouts_and_merged_lists)
{
    struct fake k;
    struct task *t = overlay_init(&k);

    put_file(t, "/d/new", "N");
    cr_assert_str_eq(list_dir(t, "/d"), "new a b ");
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/a"), 0);
    cr_assert_eq(exists(t, "/d/a"), -ENOENT);
    cr_assert_str_eq(list_dir(t, "/d"), "new b ");
    forget_names(&k);
    cr_assert_eq(exists(t, "/d/a"), -ENOENT);
    cr_assert_eq(vfs_rmdir(t, AT_FDCWD, "/d"), -ENOTEMPTY);
    put_file(t, "/d/a", "again");
    cr_assert_str_eq(get_file(t, "/d/a"), "again");
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/a"), 0);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/b"), 0);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/new"), 0);
    cr_assert_str_eq(list_dir(t, "/d"), "");
    cr_assert_eq(vfs_rmdir(t, AT_FDCWD, "/d"), 0);
    cr_assert_eq(exists(t, "/d"), -ENOENT);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d", 0755), 0);
    forget_names(&k);
    cr_assert_str_eq(list_dir(t, "/d"), "", "a new directory hides the old one's names");
    fake_fini(&k);
}

Test(overlay, renames)
{
    struct fake k;
    struct task *t = overlay_init(&k);

    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/f", AT_FDCWD, "/d/g", 0), 0);
    cr_assert_eq(exists(t, "/f"), -ENOENT);
    cr_assert_str_eq(get_file(t, "/d/g"), "lower");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d/g", AT_FDCWD, "/d/a", 0), 0);
    cr_assert_str_eq(get_file(t, "/d/a"), "lower");
    forget_names(&k);
    cr_assert_str_eq(get_file(t, "/d/a"), "lower");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d", AT_FDCWD, "/e", 0), -EXDEV);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/pure", 0755), 0);
    put_file(t, "/pure/x", "X");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/pure", AT_FDCWD, "/pure2", 0), 0);
    cr_assert_str_eq(get_file(t, "/pure2/x"), "X");
    cr_assert_str_eq(list_dir(t, "/"), "d pure2 l ");
    fake_fini(&k);
}

Test(overlay, links)
{
    struct fake k;
    struct task *t = overlay_init(&k);

    cr_assert_eq(vfs_link(t, AT_FDCWD, "/f", AT_FDCWD, "/hard", 0), 0);
    put_file(t, "/hard", "both");
    cr_assert_str_eq(get_file(t, "/f"), "both");
    forget_names(&k);
    cr_assert_str_eq(get_file(t, "/f"), "both");
    cr_assert_eq(ino_of(t, "/f"), ino_of(t, "/hard"));
    fake_fini(&k);
}
