/* Is this node able? The rows are the installer's (agent/node/host.c). */
#include "agent/ctl/ctl.h"
#include "agent/node/host.h"

#include <stdio.h>

int ctl_doctor(const struct ctl *ctl, int argc, char **argv)
{
    json_t *list = json_array();
    bool able = true;

    (void)argv;
    if (argc != 1)
        return ctl_usage("doctor takes no arguments");
    for (size_t i = 0; i < host_n_checks; i++) {
        const struct host_check *c = &host_checks[i];
        char detail[160] = "";
        bool good = c->fn(detail, sizeof(detail));

        able = able && (good || !c->needed);
        if (ctl->json) {
            (void)json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:s, s:s}", "name",
                                                        c->name, "ok", (int)good, "needed",
                                                        (int)c->needed, "detail", detail, "remedy",
                                                        good ? "" : c->remedy));
            continue;
        }
        printf("%-4s %-10s %s\n", good ? "ok" : c->needed ? "FAIL" : "warn", c->name, detail);
        if (!good)
            printf("     %-10s -> %s\n", "", c->remedy);
    }
    if (ctl->json)
        ctl_print_json(list);
    else
        puts(able ? "this node is able to run berm" : "this node is NOT able to run berm");
    json_decref(list);
    return able ? 0 : 1;
}
