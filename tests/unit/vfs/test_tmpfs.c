/* tmpfs under the VFS: names, data, limits, links, walks. */
#include "fake.h"

#include <linux/falloc.h>
#include <sys/mman.h>

Test(tmpfs, create_read_write)
{
    struct fake k;
    struct task *t = fake_init(&k);

    put_file(t, "/a", "hello");
    cr_assert_str_eq(get_file(t, "/a"), "hello");
    cr_assert_str_eq(get_file(t, "a"), "hello");
    cr_assert_eq(exists(t, "/b"), -ENOENT);
    cr_assert_eq(exists(t, "/a/b"), -ENOTDIR);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d/", 0777), 0);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d", 0777), -EEXIST);
    put_file(t, "/d/x", "1");
    put_file(t, "/d/y", "2");
    cr_assert_str_eq(list_dir(t, "/d"), "x y ");
    cr_assert_str_eq(list_dir(t, "/"), "a d ");
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d"), -EISDIR);
    cr_assert_eq(vfs_rmdir(t, AT_FDCWD, "/d"), -ENOTEMPTY);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/x"), 0);
    cr_assert_eq(exists(t, "/d/x"), -ENOENT);
    put_file(t, "/d/x", "again");
    cr_assert_str_eq(get_file(t, "/d/../d/./x"), "again");
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/x"), 0);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/d/y"), 0);
    cr_assert_eq(vfs_rmdir(t, AT_FDCWD, "/d"), 0);
    fake_fini(&k);
}

Test(tmpfs, symlinks)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct path p;
    char buf[100];

    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/usr", 0755), 0);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/usr/lib", 0755), 0);
    put_file(t, "/usr/lib/x", "lib");
    cr_assert_eq(vfs_symlink(t, "usr/lib", AT_FDCWD, "/lib"), 0);
    cr_assert_eq(vfs_symlink(t, "/lib/x", AT_FDCWD, "/x"), 0);
    cr_assert_eq(vfs_symlink(t, "loop", AT_FDCWD, "/loop"), 0);
    cr_assert_str_eq(get_file(t, "/lib/x"), "lib");
    cr_assert_str_eq(get_file(t, "/x"), "lib");
    cr_assert_str_eq(get_file(t, "/lib/../lib/x"), "lib");
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/loop", WALK_FOLLOW, &p), -ELOOP);
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/lib", WALK_NO_SYMLINKS | WALK_FOLLOW, &p), -ELOOP);
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/lib/", 0, &p), 0);
    cr_assert(S_ISDIR(p.dentry->inode->mode));
    cr_assert_eq(task_path_name(t, &p, buf, sizeof(buf)), 8);
    cr_assert_str_eq(buf, "/usr/lib");
    path_put(&p);
    /* creating through a dangling link makes its target */
    cr_assert_eq(vfs_symlink(t, "target", AT_FDCWD, "/dangling"), 0);
    put_file(t, "/dangling", "made");
    cr_assert_str_eq(get_file(t, "/target"), "made");
    fake_fini(&k);
}

Test(tmpfs, resolve_flags)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct file *d;
    struct path p;
    int fd;

    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d", 0755), 0);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d/e", 0755), 0);
    put_file(t, "/out", "o");
    put_file(t, "/d/in", "i");
    cr_assert_eq(vfs_symlink(t, "/in", AT_FDCWD, "/d/abs"), 0);
    cr_assert_eq(do_open(t, "/d", O_RDONLY, &d), 0);
    fd = fd_install(t, d, false, 0);
    cr_assert_eq(path_lookup(t, fd, "../out", 0, &p), 0);
    path_put(&p);
    cr_assert_eq(path_lookup(t, fd, "../out", WALK_BENEATH, &p), -EXDEV);
    cr_assert_eq(path_lookup(t, fd, "e/../in", WALK_BENEATH, &p), 0);
    path_put(&p);
    cr_assert_eq(path_lookup(t, fd, "/in", WALK_BENEATH, &p), -EXDEV);
    cr_assert_eq(path_lookup(t, fd, "abs", WALK_BENEATH | WALK_FOLLOW, &p), -EXDEV);
    cr_assert_eq(path_lookup(t, fd, "abs", WALK_IN_ROOT | WALK_FOLLOW, &p), 0);
    path_put(&p);
    cr_assert_eq(path_lookup(t, fd, "../../in", WALK_IN_ROOT, &p), 0);
    path_put(&p);
    fake_fini(&k);
}

Test(tmpfs, rename_kinds)
{
    struct fake k;
    struct task *t = fake_init(&k);

    put_file(t, "/a", "A");
    put_file(t, "/b", "B");
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d", 0755), 0);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/a", AT_FDCWD, "/b", RENAME_NOREPLACE), -EEXIST);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/a", AT_FDCWD, "/b", RENAME_EXCHANGE), 0);
    cr_assert_str_eq(get_file(t, "/a"), "B");
    cr_assert_str_eq(get_file(t, "/b"), "A");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/a", AT_FDCWD, "/d/c", 0), 0);
    cr_assert_str_eq(get_file(t, "/d/c"), "B");
    cr_assert_eq(exists(t, "/a"), -ENOENT);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/b", AT_FDCWD, "/d/c", 0), 0);
    cr_assert_str_eq(get_file(t, "/d/c"), "A");
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d/sub", 0755), 0);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d", AT_FDCWD, "/d/sub/x", 0), -EINVAL);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d/c", AT_FDCWD, "/d", 0), -ENOTEMPTY);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d", AT_FDCWD, "/e", 0), 0);
    cr_assert_str_eq(get_file(t, "/e/c"), "A");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/e/sub", AT_FDCWD, "/sub", 0), 0);
    cr_assert_str_eq(list_dir(t, "/"), "e sub ");
    fake_fini(&k);
}

Test(tmpfs, hard_links_and_unlinked_files)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct file *f;
    char buf[64];

    put_file(t, "/a", "one");
    cr_assert_eq(vfs_link(t, AT_FDCWD, "/a", AT_FDCWD, "/b", 0), 0);
    cr_assert_eq(do_open(t, "/b", O_RDWR, &f), 0);
    cr_assert_eq(f->inode->nlink, 2);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/a"), 0);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/b"), 0);
    cr_assert_eq(f->inode->nlink, 0);
    cr_assert_eq(vfs_read_kernel(t, f, buf, sizeof(buf), 0), 3);
    cr_assert_gt(file_name(t, f, buf, sizeof(buf)), 0);
    cr_assert_str_eq(buf, "/b (deleted)");
    file_put(f);
    fake_fini(&k);
}

Test(tmpfs, big_and_sparse)
{
    struct fake k;
    struct task *t = fake_init(&k);
    char block[8192], back[8192];
    struct file *f;
    int64_t pos;

    cr_assert_eq(do_open(t, "/f", O_CREAT | O_RDWR, &f), 0);
    memset(block, 'x', sizeof(block));
    for (pos = 0; pos < 200000; pos += 8192)
        cr_assert_eq(vfs_write_kernel(t, f, block, sizeof(block), pos), 8192);
    cr_assert_eq(vfs_read_kernel(t, f, back, sizeof(back), 100000), 8192);
    cr_assert_eq(memcmp(block, back, 8192), 0);
    cr_assert_eq(vfs_ftruncate(t, f, 10), 0);
    cr_assert_eq(vfs_read_kernel(t, f, back, sizeof(back), 0), 10);
    cr_assert_eq(vfs_write_kernel(t, f, "end", 3, 1 << 20), 3);
    cr_assert_eq(vfs_read_kernel(t, f, back, 20, 5), 20);
    cr_assert_eq(memcmp(back, "xxxxx\0\0\0\0\0", 10), 0);
    cr_assert_lt(f->inode->blocks, 100);
    cr_assert_eq(vfs_seek(t, f, 4096, SEEK_DATA), 1 << 20);
    cr_assert_eq(vfs_seek(t, f, 0, SEEK_HOLE), 4096);
    cr_assert_eq(vfs_fallocate(t, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
    cr_assert_eq(vfs_read_kernel(t, f, back, 5, 0), 5);
    cr_assert_eq(back[0], 0);
    file_put(f);
    fake_fini(&k);
}

Test(tmpfs, limits)
{
    struct fake k;
    struct super *s;
    struct task *t;
    char block[65536];
    struct file *f;
    struct tmpfs *fs;
    ssize_t n = 0;
    int i;

    cr_assert_eq(tmpfs_super_new("size=256k,nr_inodes=10", 0, &s), 0);
    fs = s->private;
    t = fake_init_on(&k, s);
    memset(block, 1, sizeof(block));
    cr_assert_eq(do_open(t, "/f", O_CREAT | O_RDWR, &f), 0);
    for (i = 0; i < 10 && n >= 0; i++)
        n = vfs_write_kernel(t, f, block, sizeof(block), (int64_t)i * 65536);
    cr_assert_eq(n, -ENOSPC);
    cr_assert_eq(fs->used_pages, 64);
    cr_assert_eq(f->inode->size, 256 << 10);
    file_put(f);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/f"), 0);
    cr_assert_eq(fs->used_pages, 0);
    for (i = 0; i < 20 && n != -ENOENT; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "/n%d", i);
        if (vfs_mkdir(t, AT_FDCWD, name, 0755) < 0)
            break;
    }
    cr_assert_eq(i, 9);
    fake_fini(&k);
}

Test(tmpfs, permissions)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct file *f;

    put_file(t, "/secret", "s");
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/tmp", 0777), 0);
    struct path p;
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/secret", 0, &p), 0);
    cr_assert_eq(vfs_chmod(t, &p, 0600), 0);
    path_put(&p);
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/tmp", 0, &p), 0);
    cr_assert_eq(vfs_chmod(t, &p, 01777), 0);
    path_put(&p);
    put_file(t, "/tmp/root", "r");
    fake_user(&k, 1000);
    cr_assert_eq(do_open(t, "/secret", O_RDONLY, &f), -EACCES);
    cr_assert_eq(do_open(t, "/new", O_CREAT | O_WRONLY, &f), -EACCES);
    put_file(t, "/tmp/mine", "m");
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/tmp/root"), -EPERM);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/tmp/mine"), 0);
    fake_fini(&k);
}

Test(tmpfs, tmpfile_and_seals)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct file *f;

    cr_assert_eq(do_open(t, "/", O_TMPFILE | O_RDWR, &f), 0);
    cr_assert_eq(vfs_write_kernel(t, f, "tmp", 3, 0), 3);
    cr_assert_eq(f->inode->nlink, 0);
    cr_assert_eq(fd_install(t, f, false, 0), 0);
    cr_assert_eq(vfs_link(t, 0, "", AT_FDCWD, "/named", AT_EMPTY_PATH), 0);
    cr_assert_str_eq(get_file(t, "/named"), "tmp");
    cr_assert_eq(shmem_file_new(0, MFD_ALLOW_SEALING, "memfd:x", &f), 0);
    cr_assert_eq(vfs_write_kernel(t, f, "data", 4, 0), 4);
    f->inode->seals = F_SEAL_WRITE | F_SEAL_SHRINK;
    cr_assert_eq(vfs_write_kernel(t, f, "data", 4, 0), -EPERM);
    cr_assert_eq(vfs_ftruncate(t, f, 0), -EPERM);
    file_put(f);
    fake_fini(&k);
}

Test(tmpfs, mounts)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct path p;

    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/m", 0755), 0);
    put_file(t, "/m/below", "b");
    cr_assert_eq(vfs_mount(t, "none", "/m", "tmpfs", 0, "size=1m"), 0);
    cr_assert_eq(exists(t, "/m/below"), -ENOENT);
    put_file(t, "/m/above", "a");
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/bound", 0755), 0);
    cr_assert_eq(vfs_mount(t, "/m", "/bound", "", MS_BIND, NULL), 0);
    cr_assert_str_eq(get_file(t, "/bound/above"), "a");
    cr_assert_eq(vfs_mount(t, "", "/bound", "", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/bound/x", 0755), -EROFS);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/m/x", 0755), 0);
    cr_assert_eq(path_lookup(t, AT_FDCWD, "/bound/../m/..", 0, &p), 0);
    cr_assert_eq(p.dentry, k.fs.root.dentry);
    path_put(&p);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/m/above", AT_FDCWD, "/z", 0), -EXDEV);
    cr_assert_eq(vfs_rmdir(t, AT_FDCWD, "/bound"), -EBUSY);
    cr_assert_eq(vfs_umount(t, "/bound", 0), 0);
    cr_assert_eq(vfs_umount(t, "/m", 0), 0);
    cr_assert_str_eq(get_file(t, "/m/below"), "b");
    cr_assert_eq(vfs_umount(t, "/m", 0), -EINVAL);
    fake_fini(&k);
}

Test(tmpfs, many_names)
{
    struct fake k;
    struct task *t = fake_init(&k);
    char name[32];
    int i;

    for (i = 0; i < 60000; i++) { /* more than the dentry cache keeps */
        (void)snprintf(name, sizeof(name), "/n%d", i);
        cr_assert_eq(exists(t, name), -ENOENT);
    }
    for (i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof(name), "/n%d", i);
        cr_assert_eq(vfs_mkdir(t, AT_FDCWD, name, 0755), 0, "%d", i);
    }
    for (i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof(name), "/n%d", i);
        cr_assert_eq(vfs_rmdir(t, AT_FDCWD, name), 0);
    }
    fake_fini(&k);
}

Test(fdtable, lowest_free_among_many)
{
    struct fake k;
    struct task *t = fake_init(&k);
    struct file *f;
    int i;

    cr_assert_eq(do_open(t, "/", O_RDONLY, &f), 0);
    for (i = 0; i < 100000; i++)
        cr_assert_eq(fd_install(t, file_get(f), false, 0), i);
    cr_assert_eq(fd_close(t, 4321), 0);
    cr_assert_eq(fd_close(t, 77777), 0);
    cr_assert_eq(fd_install(t, file_get(f), false, 0), 4321);
    cr_assert_eq(fd_install(t, file_get(f), false, 5000), 77777);
    cr_assert_eq(fd_install(t, file_get(f), true, 0), 100000);
    cr_assert_eq(fd_get_cloexec(t, 100000), 1);
    fdtable_close_on_exec(t, t->files);
    cr_assert_null(fd_get(t, 100000));
    cr_assert_eq(fd_close_range(t, 10, 99999, false), 0);
    cr_assert_eq(fdtable_next(t->files, 10), -1);
    file_put(f);
    fake_fini(&k);
}
