#include "agent/standalone/capabilities.h"

#include "agent/standalone/podspec.h"
#include "common/cleanup.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* In the kernel's order; `usual` is what container runtimes grant unless told otherwise. */
static const struct capability {
    const char *name;
    bool usual;
} capabilities[] = {
    {"CHOWN", true},
    {"DAC_OVERRIDE", true},
    {"DAC_READ_SEARCH", false},
    {"FOWNER", true},
    {"FSETID", true},
    {"KILL", true},
    {"SETGID", true},
    {"SETUID", true},
    {"SETPCAP", true},
    {"LINUX_IMMUTABLE", false},
    {"NET_BIND_SERVICE", true},
    {"NET_BROADCAST", false},
    {"NET_ADMIN", false},
    {"NET_RAW", true},
    {"IPC_LOCK", false},
    {"IPC_OWNER", false},
    {"SYS_MODULE", false},
    {"SYS_RAWIO", false},
    {"SYS_CHROOT", true},
    {"SYS_PTRACE", false},
    {"SYS_PACCT", false},
    {"SYS_ADMIN", false},
    {"SYS_BOOT", false},
    {"SYS_NICE", false},
    {"SYS_RESOURCE", false},
    {"SYS_TIME", false},
    {"SYS_TTY_CONFIG", false},
    {"MKNOD", true},
    {"LEASE", false},
    {"AUDIT_WRITE", true},
    {"AUDIT_CONTROL", false},
    {"SETFCAP", true},
    {"MAC_OVERRIDE", false},
    {"MAC_ADMIN", false},
    {"SYSLOG", false},
    {"WAKE_ALARM", false},
    {"BLOCK_SUSPEND", false},
    {"AUDIT_READ", false},
    {"PERFMON", false},
    {"BPF", false},
    {"CHECKPOINT_RESTORE", false},
};

static int change(bool *set, const json_t *list, bool value, struct error *err)
{
    size_t i, k;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        const char *name = json_string_value(v);

        if (strncasecmp(name, "CAP_", 4) == 0)
            name += 4;
        for (k = 0; k < ARRAY_SIZE(capabilities); k++) {
            if (strcasecmp(name, "ALL") != 0 && strcasecmp(name, capabilities[k].name) != 0)
                continue;
            set[k] = value;
            if (strcasecmp(name, "ALL") != 0)
                break;
        }
        if (k == ARRAY_SIZE(capabilities) && strcasecmp(name, "ALL") != 0)
            return error_set(err, -EINVAL, "capability '%.40s' is not known", name);
    }
    return 0;
}

int capabilities_make(const json_t *security_context, json_t **ret, struct error *err)
{
    bool set[ARRAY_SIZE(capabilities)];
    const json_t *c = get(security_context, "capabilities");
    json_t *names = json_array();
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
        set[i] = capabilities[i].usual || get_bool(security_context, "privileged", false);
    r = change(set, get(c, "drop"), false, err);
    /* As the runtimes do it: "drop ALL, add X" leaves X. */
    if (r == 0)
        r = change(set, get(c, "add"), true, err);
    for (size_t i = 0; i < ARRAY_SIZE(capabilities) && r == 0; i++)
        if (set[i])
            (void)json_array_append_new(names, json_sprintf("CAP_%s", capabilities[i].name));
    if (r == 0)
        *ret =
            json_pack("{s:O, s:O, s:O}", "bounding", names, "effective", names, "permitted", names);
    json_decref(names);
    return r;
}
