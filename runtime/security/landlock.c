/*
 * Landlock for the gofer: a second fence behind its mount namespace, which holds nothing but the
 * container's mounts. Only rights that the oldest supported version (2, Linux 5.19) knows: without
 * REFER, renaming between directories would fail.
 */
#include "common/cleanup.h"
#include "runtime/security/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

enum {
    READ_FILE = LANDLOCK_ACCESS_FS_READ_FILE,
    READ_TREE = READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    MAKE = LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
           LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
           LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
           LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER,
    HANDLED = READ_TREE | MAKE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE |
              LANDLOCK_ACCESS_FS_MAKE_BLOCK,
};

static int add_tree(int ruleset, const struct confine_tree *tree, uint64_t handled,
                    struct error *err)
{
    struct landlock_path_beneath_attr rule = {.parent_fd = tree->root};
    struct stat st;

    if (fstat(tree->root, &st) < 0)
        return error_errno(err, -errno, "landlock: stat a mount's root");
    rule.allowed_access = READ_TREE;
    if (!tree->readonly)
        rule.allowed_access |= (uint64_t)MAKE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                               (handled & LANDLOCK_ACCESS_FS_TRUNCATE);
    if (!S_ISDIR(st.st_mode))
        rule.allowed_access &=
            (uint64_t)READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return error_errno(err, -errno, "landlock: allow a mount");
    return 0;
}

int confine_landlock(const struct confine_tree *trees, unsigned n, struct error *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr attr = {.handled_access_fs = HANDLED};
    CLEANUP(close_fd) int ruleset = -1;

    if (version < 2)
        return 0;
    if (version >= 3)
        attr.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0)
        return error_errno(err, -errno, "landlock: create a ruleset");
    for (unsigned i = 0; i < n; i++) {
        int r = add_tree(ruleset, &trees[i], attr.handled_access_fs, err);

        if (r < 0)
            return r;
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return error_errno(err, -errno, "landlock: restrict");
    return 1;
}
