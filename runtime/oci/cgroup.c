#include "runtime/oci/cgroup_internal.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"
#include "runtime/oci/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* "a-b.slice:prefix:name" -> "/a.slice/a-b.slice/prefix-name.scope", as systemd lays slices out. */
static int systemd_path(const char *text, char *out, size_t size)
{
    char slice[256], prefix[256], name[256], part[512] = "";
    size_t n = 0;

    if (sscanf(text, "%255[^:]:%255[^:]:%255s", slice, prefix, name) != 3 || strchr(slice, '/') ||
        strchr(prefix, '/') || strchr(name, '/'))
        return -EINVAL;
    if (strlen(slice) < 7 || strcmp(slice + strlen(slice) - 6, ".slice") != 0)
        return -EINVAL;
    slice[strlen(slice) - 6] = 0;
    for (char *p = slice, *dash; strcmp(slice, "-") != 0 && p; p = dash ? dash + 1 : NULL) {
        size_t len;

        dash = strchr(p, '-');
        len = dash ? (size_t)(dash - slice) : strlen(slice);
        (void)snprintf(part, sizeof(part), "/%.*s.slice", (int)len, slice);
        if (n + strlen(part) >= size)
            return -ENAMETOOLONG;
        n += (size_t)snprintf(out + n, size - n, "%s", part);
    }
    if (snprintf(out + n, size - n, "/%s-%s.scope", prefix, name) >= (int)(size - n))
        return -ENAMETOOLONG;
    return 0;
}

/* One line of mountinfo: takes it if it is a control group's hierarchy with the whole tree in
 * sight. */
static void take_mount(struct cgroup *cg, const char *line)
{
    struct cgroup_hierarchy *h = &cg->hierarchies[cg->n];
    char root[256], mount[256], type[32], options[256];
    const char *dash = strstr(line, " - ");

    if (cg->n == CGROUP_MAX || !dash || sscanf(line, "%*d %*d %*s %255s %255s", root, mount) != 2 ||
        sscanf(dash, " - %31s %*s %255s", type, options) != 2 || strncmp(type, "cgroup", 6) != 0)
        return;
    for (unsigned i = 0; i < cg->n; i++)
        if (strcmp(cg->hierarchies[i].mount, mount) == 0)
            return;
    *h = (struct cgroup_hierarchy){.v2 = strcmp(type, "cgroup2") == 0};
    (void)strcpy(h->mount, mount);
    if (!h->v2)
        (void)snprintf(h->controllers, sizeof(h->controllers), ",%.61s,", options);
    cg->n++;
}

static bool is_scope(const char *path)
{
    size_t n = strlen(path);

    return n > 6 && strcmp(path + n - 6, ".scope") == 0;
}

int cgroup_init_path(struct cgroup *cg, const char *path, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *save = NULL;
    int r;

    *cg = (struct cgroup){0};
    if (strlen(path) >= sizeof(cg->path))
        return error_set(err, -ENAMETOOLONG, "cgroup path is too long");
    (void)strcpy(cg->path, path);
    if (!*path)
        return 0;
    cg->systemd = is_scope(path) && systemd_running();
    r = file_read_all(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &text, NULL, err);
    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        take_mount(cg, line);
    return 0;
}

static bool any_limit(const struct oci_resources *r)
{
    return r->memory.has_limit || r->memory.has_swap || r->cpu.has_quota || r->cpu.has_shares ||
           r->cpu.has_idle || r->memory.has_reservation || r->pids.has_limit || r->cpu.cpus ||
           r->cpu.mems || json_object_size(r->unified);
}

int cgroup_init(struct cgroup *cg, const struct oci_spec *spec, const char *id, bool systemd,
                struct error *err)
{
    const char *want = spec->linux_.cgroups_path;
    char path[2048] = "";
    int r;

    if (want && systemd && strchr(want, ':')) {
        if (systemd_path(want, path, sizeof(path)) < 0)
            return error_set(err, -EINVAL,
                             "config.json: linux.cgroupsPath: '%.200s' is not SLICE:PREFIX:NAME",
                             want);
    } else if (want && *want) {
        if (strstr(want, "..") || snprintf(path, sizeof(path), "%s%s", *want == '/' ? "" : "/",
                                           want) >= (int)sizeof(path) - 200)
            return error_set(err, -EINVAL,
                             "config.json: linux.cgroupsPath: '%.200s' is not a plain path", want);
    } else if (any_limit(&spec->linux_.resources)) {
        (void)snprintf(path, sizeof(path), "/berm/%s", id);
    }
    while (strlen(path) > 1 && path[strlen(path) - 1] == '/')
        path[strlen(path) - 1] = 0;
    if (strcmp(path, "/") == 0)
        path[0] = 0;
    r = cgroup_init_path(cg, path, err);
    cg->systemd &= systemd;
    return r;
}

void cgroup_sibling(const struct cgroup *cg, const char *id, struct cgroup *ret)
{
    char *slash;

    *ret = *cg;
    slash = strrchr(ret->path, '/');
    if (slash)
        (void)snprintf(slash, sizeof(ret->path) - (size_t)(slash - ret->path), "/berm-%s%s", id,
                       is_scope(cg->path) ? ".scope" : "");
}

static void full_path(const struct cgroup *cg, const struct cgroup_hierarchy *h, const char *file,
                      char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s%s", h->mount, cg->path, *file ? "/" : "", file);
}

/* A fresh cpuset has no cpus and takes no processes: it gets what its parent has. */
static void inherit_cpuset(const char *dir)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        CLEANUP(free_ptr) char *mine = NULL;
        CLEANUP(free_ptr) char *parents = NULL;
        char path[PATH_MAX + 64];

        (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        if (file_read_all(AT_FDCWD, path, 4096, &mine, NULL, NULL) < 0 ||
            (mine[0] && mine[0] != '\n'))
            continue;
        (void)snprintf(path, sizeof(path), "%s/../%s", dir, files[i]);
        if (file_read_all(AT_FDCWD, path, 4096, &parents, NULL, NULL) < 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        (void)file_write(AT_FDCWD, path, parents, NULL);
    }
}

/* Controllers of v2 are handed down level by level. */
static void delegate_v2(const char *dir)
{
    CLEANUP(free_ptr) char *have = NULL;
    char path[PATH_MAX + 64], *save = NULL;

    (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", dir);
    if (file_read_all(AT_FDCWD, path, 4096, &have, NULL, NULL) < 0)
        return;
    (void)snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir);
    for (char *c = strtok_r(have, " \n", &save); c; c = strtok_r(NULL, " \n", &save)) {
        char word[64];

        (void)snprintf(word, sizeof(word), "+%.60s", c);
        (void)file_write(AT_FDCWD, path, word, NULL);
    }
}

static int make_levels(const struct cgroup *cg, const struct cgroup_hierarchy *h)
{
    size_t base = strlen(h->mount);
    char path[PATH_MAX];
    bool cpuset = strstr(h->controllers, ",cpuset,") != NULL;

    full_path(cg, h, "", path, sizeof(path));
    for (char *p = path + base; p;) {
        char *next = strchr(p + 1, '/');

        if (h->v2) {
            *p = 0;
            delegate_v2(path);
            *p = '/';
        }
        if (next)
            *next = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        if (cpuset)
            inherit_cpuset(path);
        if (next)
            *next = '/';
        p = next;
    }
    return 0;
}

static void make_directories(const struct cgroup *cg)
{
    for (unsigned i = 0; i < cg->n; i++) {
        int r = make_levels(cg, &cg->hierarchies[i]);

        if (r < 0)
            log_warn("cgroup %s%s: %s", cg->hierarchies[i].mount, cg->path, strerror(-r));
    }
}

void cgroup_create(const struct cgroup *cg)
{
    if (!*cg->path || cg->systemd)
        return;
    make_directories(cg);
}

static int scope_start(const struct cgroup *cg, const struct oci_resources *res, struct error *err)
{
    const char *unit = strrchr(cg->path, '/') + 1, *slice;
    char parent[2048];

    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(unit - cg->path - 1), cg->path);
    slice = strrchr(parent, '/');
    return systemd_scope_start(slice ? slice + 1 : "-.slice", unit, res, err);
}

int cgroup_begin(const struct cgroup *cg, const struct oci_resources *res, struct error *err)
{
    int r = 0;

    if (!*cg->path)
        return 0;
    if (cg->systemd)
        r = scope_start(cg, res, err);
    if (r == 0) {
        /* What systemd does not manage (hierarchies of v1, other controllers), too. */
        make_directories(cg);
        if (res)
            r = cgroup_apply(cg, res, err);
    }
    if (r < 0)
        return error_wrap(err, "config.json");
    cgroup_enter(cg);
    return 0;
}

void cgroup_enter(const struct cgroup *cg)
{
    if (!*cg->path)
        return;
    for (unsigned i = 0; i < cg->n; i++) {
        struct error err = ERROR_INIT;
        char path[PATH_MAX];

        full_path(cg, &cg->hierarchies[i], "cgroup.procs", path, sizeof(path));
        if (file_write(AT_FDCWD, path, "0", &err) < 0 && err.code != -ENOENT)
            log_warn("enter cgroup: %s", err.msg);
    }
}

const struct cgroup_hierarchy *cgroup_find(const struct cgroup *cg, const char *controller)
{
    char word[40];

    (void)snprintf(word, sizeof(word), ",%s,", controller);
    for (unsigned i = 0; i < cg->n; i++)
        if (!cg->hierarchies[i].v2 && strstr(cg->hierarchies[i].controllers, word))
            return &cg->hierarchies[i];
    for (unsigned i = 0; i < cg->n; i++)
        if (cg->hierarchies[i].v2)
            return &cg->hierarchies[i];
    return NULL;
}

int cgroup_set(const struct cgroup *cg, const char *controller, const char *v1, const char *v2,
               const char *text, struct error *err)
{
    const struct cgroup_hierarchy *h = cgroup_find(cg, controller);
    const char *file = h && h->v2 ? v2 : v1;
    char path[PATH_MAX];

    if (!h || !file)
        return -ENODEV;
    full_path(cg, h, file, path, sizeof(path));
    if (access(path, F_OK) < 0)
        return -ENODEV;
    return file_write(AT_FDCWD, path, text, err);
}

bool cgroup_is_v2(const struct cgroup *cg, const char *controller)
{
    const struct cgroup_hierarchy *h = cgroup_find(cg, controller);

    return h && h->v2;
}

void cgroup_remove(const struct cgroup *cg)
{
    int patience = 500; /* all in all, of 2 ms each */

    if (!*cg->path)
        return;
    /* An error is that of a scope which has ended by itself already. */
    if (cg->systemd)
        (void)systemd_scope_stop(strrchr(cg->path, '/') + 1, NULL);
    for (unsigned i = 0; i < cg->n; i++) {
        char path[PATH_MAX];

        full_path(cg, &cg->hierarchies[i], "", path, sizeof(path));
        /* Exiting processes leave a group a little after their parents saw them end. */
        while (rmdir(path) < 0 && errno == EBUSY && patience-- > 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

unsigned cgroup_pids(const struct cgroup *cg, pid_t *pids, unsigned max)
{
    const struct cgroup_hierarchy *h = *cg->path ? cgroup_find(cg, "pids") : NULL;
    CLEANUP(close_file) FILE *f = NULL;
    char path[PATH_MAX];
    unsigned n = 0;

    if (!h)
        return 0;
    full_path(cg, h, "cgroup.procs", path, sizeof(path));
    f = fopen(path, "re");
    while (f && n < max && fscanf(f, "%d", &pids[n]) == 1)
        n++;
    return n;
}

void cgroup_unthrottle(const struct cgroup *cg)
{
    if (*cg->path)
        (void)cgroup_set(cg, "cpu", "cpu.cfs_quota_us", "cpu.max",
                         cgroup_is_v2(cg, "cpu") ? "max" : "-1", NULL);
}

void cgroup_kill(const struct cgroup *cg)
{
    enum { MAX_AT_ONCE = 4096 };
    CLEANUP(free_ptr) pid_t *pids = calloc(MAX_AT_ONCE, sizeof(*pids));
    unsigned n = pids ? cgroup_pids(cg, pids, MAX_AT_ONCE) : 0;

    for (unsigned i = 0; i < n; i++)
        if (pids[i] == getpid())
            return;
    /* At once, where the kernel can (5.14): a fork bomb has children that no list has. */
    if (cgroup_is_v2(cg, "pids") && cgroup_set(cg, "pids", NULL, "cgroup.kill", "1", NULL) == 0)
        return;
    for (unsigned i = 0; i < n; i++)
        (void)kill(pids[i], SIGKILL);
}

int cgroup_v2_open(const struct cgroup *cg, bool parent)
{
    for (unsigned i = 0; i < cg->n && *cg->path; i++) {
        char path[PATH_MAX], *slash;

        if (!cg->hierarchies[i].v2)
            continue;
        full_path(cg, &cg->hierarchies[i], "", path, sizeof(path));
        slash = strrchr(path, '/');
        if (parent && slash && slash > path + strlen(cg->hierarchies[i].mount))
            *slash = 0;
        return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return -1;
}

int cgroup_oom_open(const struct cgroup *cg)
{
    const struct cgroup_hierarchy *h = *cg->path ? cgroup_find(cg, "memory") : NULL;
    char path[PATH_MAX];

    if (!h)
        return -1;
    full_path(cg, h, h->v2 ? "memory.events" : "memory.oom_control", path, sizeof(path));
    return open(path, O_RDONLY | O_CLOEXEC);
}

unsigned long cgroup_oom_kills(int fd)
{
    char text[1024] = "\n";
    ssize_t n = fd < 0 ? -1 : read(fd, text + 1, sizeof(text) - 2);
    unsigned long kills = 0;
    const char *at;

    text[MAX(n, 0) + 1] = 0;
    /* v2 has "oom_group_kill", too. */
    at = strstr(text, "\noom_kill ");
    if (at)
        (void)sscanf(at, " oom_kill %lu", &kills);
    return kills;
}

int cgroup_read_number(const struct cgroup *cg, const char *controller, const char *v1_file,
                       const char *v2_file, unsigned long long *ret)
{
    const struct cgroup_hierarchy *h = *cg->path ? cgroup_find(cg, controller) : NULL;
    CLEANUP(free_ptr) char *text = NULL;
    const char *file = h && h->v2 ? v2_file : v1_file;
    char path[PATH_MAX];
    int r;

    if (!h || !file)
        return -ENODEV;
    full_path(cg, h, file, path, sizeof(path));
    r = file_read_all(AT_FDCWD, path, 65536, &text, NULL, NULL);
    if (r < 0)
        return r;
    return sscanf(text, "%llu", ret) == 1 || sscanf(text, "usage_usec %llu", ret) == 1 ? 0
                                                                                       : -EINVAL;
}
