#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 512, PREFIX_MAX = 16 };

static const char *container_id(const json_t *pod, const char *name)
{
    size_t i;
    json_t *c;

    json_array_foreach(json_object_get(pod, "containers"), i,
                       c) if (name ? strcmp(ctl_string(c, "name"), name) == 0
                                   : strcmp(ctl_string(c, "name"), "POD") !=
                                         0) return ctl_string(c, "id");
    return NULL;
}

/* The runtime's own exec takes over this process, so that its exit status is the command's. */
int ctl_exec(const struct ctl *ctl, int argc, char **argv)
{
    const char *container = NULL, *id, *args[ARGS_MAX];
    struct error err = ERROR_INIT;
    json_t *all = NULL, *pod = NULL, *v;
    size_t k;
    int i = 2, n = 0;

    if (argc > 3 && strcmp(argv[2], "-c") == 0) {
        container = argv[3];
        i = 4;
    }
    if (i < argc && strcmp(argv[i], "--") == 0)
        i++;
    if (i >= argc || argc - i > ARGS_MAX - PREFIX_MAX - 4)
        return ctl_usage("exec POD [-c CONTAINER] -- COMMAND...");
    if (ctl_find_pod(ctl, argv[1], &all, &pod, &err) < 0)
        return ctl_fail(&err);
    id = container_id(pod, container);
    if (!id) {
        json_decref(all);
        return ctl_usage("there is no such container");
    }
    json_array_foreach(json_object_get(pod, "runtime"), k, v) if (n < PREFIX_MAX) args[n++] =
        json_string_value(v);
    args[n++] = "exec";
    args[n++] = id;
    while (i < argc)
        args[n++] = argv[i++];
    args[n] = NULL;
    (void)execvp(args[0], (char *const *)(uintptr_t)args);
    perror(args[0]);
    return 127;
}
