#include "agent/ctl/ctl.h"

#include <stdio.h>

int ctl_guard(const struct ctl *ctl, int argc, char **argv)
{
    struct error err = ERROR_INIT;
    json_t *request = json_pack("{s:s}", "request", "guard"), *s = NULL;

    if (argc > 2) {
        json_decref(request);
        return ctl_usage("guard takes on, off or sandboxed");
    }
    if (argc == 2)
        (void)json_object_set_new(request, "mode", json_string(argv[1]));
    if (ctl_request(ctl, request, &s, NULL, &err) < 0)
        return ctl_fail(&err);
    printf("guard: %s\n", ctl_string(s, "mode"));
    json_decref(s);
    return 0;
}
