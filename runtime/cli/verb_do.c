/*
 * do: one command in a sandbox over this machine's files. They are read-only; what the command
 * writes stays in the sandbox's memory and goes with it. No network unless asked for.
 */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/cli/container.h"
#include "runtime/cli/host_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

struct options {
    bool net, net_raw;
    struct cli_list rw, env;
    const char *cwd, *user, *hostname;
    unsigned uid, gid; /* of user */
};

#define AT(member) offsetof(struct options, member)
static const struct cli_option option_table[] = {
    {"net", 0, CLI_FLAG, NULL, AT(net), "the host's network, which an agent must guard"},
    {"net-raw", 0, CLI_FLAG, NULL, AT(net_raw), "raw sockets, too"},
    {"rw", 0, CLI_LIST, "DIR", AT(rw), "what is written there stays; may be repeated"},
    {"env", 'e', CLI_LIST, "NAME=VALUE", AT(env), "an environment variable; may be repeated"},
    {"cwd", 'C', CLI_VALUE, "DIR", AT(cwd), "the working directory"},
    {"user", 'u', CLI_VALUE, "UID[:GID]", AT(user), "as whom it runs (0:0)"},
    {"hostname", 0, CLI_VALUE, "NAME", AT(hostname), "the host name inside"},
    {0},
};
#undef AT

/* The capabilities that a root user of a container usually has. */
static const char *const capabilities[] = {
    "CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",      "CAP_FOWNER",  "CAP_MKNOD",
    "CAP_SETGID", "CAP_SETUID",       "CAP_SETFCAP",     "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_KILL",   "CAP_SYS_CHROOT",   "CAP_AUDIT_WRITE",
};

/* Mounted fresh over what the host has there. */
static const struct {
    const char *destination, *type, *options;
} own_mounts[] = {
    {"/proc", "proc", NULL},
    {"/sys", "sysfs", "ro"},
    {"/sys/fs/cgroup", "cgroup", "ro"},
    {"/dev", "dev", NULL},
    {"/dev/pts", "devpts", "newinstance"},
    {"/dev/shm", "tmpfs", "mode=1777"},
    {"/dev/mqueue", "mqueue", NULL},
};

static json_t *strings(const char *const *items, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list, json_string(items[i]));
    return list;
}

/* The caller's environment, changed by -e; what is not valid UTF-8 can't be passed. */
static json_t *environment(const struct options *o)
{
    json_t *list = json_array();

    for (char **e = environ; *e; e++) {
        bool replaced = false;

        for (unsigned i = 0; i < o->env.count; i++) {
            size_t n = strcspn(o->env.items[i], "=");

            replaced |= strncmp(*e, o->env.items[i], n) == 0 && (*e)[n] == '=';
        }
        if (!replaced)
            (void)json_array_append_new(list, json_string(*e));
    }
    for (unsigned i = 0; i < o->env.count; i++)
        (void)json_array_append_new(list, json_string(o->env.items[i]));
    return list;
}

static json_t *process(const struct options *o, int argc, char **argv, const char *cwd)
{
    json_t *caps = json_object(), *user;
    static const char *const sets[] = {"bounding", "effective", "permitted"};

    user = json_pack("{s:I,s:I}", "uid", (json_int_t)o->uid, "gid", (json_int_t)o->gid);
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        json_t *set = strings(capabilities, ARRAY_SIZE(capabilities));

        if (o->net_raw)
            (void)json_array_append_new(set, json_string("CAP_NET_RAW"));
        (void)json_object_set_new(caps, sets[i], set);
    }
    return json_pack("{s:b,s:o,s:o,s:o,s:s,s:o}", "terminal", isatty(0) && isatty(1) && isatty(2),
                     "user", user, "args", strings((const char *const *)argv, (size_t)argc), "env",
                     environment(o), "cwd", cwd, "capabilities", caps);
}

static json_t *all_mounts(const struct options *o, struct error *err)
{
    json_t *mounts = json_array();

    host_mounts_add(mounts);
    for (size_t i = 0; i < ARRAY_SIZE(own_mounts); i++) {
        json_t *options =
            own_mounts[i].options ? json_pack("[s]", own_mounts[i].options) : json_array();

        (void)json_array_append_new(mounts, json_pack("{s:s,s:s,s:o}", "destination",
                                                      own_mounts[i].destination, "type",
                                                      own_mounts[i].type, "options", options));
    }
    for (unsigned i = 0; i < o->rw.count; i++) {
        CLEANUP(free_ptr) char *path = realpath(o->rw.items[i], NULL);

        if (!path) {
            (void)error_errno(err, -errno, "--rw '%s'", o->rw.items[i]);
            json_decref(mounts);
            return NULL;
        }
        mounts_bind(mounts, path, "rw");
    }
    return mounts;
}

static json_t *build(const struct options *o, const char *id, int argc, char **argv,
                     struct error *err)
{
    json_t *mounts = all_mounts(o, err), *spec, *linux_, *namespaces;
    char cwd[PATH_MAX];

    if (!mounts)
        return NULL;
    if (!o->cwd && !getcwd(cwd, sizeof(cwd)))
        (void)strcpy(cwd, "/");
    namespaces = json_pack("[{s:s},{s:s},{s:s},{s:s}]", "type", "pid", "type", "mount", "type",
                           "ipc", "type", "uts");
    if (!o->net)
        (void)json_array_append_new(namespaces, json_pack("{s:s}", "type", "network"));
    linux_ = json_pack("{s:o}", "namespaces", namespaces);
    /* With the host's network, the cgroup is what the agent's guard hangs on. */
    if (o->net) {
        char path[64];

        (void)snprintf(path, sizeof(path), "/berm/%s", id);
        (void)json_object_set_new(linux_, "cgroupsPath", json_string(path));
    }
    spec = json_pack("{s:s,s:o,s:{s:s,s:b},s:s,s:o,s:o}", "ociVersion", "1.1.0", "process",
                     process(o, argc, argv, o->cwd ? o->cwd : cwd), "root", "path", "/", "readonly",
                     0, "hostname", o->hostname ? o->hostname : "berm", "mounts", mounts, "linux",
                     linux_);
    if (!spec)
        (void)error_set(err, -EINVAL, "do: the command or a path is not valid UTF-8");
    return spec;
}

/* Runs that were killed could not remove their directories; the next one does. */
static void sweep(struct cli *cli)
{
    CLEANUP(close_dir) DIR *d = opendir(cli->root);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        CLEANUP(close_fd) int fd = -1;
        struct error err = ERROR_INIT;
        struct state s;

        if (strncmp(e->d_name, "do-", 3) != 0)
            continue;
        fd = state_open_dead(cli->root, e->d_name);
        if (fd < 0)
            continue;
        if (state_load(fd, e->d_name, &s, &err) == 0)
            (void)container_delete(cli, fd, &s, &err);
        else
            state_remove(cli->root, e->d_name);
        state_free(&s);
    }
}

/* Pids alone are not unique: runs of several pid namespaces may share the directory. */
static void make_id(char *id, size_t size)
{
    uint32_t random = 0;

    (void)!getrandom(&random, sizeof(random), 0);
    (void)snprintf(id, size, "do-%d-%08x", (int)getpid(), random);
}

/* Its directory of state is a bundle, too, so that `exec` knows user, rights and environment. */
static void become_bundle(struct container *c, const json_t *json, char *path, size_t size)
{
    CLEANUP(close_fd)
    int fd = openat(c->dirfd, "config.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    (void)snprintf(path, size, "%s/%s", c->cli->root, c->id);
    if (fd >= 0 && json_dumpfd(json, fd, 0) == 0)
        c->bundle = path;
}

static int run_do(struct cli *cli, int argc, char **argv, struct error *err)
{
    struct container c = {.foreground = true, .host_root = true};
    struct options o = {0};
    char id[32], bundle[PATH_MAX];
    json_t *json;
    int n = cli_options(argc, argv, &verb_do, &o, err), r;

    if (n < 0)
        return n;
    if (o.cwd && *o.cwd != '/')
        return error_set(err, -EINVAL, "--cwd: must be an absolute path");
    r = o.user ? cli_user(o.user, &o.uid, &o.gid, err) : 0;
    if (r == 0)
        r = cli_config(cli, err);
    if (r < 0)
        return r;
    sweep(cli);
    make_id(id, sizeof(id));
    c.launch.net_raw = o.net_raw;
    json = build(&o, id, n, argv, err);
    if (!json)
        return err->code;
    r = oci_spec_from_json(json_incref(json), "do", &c.spec, err);
    if (r == 0)
        r = container_prepare(&c, cli, id, "/", NULL, err);
    if (r == 0) {
        become_bundle(&c, json, bundle, sizeof(bundle));
        r = container_run(&c, NULL, false, err);
    }
    json_decref(json);
    /* As a shell says it: not found 127, not executable 126. */
    if (r < 0 && strncmp(err->msg, "exec: ", 6) == 0) {
        (void)fprintf(stderr, "berm: %s\n", err->msg);
        return err->code == -ENOENT ? 127 : 126;
    }
    return r;
}

const struct cli_verb verb_do = {
    "do",         "COMMAND...", "one command in a sandbox over this machine's files, read-only",
    option_table, true,         1,
    -1,           run_do};
