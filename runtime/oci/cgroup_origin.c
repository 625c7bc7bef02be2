/*
 * Where a process was before it entered a container's groups. `berm run` in the foreground is the
 * container's monitor and so in its groups, which cannot be removed while it is.
 */
#include "common/cleanup.h"
#include "common/fdio.h"
#include "runtime/oci/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "ID:CONTROLLERS:PATH", of which v2 has no controllers: the path if the line is the hierarchy's.
 */
static const char *path_in(const struct cgroup_hierarchy *h, char *line)
{
    char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
    char first[40], word[48];

    if (!path)
        return NULL;
    *path++ = 0;
    names++;
    if (h->v2 || !*names)
        return h->v2 && !*names ? path : NULL;
    (void)snprintf(first, sizeof(first), "%.*s", (int)strcspn(names, ","), names);
    (void)snprintf(word, sizeof(word), ",%s,", first);
    return strstr(h->controllers, word) ? path : NULL;
}

static int open_procs(const struct cgroup_hierarchy *h)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *save = NULL, name[PATH_MAX];

    if (file_read_all(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL, NULL) < 0)
        return -1;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *path = path_in(h, line);

        if (path &&
            snprintf(name, sizeof(name), "%s%s/cgroup.procs", h->mount, path) < (int)sizeof(name))
            return open(name, O_WRONLY | O_CLOEXEC);
    }
    return -1;
}

void cgroup_origin_open(const struct cgroup *cg, struct cgroup_origin *ret)
{
    ret->n = *cg->path ? cg->n : 0;
    for (unsigned i = 0; i < ret->n; i++)
        ret->procs[i] = open_procs(&cg->hierarchies[i]);
}

void cgroup_origin_return(struct cgroup_origin *o)
{
    for (unsigned i = 0; i < o->n; i++) {
        /* What cannot be left stays behind; then the group does, too, as far as it is concerned. */
        if (o->procs[i] >= 0)
            (void)!write(o->procs[i], "0", 1);
        close_fd(&o->procs[i]);
    }
    o->n = 0;
}

void cgroup_leave(const struct cgroup *cg)
{
    char name[PATH_MAX];

    for (unsigned i = 0; *cg->path && i < cg->n; i++) {
        (void)snprintf(name, sizeof(name), "%s/cgroup.procs", cg->hierarchies[i].mount);
        (void)file_write(AT_FDCWD, name, "0", NULL);
    }
}
