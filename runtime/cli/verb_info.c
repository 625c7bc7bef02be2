/* features, spec, debug. */
#include "common/cleanup.h"
#include "runtime/cli/cli.h"
#include "runtime/oci/spec.h"
#include "runtime/platform/platform.h"
#include "runtime/security/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char default_spec[] =
    "{\"ociVersion\":\"1.1.0\","
    "\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sh\"],"
    "\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/"
    "bin\",\"TERM=xterm\"],"
    "\"cwd\":\"/\",\"capabilities\":{\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\","
    "\"CAP_NET_BIND_SERVICE\"],\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\","
    "\"CAP_NET_BIND_SERVICE\"],\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\","
    "\"CAP_NET_BIND_SERVICE\"]},\"noNewPrivileges\":true},"
    "\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"berm\","
    "\"mounts\":["
    "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
    "\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
    "\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]}"
    ","
    "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
    "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}],"
    "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},"
    "{\"type\":\"uts\"},{\"type\":\"mount\"}]}}";

static const struct cli_option no_options[] = {{0}};
static const struct cli_option spec_options[] = {
    {"bundle", 'b', CLI_VALUE, "DIR", 0, "where it is written (.)"},
    {"rootless", 0, CLI_REFUSED, NULL, 0, "user namespaces are the sandbox's own matter"},
    {0},
};

static int run_spec(struct cli *cli, int argc, char **argv, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    const char *bundle = ".";
    char path[4096];
    json_t *j;
    int r = cli_options(argc, argv, &verb_spec, &bundle, err);

    (void)cli;
    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "%s/config.json", bundle);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_errno(err, -errno, "create '%s'", path);
    j = json_loads(default_spec, 0, NULL);
    r = json_dumpfd(j, fd, JSON_INDENT(2));
    json_decref(j);
    return r < 0 ? error_set(err, -EIO, "write '%s'", path) : 0;
}

const struct cli_verb verb_spec = {
    "spec", "", "writes a config.json to start from", spec_options, false, 0, 0, run_spec};

static int run_features(struct cli *cli, int argc, char **argv, struct error *err)
{
    int r = cli_options(argc, argv, &verb_features, NULL, err);

    (void)cli;
    if (r < 0)
        return r;
    (void)puts(
        "{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.3.0\","
        "\"hooks\":[\"prestart\",\"createRuntime\",\"createContainer\",\"startContainer\","
        "\"poststart\",\"poststop\"],"
        "\"mountOptions\":[\"bind\",\"dev\",\"exec\",\"noatime\",\"nodev\",\"nodiratime\","
        "\"noexec\","
        "\"nosuid\",\"private\",\"rbind\",\"relatime\",\"ro\",\"rprivate\",\"rro\",\"rshared\","
        "\"rslave\",\"rw\",\"shared\",\"slave\",\"strictatime\",\"suid\"],"
        "\"linux\":{\"namespaces\":[\"cgroup\",\"ipc\",\"mount\",\"network\",\"pid\",\"user\","
        "\"uts\"],"
        "\"capabilities\":null,"
        "\"cgroup\":{\"v1\":true,\"v2\":true,\"systemd\":true,\"systemdUser\":false,"
        "\"rdma\":false},"
        "\"seccomp\":{\"enabled\":true,\"actions\":[\"SCMP_ACT_ALLOW\",\"SCMP_ACT_ERRNO\","
        "\"SCMP_ACT_KILL\",\"SCMP_ACT_KILL_PROCESS\",\"SCMP_ACT_KILL_THREAD\",\"SCMP_ACT_LOG\","
        "\"SCMP_ACT_TRACE\",\"SCMP_ACT_TRAP\"],\"operators\":[\"SCMP_CMP_EQ\",\"SCMP_CMP_GE\","
        "\"SCMP_CMP_GT\",\"SCMP_CMP_LE\",\"SCMP_CMP_LT\",\"SCMP_CMP_MASKED_EQ\",\"SCMP_CMP_NE\"],"
        "\"archs\":[\"SCMP_ARCH_X86_64\"]},\"apparmor\":{\"enabled\":false},"
        "\"selinux\":{\"enabled\":false},"
        "\"mountExtensions\":{\"idmap\":{\"enabled\":false}}},"
        "\"annotations\":{\"dev.berm.version\":\"" BERM_VERSION "\"}}");
    return 0;
}

const struct cli_verb verb_features = {
    "features", "", "what this runtime supports, as JSON", no_options, false, 0, 0, run_features};

/* Arguments are not looked at: whatever they are, the answer is the same, and it is a clear one. */
static int refuse(const struct cli_verb *verb, int argc, char **argv, struct error *err)
{
    if (argc == 1 && strcmp(argv[0], "--help") == 0)
        return cli_options(argc, argv, verb, NULL, err);
    return error_set(err, -EOPNOTSUPP, "%s is not supported by this runtime", verb->name);
}

static int run_checkpoint(struct cli *cli, int argc, char **argv, struct error *err)
{
    (void)cli;
    return refuse(&verb_checkpoint, argc, argv, err);
}

const struct cli_verb verb_checkpoint = {
    "checkpoint", "ID",          "not supported: refused with that message", no_options, true, 0,
    -1,           run_checkpoint};

static int run_restore(struct cli *cli, int argc, char **argv, struct error *err)
{
    (void)cli;
    return refuse(&verb_restore, argc, argv, err);
}

const struct cli_verb verb_restore = {
    "restore", "ID",       "not supported: refused with that message", no_options, true, 0,
    -1,        run_restore};

static int run_debug(struct cli *cli, int argc, char **argv, struct error *err)
{
    int r = cli_options(argc, argv, &verb_debug, NULL, err);

    (void)cli;
    if (r < 0)
        return r;
    if (strcmp(argv[0], "config") == 0) {
        oci_spec_show(1);
        return 0;
    }
    if (strcmp(argv[0], "filters") != 0)
        return error_set(err, -EINVAL, "debug: `debug filters` and `debug config` are there");
    for (int role = 0; role < FILTER_ROLES; role++) {
        filter_print((enum filter_role)role, 1);
        (void)dprintf(1, "\n");
    }
    plat_print_filter(1);
    return 0;
}

const struct cli_verb verb_debug = {
    "debug",
    "filters|config",
    "system calls that each process of a sandbox may make; members of config.json",
    no_options,
    false,
    1,
    1,
    run_debug};
