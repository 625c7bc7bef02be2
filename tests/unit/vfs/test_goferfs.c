/* Gofer mounts against a real gofer server in a child process, on a temporary directory. */
#include "common/buf.h"
#include "fake.h"
#include "runtime/gofer/server.h"
#include "runtime/sentry/fs/gofer/goferfs.h"

#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char g_dir[64];
static pid_t g_server;
static struct gofer *g_gofer;

static void host_file(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", g_dir, name);
    f = fopen(path, "w");
    (void)fputs(text, f);
    (void)fclose(f);
}

static void serve(int sock, bool readonly)
{
    struct gofer_server s = GOFER_SERVER_INIT;

    s.mounts = calloc(1, sizeof(*s.mounts));
    s.n_mounts = 1;
    s.mounts[0].root = open(g_dir, O_PATH | O_DIRECTORY);
    s.mounts[0].readonly = readonly;
    if (gofer_server_init(&s) < 0)
        _exit(1);
    _exit(gofer_serve(&s, sock) < 0);
}

static void start(bool readonly)
{
    int sv[2];

    (void)strcpy(g_dir, "/tmp/goferfs-XXXXXX");
    cr_assert(mkdtemp(g_dir));
    cr_assert_eq(chmod(g_dir, 0755), 0);
    host_file("f", "host file");
    host_file("g", "second");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
    g_server = fork();
    if (g_server == 0) {
        (void)close(sv[0]);
        serve(sv[1], readonly);
    }
    (void)close(sv[1]);
    g_gofer = gofer_new(sv[0]);
}

static void stop(void)
{
    char cmd[128];

    gofer_put(g_gofer);
    (void)waitpid(g_server, NULL, 0);
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", g_dir);
    (void)!system(cmd);
}

static struct task *mounted(struct fake *k, bool exclusive, bool readonly)
{
    struct super *s;

    start(readonly);
    cr_assert_eq(goferfs_super_new(g_gofer, 0, exclusive, readonly, &s), 0);
    return fake_init_on(k, s);
}

Test(goferfs, reads_and_lists)
{
    struct fake k;
    struct task *t = mounted(&k, true, true);

    cr_assert_str_eq(get_file(t, "/f"), "host file");
    cr_assert_eq(exists(t, "/missing"), -ENOENT);
    cr_assert_eq(exists(t, "/missing2"), -ENOENT);
    cr_assert_str_eq(get_file(t, "/g"), "second");
    host_file("missing3", "exclusive means that nobody does this");
    cr_assert_eq(exists(t, "/missing3"), -ENOENT, "a read directory answers alone");
    fake_fini(&k);
    stop();
}

/* First each name is asked for, then names are known, then attributes: always the same answers. */
Test(goferfs, large_directory)
{
    enum { FILES = 1500 };
    struct fake k;
    struct task *t = mounted(&k, true, true);
    char name[32], path[128], text[32];

    for (int i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        host_file(name, name);
    }
    (void)snprintf(path, sizeof(path), "%s/link", g_dir);
    cr_assert_eq(symlink("n7", path), 0);
    for (int i = 0; i < 400; i++) {
        (void)snprintf(path, sizeof(path), "/m%d", i);
        cr_assert_eq(exists(t, path), -ENOENT, "%s", path);
        (void)snprintf(path, sizeof(path), "/n%d", i * 3);
        (void)snprintf(text, sizeof(text), "n%d", i * 3);
        cr_assert_str_eq(get_file(t, path), text);
        if (i % 133 == 5)
            cr_assert_str_eq(get_file(t, "/link"), "n7");
    }
    fake_fini(&k);
    stop();
}

static void host_dir(const char *name, unsigned files)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", g_dir, name);
    cr_assert_eq(mkdir(path, 0755), 0);
    for (unsigned i = 0; i < files; i++) {
        (void)snprintf(path, sizeof(path), "%s/%u", name, i);
        host_file(path, path);
    }
}

/* Reads the files of a directory in the order of its listing; how many. */
static unsigned read_in_order(struct task *t, const char *dir)
{
    char names[4096], path[128], *save = NULL;
    unsigned n = 0;

    (void)snprintf(names, sizeof(names), "%s", list_dir(t, dir));
    for (char *p = strtok_r(names, " ", &save); p; p = strtok_r(NULL, " ", &save), n++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, p);
        cr_assert_str_eq(get_file(t, path), path + 1);
    }
    return n;
}

static void host_remove_content(const char *dir)
{
    char command[160];

    (void)snprintf(command, sizeof(command), "rm -f %s/%s/*", g_dir, dir);
    cr_assert_eq(system(command), 0);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* What is likely to be opened next is open before it is asked for; that shows when the host takes
 * the name away, which an unchanging mount's never does. */
Test(goferfs, opens_ahead, .timeout = 60)
{
    unsigned before = open_descriptors();
    struct fake k;
    struct task *t = mounted(&k, true, true);

    host_dir("first", 40);
    host_dir("second", 40);
    host_dir("third", 4);
    host_dir("fourth", 10);
    cr_assert(list_dir(t, "/fourth"));
    host_remove_content("fourth");
    cr_expect_str_eq(get_file(t, "/fourth/0"), strerror(ENOENT), "no order was seen yet");
    cr_assert_eq(read_in_order(t, "/first"), 40);
    cr_assert_eq(read_in_order(t, "/second"), 40);
    cr_assert(list_dir(t, "/third"));
    cr_assert_str_eq(get_file(t, "/f"), "host file", "the gofer answered what came before it");
    host_remove_content("third");
    for (char path[] = "/third/0"; path[7] < '4'; path[7]++)
        cr_expect_str_eq(get_file(t, path), path + 1);
    cr_assert(list_dir(t, "/second")); /* begun, and not wanted any more */
    fake_fini(&k);
    stop();
    cr_expect_eq(open_descriptors(), before);
}

Test(goferfs, writes_through)
{
    struct fake k;
    struct task *t = mounted(&k, true, false);
    struct file *f;
    char path[128], buf[32] = "";
    FILE *h;

    put_file(t, "/new", "written");
    (void)snprintf(path, sizeof(path), "%s/new", g_dir);
    h = fopen(path, "r");
    cr_assert(h);
    cr_assert_eq(fread(buf, 1, sizeof(buf), h), 7);
    (void)fclose(h);
    cr_assert_str_eq(buf, "written");
    cr_assert_eq(do_open(t, "/new", O_RDWR | O_APPEND, &f), 0);
    cr_assert_eq(vfs_write_kernel(t, f, "!", 1, 0), 1);
    cr_assert_eq(f->ops->fsync(t, f, false), 0);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/new"), 0);
    cr_assert_eq(access(path, F_OK), -1);
    cr_assert_eq(vfs_read_kernel(t, f, buf, sizeof(buf), 0), 8, "unlinked but open");
    file_put(f);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/d", 0755), 0);
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/f", AT_FDCWD, "/d/f", 0), 0);
    cr_assert_str_eq(get_file(t, "/d/f"), "host file");
    cr_assert_eq(vfs_rename(t, AT_FDCWD, "/d", AT_FDCWD, "/e", 0), 0);
    cr_assert_str_eq(get_file(t, "/e/f"), "host file");
    cr_assert_eq(vfs_symlink(t, "e/f", AT_FDCWD, "/l"), 0);
    cr_assert_str_eq(get_file(t, "/l"), "host file");
    cr_assert_eq(vfs_link(t, AT_FDCWD, "/e/f", AT_FDCWD, "/h", 0), 0);
    cr_assert_eq(vfs_unlink(t, AT_FDCWD, "/e/f"), 0);
    cr_assert_str_eq(get_file(t, "/h"), "host file");
    cr_assert_str_eq(list_dir(t, "/e"), "");
    cr_assert_eq(vfs_rmdir(t, AT_FDCWD, "/e"), 0);
    put_file(t, "/big", "");
    cr_assert_eq(do_open(t, "/big", O_RDWR, &f), 0);
    cr_assert_eq(vfs_ftruncate(t, f, 1 << 20), 0);
    cr_assert_eq(f->inode->size, 1 << 20);
    file_put(f);
    fake_fini(&k);
    stop();
}

Test(goferfs, shared_sees_others)
{
    struct fake k;
    struct task *t = mounted(&k, false, false);
    char path[128];

    cr_assert_eq(exists(t, "/later"), -ENOENT);
    host_file("later", "from outside");
    cr_assert_str_eq(get_file(t, "/later"), "from outside");
    host_file("later", "changed");
    cr_assert_str_eq(get_file(t, "/later"), "changed");
    (void)snprintf(path, sizeof(path), "%s/later", g_dir);
    (void)unlink(path);
    cr_assert_eq(exists(t, "/later"), -ENOENT);
    fake_fini(&k);
    stop();
}

Test(goferfs, container_tree)
{
    const struct mount_spec mounts[] = {
        {.destination = "/data/sub",
         .type = "bind",
         .gofer_mount = 0,
         .readonly = true,
         .exclusive = true},
        {.destination = "/tmp", .type = "tmpfs", .options = "nosuid,size=1m,mode=1777"},
    };
    const char *const masked[] = {"/data/sub/f", "/nothing", NULL};
    const char *const ro[] = {"/tmp", NULL};
    struct tree_spec spec = {
        .root_overlay = true, .mounts = mounts, .n_mounts = 2, .masked = masked, .readonly = ro};
    const char *failed = NULL;
    struct mntns *ns;
    struct fake k;
    struct task *t;
    struct super *s;
    struct buf out = BUF_INIT;

    start(true);
    spec.gofer = g_gofer;
    cr_assert_eq(vfs_build_tree(NULL, &spec, &ns, &failed), -ENOENT, "no /dev/null to mask with");
    cr_assert_str_eq(failed, "/data/sub/f");
    spec.masked = NULL;
    cr_assert_eq(vfs_build_tree(NULL, &spec, &ns, &failed), 0, "%s", failed);
    cr_assert_eq(tmpfs_super_new(NULL, 0, &s), 0);
    t = fake_init_on(&k, s);
    path_put(&k.fs.root);
    path_put(&k.fs.cwd);
    mntns_put(k.mnt);
    k.mnt = k.ns.mnt = ns;
    k.fs.root = k.fs.cwd = (struct path){.mount = ns->root, .dentry = ns->root->root};
    path_get(&k.fs.root);
    path_get(&k.fs.cwd);
    cr_assert_str_eq(get_file(t, "/data/sub/g"), "second");
    put_file(t, "/data/x", "in the overlay");
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/data/sub/n", 0755), -EROFS);
    cr_assert_eq(vfs_mkdir(t, AT_FDCWD, "/tmp/n", 0755), -EROFS);
    put_file(t, "/f", "changed above");
    cr_assert_str_eq(get_file(t, "/f"), "changed above");
    cr_assert_str_eq(get_file(t, "/data/sub/f"), "host file");
    cr_assert_eq(mounts_show(ns, &k.fs.root, MOUNTS_INFO, &out), 0);
    cr_assert(strstr(out.data, " /data/sub ro,relatime - 9p bind ro\n"), "%s", out.data);
    buf_fini(&out);
    fake_fini(&k);
    stop();
}
