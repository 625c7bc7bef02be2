#pragma once
/*
 * Pseudo file systems (proc, sys, dev, cgroup) by tables: one row and one function add a file.
 *
 *     static const struct pseudo_entry proc_root[] = {
 *         {.name = "uptime", .mode = S_IFREG | 0444, .show = show_uptime},
 *         {.name = "sys", .mode = S_IFDIR | 0555, .entries = proc_sys},
 *         {.name = "self", .mode = S_IFLNK | 0777, .readlink = readlink_self},
 *         {.dynamic = &proc_pids},      // a row without name: what the table doesn't have
 *         {0}};
 *
 * A node carries an object and a number, handed down from directory to directory: `proc_pids` makes
 * a node with the process as its object, and its table's files see it as node->object.
 */
#include "common/buf.h"
#include "runtime/sentry/vfs/inode.h"

struct pseudo_node;

struct pseudo_object_ops { /* both NULL: the object needs no reference */
    void *(*get)(void *object);
    void (*put)(void *object);
};

/* What a dynamic lookup found. */
struct pseudo_found {
    const struct pseudo_entry *row; /* how it behaves; name ignored; static */
    void *object;                   /* takes over one reference; NULL with inherit: parent's */
    const struct pseudo_object_ops *object_ops;
    bool inherit; /* object and object_ops are the parent's */
    uint64_t number;
    uint32_t uid, gid;
    uint64_t ino;  /* 0: chosen */
    uint32_t mode; /* 0: the row's */
};

struct pseudo_dynamic {
    /* 0 or -ENOENT. `name` is NUL-terminated. */
    int (*lookup)(struct task *t, struct pseudo_node *dir, const char *name,
                  struct pseudo_found *ret);
    /* Emits entries from position *pos (starts at 0; any meaning you like) on. Store the position
     * of the entry to be given next before emitting fails; return 0 at the end or when full. */
    int (*iterate)(struct task *t, struct pseudo_node *dir, int64_t *pos,
                   bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                int64_t next_pos),
                   void *arg);
    /* Is a cached node still what lookup would find? NULL: never, look up each time. */
    bool (*valid)(struct task *t, struct pseudo_node *n);
};

struct pseudo_entry {
    const char *name;
    uint32_t mode; /* with type; 0 for the dynamic row */
    /* Regular files: the whole content at once, made at the first read (and again after seeking to
     * 0). 0 or -errno. */
    int (*show)(struct task *t, struct pseudo_node *n, struct buf *out);
    /* One write(2), at most 64 KiB, NUL-terminated: bytes taken or -errno. */
    ssize_t (*store)(struct task *t, struct pseudo_node *n, char *data, size_t size);
    const struct pseudo_entry *entries; /* directories: rows, ended by a zeroed one */
    const struct pseudo_dynamic *dynamic;
    ssize_t (*readlink)(struct task *t, struct pseudo_node *n, char *buf, size_t size);
    int (*follow)(struct task *t, struct pseudo_node *n, struct path *ret); /* magic link */
    const struct file_ops *fops; /* instead of show/store; f->inode leads to the node */
    int (*open)(struct task *t, struct pseudo_node *n, struct file *f); /* may refuse or set up f */
    /* Corrects owner, mode, ino ... (a process's files belong to its euid). NULL: as made. */
    void (*attr)(struct task *t, struct pseudo_node *n, struct attr *a);
    int (*permission)(struct task *t, struct pseudo_node *n, int mask); /* NULL: by mode */
    uint64_t rdev;                                                      /* device nodes */
    uint64_t number; /* static row's own number: node->number, unless 0 (then the parent's) */
    int64_t size;    /* st_size shown, normally 0 */
};

struct pseudo_node {
    struct inode inode;
    const struct pseudo_entry *row;
    void *object; /* reference by object_ops */
    const struct pseudo_object_ops *object_ops;
    uint64_t number;
    void *extra; /* the file system's own */
    bool found;  /* by a dynamic lookup, not by a row */
};

static inline struct pseudo_node *pseudo_node_of(struct inode *i)
{
    return container_of(i, struct pseudo_node, inode);
}
static inline struct pseudo_node *pseudo_node_of_file(const struct file *f)
{
    return pseudo_node_of(f->inode);
}

/* A superblock whose root has the rows `root` (root row: mode S_IFDIR|0555 and .entries or
 * .dynamic). flags: enum super_flags. private: super->private. */
int pseudo_super_new(const struct fs_type *type, const struct super_ops *ops,
                     const struct pseudo_entry *root, void *object,
                     const struct pseudo_object_ops *object_ops, unsigned flags, void *private,
                     struct super **ret);
/* For types without parameters: fs_type.mount = a function that calls this. */
