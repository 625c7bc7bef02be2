#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "TIME stream F|P text": the text, joined over parts. */
static void print_text(char *line)
{
    char *p = line;
    bool partial;

    for (int i = 0; i < 2 && p; i++)
        p = strchr(p + (i > 0), ' ');
    if (!p || !p[1] || !p[2])
        return;
    partial = p[1] == 'P';
    p += 3;
    if (partial)
        p[strcspn(p, "\n")] = 0;
    (void)fputs(p, stdout);
}

static int show(const char *path, bool follow)
{
    CLEANUP(close_file) FILE *f = fopen(path, "re");
    CLEANUP(free_ptr) char *line = NULL;
    size_t size = 0;

    if (!f) {
        perror(path);
        return 1;
    }
    for (;;) {
        while (getline(&line, &size, f) > 0)
            print_text(line);
        (void)fflush(stdout);
        if (!follow)
            return 0;
        clearerr(f);
        (void)usleep(200000);
    }
}

static const json_t *choose(const json_t *pod, const char *name)
{
    size_t i;
    json_t *c;

    json_array_foreach(json_object_get(pod, "containers"), i,
                       c) if (name ? strcmp(ctl_string(c, "name"), name) == 0
                                   : strcmp(ctl_string(c, "name"), "POD") != 0) return c;
    return NULL;
}

int ctl_logs(const struct ctl *ctl, int argc, char **argv)
{
    const char *pod_name = NULL, *container = NULL, *dash;
    struct error err = ERROR_INIT;
    json_t *all = NULL, *pod = NULL;
    const json_t *c;
    char path[PATH_MAX];
    bool follow = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--follow") == 0)
            follow = true;
        else if (!pod_name)
            pod_name = argv[i];
        else
            container = argv[i];
    }
    if (!pod_name)
        return ctl_usage("logs POD [CONTAINER] [--follow]");
    if (ctl_find_pod(ctl, pod_name, &all, &pod, &err) < 0)
        return ctl_fail(&err);
    c = choose(pod, container);
    dash = c ? strrchr(ctl_string(c, "id"), '-') : NULL;
    if (!dash) {
        json_decref(all);
        return ctl_usage("there is no such container");
    }
    (void)snprintf(path, sizeof(path), "%s/%s/%s.log", ctl_string(pod, "logs"),
                   ctl_string(c, "name"), dash + 1);
    json_decref(all);
    return show(path, follow);
}
