/* Access control lists, on a tmpfs: the same calls as setfacl and getfacl make. */
#include "t.h"
#include <grp.h>
#include <sys/xattr.h>

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define NONE    0xffffffffU

struct entry {
    uint16_t tag, perm;
    uint32_t id;
};
struct list {
    uint32_t version;
    struct entry e[8];
};

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

static size_t size_of(int n)
{
    return 4 + (size_t)n * sizeof(struct entry);
}

static void show(const char *path, const char *name)
{
    struct list l;
    struct stat st;
    ssize_t n = getxattr(path, name, &l, sizeof(l));

    if (stat(path, &st) == 0)
        printf("%s %o", path, st.st_mode);
    if (n < 0)
        printf(" %s\n", strerrorname_np(errno));
    for (unsigned k = 0; n >= 0 && k < ((size_t)n - 4) / sizeof(struct entry); k++)
        printf(" %d:%d:%d", l.e[k].tag, (int)l.e[k].id, l.e[k].perm);
    if (n >= 0)
        printf("\n");
    (void)fflush(stdout);
}

static const struct list plain = {2, {{USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE}}};
static const struct list named = {2,
                                  {{USER_OBJ, 6, NONE},
                                   {USER, 6, 1000},
                                   {GROUP_OBJ, 4, NONE},
                                   {GROUP, 4, 2000},
                                   {MASK, 6, NONE},
                                   {OTHER, 0, NONE}}};

static void setting(void)
{
    struct list bad = named;

    SECTION("setting");
    (void)close(MUST(open("f", O_CREAT | O_RDWR, 0600)));
    show("f", ACCESS);
    R(setxattr("f", ACCESS, &plain, size_of(3), 0));
    show("f", ACCESS); /* it says what the mode says */
    R(setxattr("f", ACCESS, &named, size_of(6), 0));
    show("f", ACCESS);
    R(getxattr("f", ACCESS, NULL, 0));
    R(getxattr("f", ACCESS, &bad, 8));
    bad = named;
    R(chmod("f", 0751));
    show("f", ACCESS);
    R(listxattr("f", NULL, 0));
    R(setxattr("f", DEFAULT, &named, size_of(6), 0));
    R(removexattr("f", DEFAULT));
    R(setxattr("f", ACCESS, &named, size_of(4), 0)); /* neither mask nor others */
    R(setxattr("f", ACCESS, &named, 7, 0));
    bad.version = 1;
    R(setxattr("f", ACCESS, &bad, size_of(6), 0));
    bad = named;
    bad.e[1].perm = 8;
    R(setxattr("f", ACCESS, &bad, size_of(6), 0));
    bad = named;
    bad.e[0] = named.e[1], bad.e[1] = named.e[0];
    R(setxattr("f", ACCESS, &bad, size_of(6), 0));
    show("f", ACCESS);
    R(removexattr("f", ACCESS));
    show("f", ACCESS);
    MUST(symlink("f", "l"));
    R(lsetxattr("l", ACCESS, &named, size_of(6), 0));
    R(lgetxattr("l", ACCESS, NULL, 0));
}

static void inheriting(void)
{
    SECTION("inheriting");
    (void)umask(077);
    MUST(mkdir("d", 0755));
    R(setxattr("d", DEFAULT, &named, size_of(6), 0));
    show("d", ACCESS);
    show("d", DEFAULT);
    (void)close(MUST(open("d/f", O_CREAT | O_RDWR, 0666)));
    show("d/f", ACCESS);
    show("d/f", DEFAULT);
    MUST(mkdir("d/s", 0777));
    show("d/s", ACCESS);
    show("d/s", DEFAULT);
    MUST(mkfifo("d/p", 0640));
    show("d/p", ACCESS);
    MUST(symlink("f", "d/l"));
    R(setxattr("d", DEFAULT, NULL, 0, 0));
    show("d", DEFAULT);
    (void)close(MUST(open("d/g", O_CREAT | O_RDWR, 0666)));
    show("d/g", ACCESS);
    (void)umask(022);
}

static void as(const char *what, uid_t uid, gid_t gid)
{
    pid_t pid = MUST(fork());

    if (pid == 0) {
        gid_t more = 2000;

        printf("as %s\n", what);
        MUST(setgroups(gid == 2000, &more));
        MUST(setgid(gid == 2000 ? 5 : gid));
        MUST(setuid(uid));
        R(access("f", R_OK));
        R(access("f", W_OK));
        R(access("f", X_OK));
        R(chdir("d"));
        R(setxattr("f", ACCESS, &named, size_of(6), 0));
        (void)fflush(stdout);
        _exit(0);
    }
    MUST(waitpid(pid, NULL, 0));
}

static void permissions(void)
{
    struct list dir = named;

    SECTION("permissions");
    MUST(chown("f", 7, 7));
    MUST(setxattr("f", ACCESS, &named, size_of(6), 0));
    dir.e[1].perm = 1, dir.e[4].perm = 1;
    MUST(setxattr("d", ACCESS, &dir, size_of(6), 0));
    as("its owner", 7, 9);
    as("the named user", 1000, 9);
    as("its group", 8, 7);
    as("the named group", 8, 2000);
    as("a stranger", 8, 9);
    MUST(chmod("f", 0600)); /* the mask takes all of it away */
    as("the named user behind the mask", 1000, 9);
}

int main(void)
{
    char dir[] = "/dev/shm/acl-XXXXXX", command[64];

    if (!mkdtemp(dir) || chmod(dir, 0755) < 0 || chdir(dir) < 0)
        return 2;
    setting();
    inheriting();
    permissions();
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) != 0;
}
