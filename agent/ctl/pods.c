#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>

static void number(char *out, size_t size, long long n)
{
    (void)snprintf(out, size, "%lld", n);
}

/* The first thing that is wrong: the pod's, or a container's. */
static const char *trouble(const json_t *pod)
{
    const char *error = ctl_string(pod, "error");
    size_t i;
    json_t *c;

    if (*error)
        return error;
    json_array_foreach(json_object_get(pod, "containers"), i,
                       c) if (*ctl_string(c, "error")) return ctl_string(c, "error");
    return "";
}

static void add(struct table *t, const json_t *p)
{
    char ready[48], restarts[24], allowed[24], guard[24], policy[24], name[400];

    (void)snprintf(name, sizeof(name), "%s/%s", ctl_string(p, "namespace"), ctl_string(p, "name"));
    (void)snprintf(ready, sizeof(ready), "%lld/%lld", ctl_int(p, "ready"),
                   ctl_int(p, "containersWanted"));
    number(restarts, sizeof(restarts), ctl_int(p, "restarts"));
    number(allowed, sizeof(allowed), ctl_int(p, "allowedPackets"));
    number(guard, sizeof(guard), ctl_int(p, "guardDeniedPackets"));
    number(policy, sizeof(policy), ctl_int(p, "policyDeniedPackets"));
    table_row(t, 10, name, json_is_true(json_object_get(p, "sandboxed")) ? "gvisor" : "runc", ready,
              ctl_string(p, "phase"), restarts, ctl_string(p, "ip"), allowed, guard, policy,
              trouble(p));
}

int ctl_pods(const struct ctl *ctl, int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct table *t;
    json_t *s = NULL, *p;
    size_t i;

    (void)argv;
    if (argc != 1)
        return ctl_usage("pods takes no arguments");
    if (ctl_request(ctl, json_pack("{s:s}", "request", "pods"), &s, NULL, &err) < 0)
        return ctl_fail(&err);
    t = ctl->json ? NULL : calloc(1, sizeof(*t));
    if (t) {
        table_row(t, 10, "POD", "RUNTIME", "READY", "STATE", "RESTARTS", "ADDRESS", "ALLOWED",
                  "GUARD-DENIED", "POLICY-DENIED", "ERROR");
        json_array_foreach(json_object_get(s, "pods"), i, p) add(t, p);
        table_print(t);
    } else {
        ctl_print_json(s);
    }
    json_decref(s);
    return 0;
}
