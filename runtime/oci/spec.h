#pragma once
/*
 * An OCI bundle's config.json: what the runtime itself needs of it. The whole JSON is kept, since
 * the sentry reads the rest. The file is hostile input: types, sizes, counts and paths are checked
 * here.
 */
#include "runtime/oci/read.h"

enum { OCI_CONFIG_MAX = 1 << 20, OCI_ID_MAX = 128 };

struct oci_user {
    int64_t uid, gid, umask;
};

struct oci_capabilities {
    struct oci_strings bounding, effective, inheritable, permitted, ambient;
};

struct oci_rlimit {
    const char *type;
    int64_t soft, hard;
};

struct oci_process {
    bool terminal, no_new_privs, has_oom_score_adj;
    struct {
        int64_t height, width;
    } console_size;
    struct oci_user user;
    struct oci_strings args, env;
    const char *cwd;
    int64_t oom_score_adj;
    struct oci_capabilities capabilities;
    struct oci_array rlimits; /* of struct oci_rlimit */
};

struct oci_root {
    const char *path;
    bool readonly;
};

struct oci_mount {
    const char *destination; /* absolute, without ".." */
    const char *type, *source;
    struct oci_strings options;
};

enum oci_ns { NS_PID, NS_NETWORK, NS_MOUNT, NS_IPC, NS_UTS, NS_USER, NS_CGROUP, NS_TIME, NS_COUNT };

struct oci_namespace {
    const char *type, *path;
};

struct oci_memory {
    int64_t limit, swap, reservation, swappiness;
    bool has_limit, has_swap, has_reservation, has_swappiness;
    bool check; /* checkBeforeUpdate */
};

struct oci_cpu {
    int64_t shares, quota, period, burst, idle;
    const char *cpus, *mems;
    bool has_shares, has_quota, has_period, has_burst, has_idle;
};

struct oci_device_rule {
    bool allow;
    const char *type, *access;
    int64_t major, minor;
};

struct oci_resources {
    struct oci_memory memory;
    struct oci_cpu cpu;
    struct {
        int64_t limit;
        bool has_limit;
    } pids;
    json_t *unified;
    struct oci_array devices; /* of struct oci_device_rule */
};

struct oci_device {
    const char *path, *type;
    int64_t major, minor, mode, uid, gid;
};

struct oci_seccomp_condition {
    int64_t index, value, value_two;
    const char *op;
};

struct oci_seccomp_rule {
    struct oci_strings names;
    const char *action;
    int64_t errno_ret;
    struct oci_array conditions; /* of struct oci_seccomp_condition */
};

struct oci_seccomp {
    const char *default_action;
    int64_t default_errno_ret;
    struct oci_strings architectures, flags;
    struct oci_array rules; /* of struct oci_seccomp_rule */
};

struct oci_linux {
    struct oci_array namespaces; /* of struct oci_namespace */
    const char *cgroups_path, *rootfs_propagation;
    struct oci_resources resources;
    struct oci_strings masked_paths, readonly_paths;
    json_t *sysctl;
    struct oci_seccomp seccomp;
    struct oci_array devices; /* of struct oci_device */
    struct {
        const char *domain;
    } personality;
    bool present;
};

struct oci_spec {
    json_t *json; /* owned */
    const char *version, *hostname, *domainname;
    bool has_process;
    struct oci_process process;
    struct oci_root root;
    struct oci_array mounts; /* of struct oci_mount */
    struct oci_linux linux_;
    json_t *annotations, *hooks;
    /* By type: -1 absent (the host's), otherwise the index in linux_.namespaces. */
    int ns[NS_COUNT];
};

/* Reads and checks BUNDLE/config.json. On success free with oci_spec_free. */
int oci_spec_load(const char *bundle, struct oci_spec *ret, struct error *err);
/* The same from text, `file` is for messages. */
int oci_spec_parse(const char *text, size_t size, const char *file, struct oci_spec *ret,
                   struct error *err);
/* The same of a value made in memory, which is taken over (also on failure). */
int oci_spec_from_json(json_t *json, const char *file, struct oci_spec *ret, struct error *err);
void oci_spec_free(struct oci_spec *spec);

/* A process object by itself (exec --process): json is borrowed and must outlive it. */
int oci_process_read(json_t *json, const char *file, struct oci_process *ret, struct error *err);
void oci_process_free(struct oci_process *p);
/* LinuxResources by itself (update). */
int oci_resources_read(json_t *json, const char *file, struct oci_resources *ret,
                       struct error *err);
void oci_resources_free(struct oci_resources *res);

/* Prints every member that is known: honoured, without effect, or refused, and why. */
void oci_spec_show(int fd);
/* Is it in the bounding set of the first process? name: "CAP_..." */
bool oci_spec_has_capability(const struct oci_spec *spec, const char *name);
/* Value of an annotation, or NULL. */
const char *oci_annotation(const struct oci_spec *spec, const char *key);
/* The id of the sandbox that this container joins, or NULL if it is a sandbox (or stands alone). */
const char *oci_sandbox_id(const struct oci_spec *spec);
const struct oci_namespace *oci_namespace(const struct oci_spec *spec, enum oci_ns ns);
/* True if option is among the mount's. */
bool oci_mount_has(const struct oci_mount *m, const char *option);

/* Container ids become file names: 0 or -EINVAL with a message. */
int oci_id_check(const char *id, struct error *err);
