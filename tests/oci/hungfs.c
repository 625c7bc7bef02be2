/*
 * hungfs DIR COMMAND...: runs the command with a file system at DIR, in a mount namespace of its
 * own, that answers what it is and nothing else: whoever looks for a name in it hangs, and no
 * signal wakes him. As a server of NFS that went away.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    struct fuse_out_header head;
    union {
        struct fuse_init_out init;
        struct fuse_attr_out attr;
        struct fuse_statfs_out statfs;
    };
} answer;

/* How much of `answer` is one to that request; 0: none. */
static size_t answer_to(const struct fuse_in_header *h)
{
    memset(&answer, 0, sizeof(answer));
    switch (h->opcode) {
    case FUSE_INIT:
        answer.init.major = FUSE_KERNEL_VERSION;
        answer.init.minor = 31;
        answer.init.max_write = 65536;
        return sizeof(answer.init);
    case FUSE_GETATTR:
        answer.attr.attr.mode = S_IFDIR | 0755;
        answer.attr.attr.ino = 1;
        answer.attr.attr.nlink = 2;
        return sizeof(answer.attr);
    case FUSE_STATFS:
        return sizeof(answer.statfs);
    case 52: /* FUSE_STATX */
    case FUSE_ACCESS:
        answer.head.error = -38; /* ENOSYS */
        return sizeof(answer.head);
    default:
        return 0;
    }
}

static void serve(int fd)
{
    static char request[1 << 17] __attribute__((aligned(8)));

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(fd, request, sizeof(request)) > 0) {
        const struct fuse_in_header *h = (const void *)request;
        size_t size = answer_to(h);

        if (!size)
            continue;
        answer.head.unique = h->unique;
        answer.head.len = (uint32_t)(sizeof(answer.head) + (answer.head.error ? 0 : size));
        (void)!write(fd, &answer, answer.head.len);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), status;
    char options[96];
    pid_t server;

    if (argc < 3 || fd < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 77;
    (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40755,user_id=0,group_id=0", fd);
    if (mount("hung", argv[1], "fuse", 0, options) < 0)
        return 77;
    server = fork();
    if (server == 0)
        serve(fd);
    if (fork() == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    do
        status = 0;
    while (wait(&status) == server);
    kill(server, SIGKILL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
