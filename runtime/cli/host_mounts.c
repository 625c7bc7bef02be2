/* The mounts of this machine that `do` shows inside. */
#include "runtime/cli/host_mounts.h"

#include "common/cleanup.h"
#include "common/fdio.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOUNTS_MAX = 128, ANSWER_MS = 1000 };

void mounts_bind(json_t *mounts, const char *path, const char *mode)
{
    (void)json_array_append_new(mounts, json_pack("{s:s,s:s,s:s,s:[s,s,s]}", "destination", path,
                                                  "type", "bind", "source", path, "options",
                                                  "rbind", "rprivate", mode));
}

static bool is_beneath(const char *path, const char *top)
{
    size_t n = strlen(top);

    return strncmp(path, top, n) == 0 && (path[n] == '/' || !path[n]);
}

/* A look at a file system whose server is gone may never end: it is another process's. */
static bool answers(const char *path)
{
    struct pollfd end = {.events = POLLIN};
    siginfo_t how = {0};
    pid_t pid = fork();

    if (pid == 0) {
        (void)close_range(0, ~0U, 0); /* it may outlive us: nobody's pipe stays open */
        _exit(access(path, F_OK) == 0 ? 0 : 1);
    }
    if (pid < 0)
        return false;
    end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    (void)poll(&end, 1, ANSWER_MS);
    (void)kill(pid, SIGKILL);
    (void)waitid(P_PID, (id_t)pid, &how, WEXITED | WNOHANG);
    if (end.fd >= 0)
        (void)close(end.fd);
    return how.si_code == CLD_EXITED && how.si_status == 0;
}

void host_mounts_add(json_t *mounts)
{
    static const char *const tops[] = {
        "/proc",           "/sys", "/dev", "/run", "/var/lib/docker", "/var/lib/containerd",
        "/var/lib/kubelet"};
    static const struct {
        const char *name;
        bool served; /* by somebody who may be gone */
    } types[] = {{"ext2", false},    {"ext3", false},  {"ext4", false},     {"xfs", false},
                 {"btrfs", false},   {"zfs", false},   {"vfat", false},     {"nfs", true},
                 {"nfs4", true},     {"tmpfs", false}, {"overlay", false},  {"9p", true},
                 {"virtiofs", true}, {"fuse", true},   {"squashfs", false}, {"erofs", false}};
    CLEANUP(free_ptr) char *text = NULL;
    char *save = NULL;

    if (file_read_all(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &text, NULL, NULL) < 0)
        return;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char path[1024], type[32];
        const char *dash = strstr(l, " - ");
        bool wanted = false, served = false;

        if (!dash || sscanf(l, "%*d %*d %*s %*s %1023s", path) != 1 ||
            sscanf(dash, " - %31s", type) != 1 || strcmp(path, "/") == 0 || strchr(path, '\\'))
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
            if (strcmp(type, types[i].name) == 0) {
                wanted = true;
                served = types[i].served;
            }
        for (size_t i = 0; i < ARRAY_SIZE(tops); i++)
            wanted &= !is_beneath(path, tops[i]);
        /* A /tmp of its own would be read-only here: it becomes a fresh one. */
        if (wanted && strcmp(path, "/tmp") == 0)
            (void)json_array_append_new(mounts, json_pack("{s:s,s:s,s:[s]}", "destination", "/tmp",
                                                          "type", "tmpfs", "options", "mode=1777"));
        else if (wanted && json_array_size(mounts) < MOUNTS_MAX &&
                 (served ? answers(path) : access(path, F_OK) == 0))
            mounts_bind(mounts, path, "ro");
    }
}
