/* The members of config.json as tables: names, types, ranges; and what is refused by name. */
#include "runtime/oci/spec_fields.h"

enum {
    ARGS_MAX = 16384,
    MOUNTS_MAX = 1000,
    OPTIONS_MAX = 64,
    NAMESPACES_MAX = 32,
    PATHS_MAX = 1024,
    CAPABILITIES_MAX = 256,
    RLIMITS_MAX = 64,
    DEVICES_MAX = 65536,
    SECCOMP_RULES_MAX = 4096,
    ERRNO_MAX = 4095,
};
#define ID_MAX INT64_C(4294967294) /* (uid_t)-1 means "unchanged" */

#define AT(type, member)        .offset = offsetof(type, member)
#define SUB(table)              .fields = (table)
#define ANY                     .min = INT64_MIN, .max = INT64_MAX
#define NO_EFFECT(type, reason) OCI_ACCEPTED, .json = (type), .why = (reason)
#define END                                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

static const struct oci_field user_fields[] = {
    {"uid", OCI_INT, AT(struct oci_user, uid), .max = ID_MAX},
    {"gid", OCI_INT, AT(struct oci_user, gid), .max = ID_MAX},
    {"umask", OCI_INT, AT(struct oci_user, umask), .max = 0777},
    {"username", NO_EFFECT(JSON_STRING, "of Windows")},
    {"additionalGids", OCI_INTS, .max = ID_MAX},
    END,
};

#define CONSOLE_AT(m)                                                                              \
    .offset =                                                                                      \
        offsetof(struct oci_process, console_size.m) - offsetof(struct oci_process, console_size)
static const struct oci_field console_fields[] = {
    {"height", OCI_INT, CONSOLE_AT(height), .max = UINT16_MAX},
    {"width", OCI_INT, CONSOLE_AT(width), .max = UINT16_MAX},
    END,
};

#define SET(name)                                                                                  \
    {                                                                                              \
#name, OCI_STRINGS, AT(struct oci_capabilities, name), .max = CAPABILITIES_MAX             \
    }
static const struct oci_field capabilities_fields[] = {
    SET(bounding), SET(effective), SET(inheritable), SET(permitted), SET(ambient), END,
};

static const struct oci_field rlimit_fields[] = {
    {"type", OCI_STRING, AT(struct oci_rlimit, type), .required = true},
    {"soft", OCI_INT, AT(struct oci_rlimit, soft), ANY, .required = true},
    {"hard", OCI_INT, AT(struct oci_rlimit, hard), ANY, .required = true},
    END,
};

static const char no_labels[] =
    "a guest's files and processes are the sentry's, which has no labels";
const struct oci_field oci_process_fields[] = {
    {"consoleSize", OCI_OBJECT, AT(struct oci_process, console_size), SUB(console_fields)},
    {"terminal", OCI_BOOL, AT(struct oci_process, terminal)},
    {"user", OCI_OBJECT, AT(struct oci_process, user), SUB(user_fields)},
    {"args", OCI_STRINGS, AT(struct oci_process, args), .max = ARGS_MAX, .required = true},
    {"env", OCI_STRINGS, AT(struct oci_process, env), .max = ARGS_MAX},
    {"cwd", OCI_STRING, AT(struct oci_process, cwd), .required = true},
    {"noNewPrivileges", OCI_BOOL, AT(struct oci_process, no_new_privs)},
    {"capabilities", OCI_OBJECT, AT(struct oci_process, capabilities), SUB(capabilities_fields)},
    {"rlimits", OCI_ARRAY, AT(struct oci_process, rlimits), .max = RLIMITS_MAX, SUB(rlimit_fields),
     .size = sizeof(struct oci_rlimit)},
    {"apparmorProfile", NO_EFFECT(JSON_STRING, no_labels)},
    {"selinuxLabel", NO_EFFECT(JSON_STRING, no_labels)},
    {"commandLine", NO_EFFECT(JSON_STRING, "of Windows")},
    {"scheduler", OCI_REFUSED, .why = "scheduling is the sandbox's own matter"},
    {"ioPriority", OCI_REFUSED, .why = "files are read and written by the pod's sentry"},
    {"execCPUAffinity", OCI_REFUSED, .why = "use linux.resources.cpu.cpus"},
    {"oomScoreAdj", OCI_INT, AT(struct oci_process, oom_score_adj), .min = -1000, .max = 1000,
     .present = offsetof(struct oci_process, has_oom_score_adj)},
    END,
};

static const struct oci_field root_fields[] = {
    {"path", OCI_STRING, AT(struct oci_root, path), .required = true},
    {"readonly", OCI_BOOL, AT(struct oci_root, readonly)},
    END,
};

static const char no_user_namespaces[] = "user namespaces are not supported";
static const struct oci_field mount_fields[] = {
    {"destination", OCI_STRING, AT(struct oci_mount, destination), .required = true},
    {"type", OCI_STRING, AT(struct oci_mount, type)},
    {"source", OCI_STRING, AT(struct oci_mount, source)},
    {"options", OCI_STRINGS, AT(struct oci_mount, options), .max = OPTIONS_MAX},
    {"uidMappings", OCI_REFUSED, .why = no_user_namespaces},
    {"gidMappings", OCI_REFUSED, .why = no_user_namespaces},
    END,
};

static const struct oci_field namespace_fields[] = {
    {"type", OCI_STRING, AT(struct oci_namespace, type), .required = true},
    {"path", OCI_STRING, AT(struct oci_namespace, path)},
    END,
};

#define OPTIONAL_INT(type, name, m)                                                                \
    {                                                                                              \
        name, OCI_INT, AT(type, m), ANY, .present = offsetof(type, has_##m)                        \
    }
static const struct oci_field memory_fields[] = {
    OPTIONAL_INT(struct oci_memory, "limit", limit),
    OPTIONAL_INT(struct oci_memory, "swap", swap),
    OPTIONAL_INT(struct oci_memory, "reservation", reservation),
    OPTIONAL_INT(struct oci_memory, "swappiness", swappiness),
    {"checkBeforeUpdate", OCI_BOOL, AT(struct oci_memory, check)},
    {"kernel",
     NO_EFFECT(JSON_INTEGER, "Linux has no such limit any longer: `limit` holds for all")},
    {"kernelTCP", NO_EFFECT(JSON_INTEGER, "what sockets hold counts towards `limit`")},
    {"useHierarchy", NO_EFFECT(JSON_TRUE, "Linux knows nothing else any longer")},
    {"disableOOMKiller", OCI_REFUSED, .why = "a guest over its limit would stop its whole pod"},
    END,
};

static const char no_realtime[] = "there is no real-time scheduling inside";
static const struct oci_field cpu_fields[] = {
    OPTIONAL_INT(struct oci_cpu, "shares", shares),
    OPTIONAL_INT(struct oci_cpu, "quota", quota),
    OPTIONAL_INT(struct oci_cpu, "period", period),
    OPTIONAL_INT(struct oci_cpu, "burst", burst),
    OPTIONAL_INT(struct oci_cpu, "idle", idle),
    {"realtimeRuntime", OCI_REFUSED, .why = no_realtime},
    {"realtimePeriod", OCI_REFUSED, .why = no_realtime},
    {"cpus", OCI_STRING, AT(struct oci_cpu, cpus)},
    {"mems", OCI_STRING, AT(struct oci_cpu, mems)},
    END,
};

static const struct oci_field pids_fields[] = {
    {"limit", OCI_INT, .offset = 0, ANY,
     .present =
         offsetof(struct oci_resources, pids.has_limit) - offsetof(struct oci_resources, pids)},
    END,
};

static const struct oci_field rule_fields[] = {
    {"allow", OCI_BOOL, AT(struct oci_device_rule, allow)},
    {"type", OCI_STRING, AT(struct oci_device_rule, type)},
    {"access", OCI_STRING, AT(struct oci_device_rule, access)},
    {"major", OCI_INT, AT(struct oci_device_rule, major), ANY},
    {"minor", OCI_INT, AT(struct oci_device_rule, minor), ANY},
    END,
};

const struct oci_field oci_resources_fields[] = {
    {"memory", OCI_OBJECT, AT(struct oci_resources, memory), SUB(memory_fields)},
    {"cpu", OCI_OBJECT, AT(struct oci_resources, cpu), SUB(cpu_fields)},
    {"pids", OCI_OBJECT, AT(struct oci_resources, pids), SUB(pids_fields)},
    {"unified", OCI_JSON, AT(struct oci_resources, unified)},
    {"devices", OCI_ARRAY, AT(struct oci_resources, devices), .max = DEVICES_MAX, SUB(rule_fields),
     .size = sizeof(struct oci_device_rule),
     .why = "a sandbox has none of the machine's devices, whatever the rules allow"},
    {"hugepageLimits",
     NO_EFFECT(JSON_ARRAY, "a guest gets no huge pages (MAP_HUGETLB is refused)")},
    {"blockIO", OCI_REFUSED, .why = "files are read and written by the pod's sentry"},
    {"network", OCI_REFUSED, .why = "there are no classes and priorities of packets"},
    {"rdma", OCI_REFUSED, .why = "a sandbox has none of the machine's devices"},
    END,
};

static const struct oci_field device_fields[] = {
    {"path", OCI_STRING, AT(struct oci_device, path), .required = true},
    {"type", OCI_STRING, AT(struct oci_device, type), .required = true},
    {"major", OCI_INT, AT(struct oci_device, major), .max = UINT32_MAX},
    {"minor", OCI_INT, AT(struct oci_device, minor), .max = UINT32_MAX},
    {"fileMode", OCI_INT, AT(struct oci_device, mode), .max = UINT32_MAX},
    {"uid", OCI_INT, AT(struct oci_device, uid), .max = ID_MAX},
    {"gid", OCI_INT, AT(struct oci_device, gid), .max = ID_MAX},
    END,
};

static const struct oci_field condition_fields[] = {
    {"index", OCI_INT, AT(struct oci_seccomp_condition, index), .max = 5, .required = true},
    {"value", OCI_INT, AT(struct oci_seccomp_condition, value), ANY, .required = true},
    {"valueTwo", OCI_INT, AT(struct oci_seccomp_condition, value_two), ANY},
    {"op", OCI_STRING, AT(struct oci_seccomp_condition, op), .required = true},
    END,
};

static const struct oci_field seccomp_rule_fields[] = {
    {"names", OCI_STRINGS, AT(struct oci_seccomp_rule, names), .max = SECCOMP_RULES_MAX,
     .required = true},
    {"action", OCI_STRING, AT(struct oci_seccomp_rule, action), .required = true},
    {"errnoRet", OCI_INT, AT(struct oci_seccomp_rule, errno_ret), .max = ERRNO_MAX},
    {"args", OCI_ARRAY, AT(struct oci_seccomp_rule, conditions), .max = 6, SUB(condition_fields),
     .size = sizeof(struct oci_seccomp_condition)},
    END,
};

static const struct oci_field seccomp_fields[] = {
    {"defaultAction", OCI_STRING, AT(struct oci_seccomp, default_action), .required = true},
    {"defaultErrnoRet", OCI_INT, AT(struct oci_seccomp, default_errno_ret), .max = ERRNO_MAX},
    {"architectures", OCI_STRINGS, AT(struct oci_seccomp, architectures), .max = PATHS_MAX},
    {"flags", OCI_STRINGS, AT(struct oci_seccomp, flags), .max = PATHS_MAX},
    {"listenerPath", OCI_REFUSED, .why = "calls are judged inside of the sandbox"},
    {"listenerMetadata", OCI_REFUSED, .why = "calls are judged inside of the sandbox"},
    {"syscalls", OCI_ARRAY, AT(struct oci_seccomp, rules), .max = SECCOMP_RULES_MAX,
     SUB(seccomp_rule_fields), .size = sizeof(struct oci_seccomp_rule)},
    END,
};

static const struct oci_field personality_fields[] = {
    {"domain", OCI_STRING, .offset = 0},
    {"flags", OCI_REFUSED, .why = "no flag is known"},
    END,
};

static const struct oci_field linux_fields[] = {
    {"namespaces", OCI_ARRAY, AT(struct oci_linux, namespaces), .max = NAMESPACES_MAX,
     SUB(namespace_fields), .size = sizeof(struct oci_namespace)},
    {"cgroupsPath", OCI_STRING, AT(struct oci_linux, cgroups_path)},
    {"rootfsPropagation", OCI_STRING, AT(struct oci_linux, rootfs_propagation)},
    {"resources", OCI_OBJECT, AT(struct oci_linux, resources), SUB(oci_resources_fields)},
    {"maskedPaths", OCI_STRINGS, AT(struct oci_linux, masked_paths), .max = PATHS_MAX},
    {"readonlyPaths", OCI_STRINGS, AT(struct oci_linux, readonly_paths), .max = PATHS_MAX},
    {"sysctl", OCI_JSON, AT(struct oci_linux, sysctl)},
    {"seccomp", OCI_OBJECT, AT(struct oci_linux, seccomp), SUB(seccomp_fields)},
    {"devices", OCI_ARRAY, AT(struct oci_linux, devices), .max = DEVICES_MAX, SUB(device_fields),
     .size = sizeof(struct oci_device)},
    {"personality", OCI_OBJECT, AT(struct oci_linux, personality), SUB(personality_fields)},
    {"mountLabel", NO_EFFECT(JSON_STRING, no_labels)},
    {"uidMappings", OCI_REFUSED, .why = no_user_namespaces},
    {"gidMappings", OCI_REFUSED, .why = no_user_namespaces},
    {"timeOffsets", OCI_REFUSED, .why = "time namespaces have no offsets"},
    {"intelRdt", OCI_REFUSED, .why = "there is no Intel RDT"},
    {"memoryPolicy", OCI_REFUSED, .why = "a sandbox has one memory node"},
    {"netDevices", OCI_REFUSED, .why = "devices of the host are not moved"},
    END,
};

const struct oci_field oci_spec_fields[] = {
    {"ociVersion", OCI_STRING, AT(struct oci_spec, version), .required = true},
    {"hostname", OCI_STRING, AT(struct oci_spec, hostname)},
    {"domainname", OCI_STRING, AT(struct oci_spec, domainname)},
    {"process", OCI_OBJECT, AT(struct oci_spec, process), SUB(oci_process_fields),
     .present = offsetof(struct oci_spec, has_process)},
    {"root", OCI_OBJECT, AT(struct oci_spec, root), SUB(root_fields), .required = true},
    {"mounts", OCI_ARRAY, AT(struct oci_spec, mounts), .max = MOUNTS_MAX, SUB(mount_fields),
     .size = sizeof(struct oci_mount)},
    {"linux", OCI_OBJECT, AT(struct oci_spec, linux_), SUB(linux_fields),
     .present = offsetof(struct oci_spec, linux_.present)},
    {"annotations", OCI_JSON, AT(struct oci_spec, annotations)},
    {"hooks", OCI_JSON, AT(struct oci_spec, hooks)},
    {"windows", NO_EFFECT(JSON_OBJECT, "of another platform")},
    {"solaris", NO_EFFECT(JSON_OBJECT, "of another platform")},
    {"freebsd", NO_EFFECT(JSON_OBJECT, "of another platform")},
    {"zos", NO_EFFECT(JSON_OBJECT, "of another platform")},
    {"vm", NO_EFFECT(JSON_OBJECT, "a sandbox is no virtual machine")},
    END,
};
