/* Turns a forked process into the zygote: the embedded program, with nothing but its socket. */
#include "runtime/platform/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

extern const char stub_elf[], stub_elf_end[];

static int program_fd(void)
{
    size_t size = (size_t)(stub_elf_end - stub_elf);
    int fd = memfd_create("berm-guest", MFD_ALLOW_SEALING | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("berm-guest", MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (write(fd, stub_elf, size) != (ssize_t)size)
        return -EIO;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return -errno;
    return fd;
}

/*
 * No capabilities now, and none by the exec of a namespace's root (no_new_privs): the sentry's
 * process_vm_* are refused where the target has more than it has itself.
 */
static int drop_privileges(void)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &h, none) < 0)
        return -errno;
    return 0;
}

enum { GUEST_THREADS_MAX = 16384 }; /* sandbox-wide, the sentry's threads counted */

int plat_zygote_exec(int sock)
{
    char name[] = "guest", *const argv[] = {name, NULL}, *const envp[] = {NULL};
    /* One byte: nothing is written to files, and helpers behind a pipe are left alone. */
    struct rlimit core = {1, 1};
    /* Hostile code can clone unseen. Where no cgroup limits that, this does. */
    struct rlimit processes = {GUEST_THREADS_MAX, GUEST_THREADS_MAX};
    int fd, s, r;

    r = drop_privileges();
    if (r < 0)
        return r;
    (void)setrlimit(RLIMIT_CORE, &core);
    (void)setrlimit(RLIMIT_NPROC, &processes);
    fd = program_fd();
    if (fd < 0)
        return fd;
    /* Out of the way of the two numbers that the zygote expects. */
    s = fcntl(sock, F_DUPFD, 10);
    fd = fcntl(fd, F_DUPFD, 10);
    if (s < 0 || fd < 0 || dup2(s, STUB_SOCK) < 0 || dup2(fd, STUB_SLOTS) < 0)
        return -errno;
    if (syscall(SYS_close_range, STUB_FIRST_FREE, ~0U, 0) < 0)
        return -errno;
    (void)syscall(SYS_execveat, STUB_SLOTS, "", argv, envp, AT_EMPTY_PATH);
    return -errno;
}
