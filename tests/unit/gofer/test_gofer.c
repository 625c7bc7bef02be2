/* Client and server of the gofer protocol against a temporary directory. Needs no root, but runs
 * chown only as root. */
#include "common/cleanup.h"
#include "runtime/gofer/client.h"
#include "runtime/gofer/server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char g_dir[64];
static struct gofer *g_client;
static struct gofer_server g_server = GOFER_SERVER_INIT;
static struct gofer_mount g_mounts[2];
static pthread_t g_thread;

static void *serve(void *arg)
{
    int sock = (int)(intptr_t)arg;

    (void)gofer_serve(&g_server, sock);
    (void)close(sock);
    return NULL;
}

static void setup(void)
{
    int pair[2];

    (void)strcpy(g_dir, "/tmp/berm-gofer-XXXXXX");
    cr_assert(mkdtemp(g_dir));
    cr_assert_eq(chmod(g_dir, 0755), 0);
    cr_assert_eq(gofer_server_init(&g_server), 0);
    g_mounts[0] = (struct gofer_mount){.root = open(g_dir, O_PATH | O_DIRECTORY), .connect = true};
    g_mounts[1] = (struct gofer_mount){.root = open(g_dir, O_PATH | O_DIRECTORY), .readonly = true};
    g_server.mounts = g_mounts;
    g_server.n_mounts = 2;
    g_server.hidden = ".scratch";
    g_server.scratch_root = open(g_dir, O_PATH | O_DIRECTORY);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    g_client = gofer_new(pair[0]);
    (void)pthread_create(&g_thread, NULL, serve, (void *)(intptr_t)pair[1]);
}

static void teardown(void)
{
    char command[128];

    gofer_put(g_client);
    (void)pthread_join(g_thread, NULL);
    gofer_server_fini(&g_server);
    (void)snprintf(command, sizeof(command), "rm -rf %s", g_dir);
    (void)!system(command);
}

TestSuite(gofer, .init = setup, .fini = teardown);

static int create(const char *path, mode_t mode)
{
    return gofer_create(g_client, 0, path, O_RDWR, mode, getuid(), getgid(), NULL);
}

Test(gofer, create_write_open_read)
{
    struct gofer_attr attr;
    char text[8] = "";
    int fd = gofer_create(g_client, 0, "a", O_WRONLY, 04751, getuid(), getgid(), &attr);

    cr_assert_geq(fd, 0);
    cr_assert_eq(attr.mode, S_IFREG | 04751u);
    cr_assert_eq(write(fd, "hello", 5), 5);
    (void)close(fd);
    cr_assert_eq(create("a", 0644), -EEXIST);
    fd = gofer_open(g_client, 1, "a", O_RDONLY, &attr);
    cr_assert_geq(fd, 0);
    cr_assert_eq(attr.size, 5);
    cr_assert_eq(read(fd, text, 8), 5);
    cr_assert_str_eq(text, "hello");
    (void)close(fd);
}

Test(gofer, read_only_mount_refuses_changes)
{
    struct gofer_setattr set = {.mask = GOFER_SET_MODE, .mode = 0};

    (void)close(create("a", 0644));
    cr_expect_eq(gofer_open(g_client, 1, "a", O_RDWR, NULL), -EROFS);
    cr_expect_eq(gofer_open(g_client, 1, "a", O_RDONLY | O_TRUNC, NULL), -EROFS);
    cr_expect_eq(gofer_create(g_client, 1, "b", O_RDWR, 0600, 0, 0, NULL), -EROFS);
    cr_expect_eq(gofer_mkdir(g_client, 1, "b", 0700, 0, 0, NULL), -EROFS);
    cr_expect_eq(gofer_unlink(g_client, 1, "a"), -EROFS);
    cr_expect_eq(gofer_rename(g_client, 1, "a", "b", 0), -EROFS);
    cr_expect_eq(gofer_setattr(g_client, 1, "a", &set, NULL), -EROFS);
    cr_expect_eq(gofer_connect(g_client, 1, "a", SOCK_STREAM), -ECONNREFUSED);
}

Test(gofer, never_leaves_the_root_or_follows_links)
{
    struct gofer_attr attr;
    char target[PATH_MAX];
    static const char *const bad[] = {"..",   "../etc", "/etc", "a/../..",
                                      "a//b", "./a",    "a/",   "a/."};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_expect_eq(gofer_stat(g_client, 0, bad[i], &attr, NULL), -EINVAL, "%s", bad[i]);
    cr_assert_eq(gofer_symlink(g_client, 0, "/etc", "link", getuid(), getgid(), &attr), 0);
    cr_expect(S_ISLNK(attr.mode));
    cr_expect_eq(gofer_stat(g_client, 0, "", &attr, target), 0);
    cr_expect_str_eq(target, "");
    cr_expect_eq(gofer_stat(g_client, 0, "link", &attr, target), 0);
    cr_expect_str_eq(target, "/etc");
    cr_expect_eq(gofer_stat(g_client, 0, "link", &attr, NULL), 0);
    cr_expect(S_ISLNK(attr.mode));
    cr_expect_eq(gofer_stat(g_client, 0, "link/passwd", &attr, NULL), -ELOOP);
    cr_expect_eq(gofer_open(g_client, 0, "link", O_RDONLY, NULL), -ELOOP);
    cr_expect_eq(gofer_open(g_client, 0, "link", O_RDONLY | O_DIRECTORY, NULL), -ELOOP);
    cr_expect_eq(gofer_create(g_client, 0, "link/x", O_RDWR, 0600, 0, 0, NULL), -ENOTDIR);
    cr_expect_eq(gofer_stat(g_client, 7, "", &attr, NULL), -EINVAL);
}

static int count_entry(void *arg, const char *name, const struct gofer_attr *attr, uint64_t next)
{
    unsigned *seen = arg;
    unsigned i = (unsigned)atoi(name + 1);

    (void)next;
    cr_assert(S_ISREG(attr->mode) && name[0] == 'f' && i < 3000, "%s", name);
    seen[i]++;
    return 0;
}

static int refuse(void *arg, const char *name, const struct gofer_attr *attr, uint64_t next)
{
    (void)name, (void)attr, (void)next;
    return ++*(int *)arg == 10 ? 1 : 0;
}

Test(gofer, readdir_lists_all_once_in_batches)
{
    static unsigned seen[3000];
    uint64_t cookie = 0, number;
    unsigned batches = 0;
    bool end = false;
    int asked = 0;

    (void)close(gofer_scratch(g_client, &number)); /* makes the hidden directory */
    for (int i = 0; i < 3000; i++) {
        char path[96];

        (void)snprintf(path, sizeof(path), "%s/f%d", g_dir, i);
        (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    for (unsigned flags = 0; flags <= GOFER_READDIR_NAMES; flags++) {
        batches = 0, cookie = 0, end = false;
        memset(seen, 0, sizeof(seen));
        for (; !end; batches++)
            cr_assert_eq(gofer_readdir(g_client, 0, "", flags, &cookie, count_entry, seen, &end),
                         0);
        cr_expect_geq(batches, 2);
        for (int i = 0; i < 3000; i++)
            cr_assert_eq(seen[i], 1, "%d", i);
    }
    cookie = 0;
    cr_expect_eq(gofer_readdir(g_client, 0, "", 0, &cookie, refuse, &asked, &end), 1);
    memset(seen, 0, sizeof(seen));
    for (end = false; !end;)
        cr_assert_eq(gofer_readdir(g_client, 0, "", 0, &cookie, count_entry, seen, &end), 0);
    unsigned sum = 0;
    for (int i = 0; i < 3000; i++)
        sum += seen[i];
    cr_expect_eq(sum, 3000 - 9);
}

Test(gofer, scratch_is_hidden)
{
    struct gofer_attr attr;
    uint64_t a, b;
    int fd = gofer_scratch(g_client, &a), fd2 = gofer_scratch(g_client, &b);

    cr_assert(fd >= 0 && fd2 >= 0 && a != b);
    (void)close(fd), (void)close(fd2);
    cr_expect_eq(gofer_stat(g_client, 0, ".scratch", &attr, NULL), -ENOENT);
    cr_expect_eq(gofer_stat(g_client, 0, ".scratch/1", &attr, NULL), -ENOENT);
    cr_expect_eq(gofer_rename(g_client, 0, ".scratch", "x", 0), -EPERM);
    cr_expect_eq(gofer_scratch_drop(g_client, a), 0);
    cr_expect_eq(gofer_scratch_drop(g_client, a), -ENOENT);
}

Test(gofer, setattr_rename_link_unlink)
{
    struct gofer_setattr set = {.mask = GOFER_SET_MODE | GOFER_SET_SIZE | GOFER_SET_MTIME,
                                .mode = 0640,
                                .size = 100,
                                .mtime = -1500000000};
    struct gofer_attr attr;

    (void)close(create("a", 0600));
    cr_assert_eq(gofer_setattr(g_client, 0, "a", &set, &attr), 0);
    cr_expect_eq(attr.mode, S_IFREG | 0640u);
    cr_expect_eq(attr.size, 100);
    cr_expect_eq(attr.mtime, -1500000000);
    cr_assert_eq(gofer_link(g_client, 0, "a", "b", &attr), 0);
    cr_expect_eq(attr.nlink, 2);
    cr_expect_eq(gofer_rename(g_client, 0, "a", "b2", RENAME_NOREPLACE), 0);
    cr_expect_eq(gofer_rename(g_client, 0, "b", "b2", RENAME_NOREPLACE), -EEXIST);
    cr_expect_eq(gofer_rename(g_client, 0, "b", "b2", RENAME_WHITEOUT), -EINVAL);
    cr_expect_eq(gofer_rmdir(g_client, 0, "b"), -ENOTDIR);
    cr_expect_eq(gofer_unlink(g_client, 0, "b"), 0);
    cr_expect_eq(gofer_unlink(g_client, 0, "b"), -ENOENT);
    cr_expect_eq(gofer_unlink(g_client, 0, ""), -EBUSY);
    cr_expect_eq(gofer_mknod(g_client, 0, "p", S_IFIFO | 0666, getuid(), getgid(), &attr), 0);
    cr_expect_eq(attr.mode, S_IFIFO | 0666u);
    cr_expect_eq(gofer_mknod(g_client, 0, "blk", S_IFBLK | 0666, 0, 0, &attr), -EPERM);
}

Test(gofer, connect_to_unix_socket)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), fd;

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", g_dir);
    cr_assert_eq(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(listen(server, 1), 0);
    fd = gofer_connect(g_client, 0, "s", SOCK_STREAM);
    cr_expect_geq(fd, 0);
    cr_expect_eq(gofer_open(g_client, 0, "s", O_RDWR, NULL), -ENXIO);
    (void)close(fd);
    (void)close(server);
}

Test(gofer, statfs_xattr_readlink)
{
    struct gofer_statfs f;
    char value[16], target[16];

    (void)close(create("a", 0600));
    cr_expect_eq(gofer_statfs(g_client, 0, "a", &f), 0);
    cr_expect_gt(f.bsize, 0);
    cr_expect_eq(gofer_setxattr(g_client, 0, "a", "trusted.x", "v", 1, 0), -EOPNOTSUPP);
    if (gofer_setxattr(g_client, 0, "a", "user.x", "val", 3, 0) == 0) {
        cr_expect_eq(gofer_getxattr(g_client, 0, "a", "user.x", value, sizeof(value)), 3);
        cr_expect_eq(gofer_getxattr(g_client, 0, "a", "user.x", value, 0), 3);
        cr_expect_eq(gofer_getxattr(g_client, 0, "a", "user.x", value, 2), -ERANGE);
        cr_expect_eq(gofer_listxattr(g_client, 0, "a", value, sizeof(value)), 7);
        cr_expect_eq(gofer_removexattr(g_client, 0, "a", "user.x"), 0);
        cr_expect_eq(gofer_getxattr(g_client, 0, "a", "user.x", value, 2), -ENODATA);
    }
    (void)gofer_symlink(g_client, 0, "to/x", "l", getuid(), getgid(), NULL);
    cr_expect_eq(gofer_readlink(g_client, 0, "l", target, sizeof(target)), 4);
    cr_expect_str_eq(target, "to/x");
    cr_expect_eq(gofer_readlink(g_client, 0, "a", target, sizeof(target)), -EINVAL);
}

Test(gofer, opens_ahead_regular_files_of_the_same_directory)
{
    static const char names[] = "b\0missing\0d\0link\0c\0../a\0never";
    struct gofer_opened more[GOFER_AHEAD_MAX];
    struct gofer_attr attr;
    unsigned n;
    char byte;
    int fd;

    (void)close(create("a", 0644));
    (void)close(create("b", 0644));
    fd = create("c", 0644);
    cr_assert_eq(write(fd, "c", 1), 1);
    (void)close(fd);
    cr_assert_eq(gofer_mkdir(g_client, 0, "d", 0755, getuid(), getgid(), NULL), 0);
    cr_assert_eq(gofer_symlink(g_client, 0, "a", "link", getuid(), getgid(), NULL), 0);
    fd = gofer_open_ahead(g_client, 0, "a", names, sizeof(names), &attr, more, &n);
    cr_assert_geq(fd, 0);
    cr_assert_eq(n, 2, "%u", n);
    cr_expect_eq(more[1].attr.size, 1);
    cr_expect_eq(read(more[1].fd, &byte, 1), 1);
    cr_expect_eq(write(more[1].fd, &byte, 1), -1);
    (void)close(fd), (void)close(more[0].fd), (void)close(more[1].fd);
    fd = gofer_open_ahead(g_client, 0, "a", "b", 1, &attr, more, &n);
    cr_assert_geq(fd, 0);
    cr_expect_eq(n, 0, "a name without its end");
    (void)close(fd);
}

static void close_opened(const struct gofer_opened *o, unsigned n)
{
    while (n)
        (void)close(o[--n].fd);
}

Test(gofer, begun_opens_wait_until_they_are_wanted, .timeout = 60)
{
    static const char names[] = "b\0fifo\0missing\0c";
    struct gofer_opened more[1 + GOFER_AHEAD_MAX];
    const void *me = &g_dir, *other = &g_client;
    struct gofer_attr attr;
    char path[128], byte = 0;

    for (const char *p = "abc"; *p; p++) {
        int fd = create((char[]){*p, 0}, 0644);

        cr_assert_eq(write(fd, p, 1), 1);
        (void)close(fd);
    }
    (void)snprintf(path, sizeof(path), "%s/fifo", g_dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(gofer_open_end(g_client, me, more), 0, "nothing was begun");
    cr_assert_eq(gofer_open_begin(g_client, 1, me, "a", names, sizeof(names)), 0);
    cr_expect_eq(gofer_open_begin(g_client, 1, other, "a", NULL, 0), -EBUSY);
    cr_assert_eq(gofer_stat(g_client, 1, "b", &attr, NULL), 0, "others are served meanwhile");
    cr_expect_eq(attr.size, 1);
    cr_expect_eq(gofer_stat(g_client, 1, "missing", &attr, NULL), -ENOENT);
    cr_expect_eq(gofer_open_end(g_client, other, more), 0);
    cr_assert_eq(gofer_open_end(g_client, me, more), 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(read(more[i].fd, &byte, 1), 1);
        cr_expect_eq(byte, "abc"[i]);
    }
    close_opened(more, 3);
    cr_expect_eq(gofer_open_end(g_client, me, more), 0, "taken once");
    cr_assert_eq(gofer_open_begin(g_client, 1, me, "missing", names, sizeof(names)), 0);
    cr_expect_eq(gofer_open_end(g_client, me, more), 0);
    cr_assert_eq(gofer_open_begin(g_client, 1, me, "a", names, sizeof(names)), 0);
}

Test(gofer, malformed_packets_are_refused)
{
    static char out[GOFER_PACKET_MAX];
    struct {
        struct gofer_request rq;
        char paths[16];
    } p = {.rq = {.op = GOFER_OP_STAT, .path_len = 1}};
    struct gofer_reply reply;
    struct gofer_fds fds;

    gofer_handle(&g_server, &p, sizeof(p.rq) - 1, &reply, out, &fds);
    cr_expect_eq(reply.result, -EINVAL);
    gofer_handle(&g_server, &p, sizeof(p.rq) + 3, &reply, out, &fds);
    cr_expect_eq(reply.result, -EINVAL, "a path shorter than it says");
    p.rq.path_len = 0;
    gofer_handle(&g_server, &p, sizeof(p.rq) + 2, &reply, out, &fds);
    cr_expect_eq(reply.result, 0);
    p.rq.data_len = UINT32_MAX;
    gofer_handle(&g_server, &p, sizeof(p.rq) + 2, &reply, out, &fds);
    cr_expect_eq(reply.result, -EINVAL);
    p.rq.data_len = 0;
    p.rq.op = 99;
    gofer_handle(&g_server, &p, sizeof(p.rq) + 2, &reply, out, &fds);
    cr_expect_eq(reply.result, -EINVAL);
}
