#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <stdio.h>

static void print_enforcement(const json_t *e)
{
    const json_t *incidents = json_object_get(e, "incidents");
    const char *kind;
    json_t *n;
    bool any = false;

    if (!json_is_true(json_object_get(e, "available"))) {
        printf("enforcement   NONE: %s\n", ctl_string(e, "error"));
        return;
    }
    printf("enforcement   %s on %lld devices of %lld pods, %lld sweeps\n", ctl_string(e, "hook"),
           ctl_int(e, "devices"), ctl_int(e, "pods"), ctl_int(e, "sweeps"));
    printf("  guard       %s\n  policy      %s\n", ctl_string(e, "guard"), ctl_string(e, "policy"));
    printf("  incidents  ");
    json_object_foreach((json_t *)(uintptr_t)incidents, kind, n) if (json_integer_value(n))
    {
        printf(" %s %lld", kind, (long long)json_integer_value(n));
        any = true;
    }
    puts(any ? "" : " none");
}

static void print_api(const json_t *api)
{
    json_t *v;
    size_t i;

    printf("API server    %s, %s", ctl_string(api, "server"),
           json_is_true(json_object_get(api, "synced")) ? "view complete" : "view NOT COMPLETE");
    if (ctl_int(api, "ageMs") >= 0)
        printf(", at most %lld s old", ctl_int(api, "ageMs") / 1000);
    putchar('\n');
    json_array_foreach(json_object_get(api, "views"), i, v)
        printf("  %-24s %-10s %6lld objects%s%s\n", ctl_string(v, "name"), ctl_string(v, "state"),
               ctl_int(v, "objects"), *ctl_string(v, "error") ? "; " : "", ctl_string(v, "error"));
}

int ctl_status(const struct ctl *ctl, int argc, char **argv)
{
    struct error err = ERROR_INIT;
    json_t *s = NULL, *v;
    size_t i;

    (void)argv;
    if (argc != 1)
        return ctl_usage("status takes no arguments");
    if (ctl_request(ctl, json_pack("{s:s}", "request", "status"), &s, NULL, &err) < 0)
        return ctl_fail(&err);
    if (ctl->json) {
        ctl_print_json(s);
        json_decref(s);
        return 0;
    }
    printf("berm %s on node %s, up %lld s, %lld restarts\n", ctl_string(s, "version"),
           ctl_string(s, "node"), ctl_int(s, "uptimeSeconds"), ctl_int(s, "restarts"));
    if (json_object_get(s, "api"))
        print_api(json_object_get(s, "api"));
    else
        printf("objects       folder %s, %lld files%s\n", ctl_string(s, "folder"),
               ctl_int(s, "manifestFiles"),
               json_is_true(json_object_get(s, "synced")) ? "" : ", not yet read");
    printf("pods          %lld, of them sandboxed %lld\n", ctl_int(s, "pods"),
           ctl_int(s, "sandboxedPods"));
    printf("policies      %lld NetworkPolicy, %lld ClusterNetworkPolicy\n",
           ctl_int(s, "networkPolicies"), ctl_int(s, "clusterNetworkPolicies"));
    print_enforcement(json_object_get(s, "enforcement"));
    json_array_foreach(json_object_get(s, "manifestErrors"), i, v)
        printf("%s%s\n", i ? "              " : "errors        ", json_string_value(v));
    json_decref(s);
    return 0;
}
