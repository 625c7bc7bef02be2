/* bermctl policy enforce | list | explain | audit; what needs no agent is in policy.c. */
#include "agent/ctl/ctl.h"
#include "agent/ctl/policy.h"
#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>

static int enforce(const struct ctl *ctl, int argc, char **argv)
{
    struct error err = ERROR_INIT;
    json_t *request = json_pack("{s:s}", "request", "policy-mode"), *s = NULL;

    if (argc == 2)
        (void)json_object_set_new(request, "mode", json_string(argv[1]));
    if (ctl_request(ctl, request, &s, NULL, &err) < 0)
        return ctl_fail(&err);
    printf("policy: %s\n", ctl_string(s, "mode"));
    json_decref(s);
    return 0;
}

static int list(const struct ctl *ctl, int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct table *t = calloc(1, sizeof(*t));
    json_t *s = NULL, *p;
    size_t i;

    (void)argc;
    (void)argv;
    if (!t || ctl_request(ctl, json_pack("{s:s}", "request", "policies"), &s, NULL, &err) < 0) {
        free(t);
        return ctl_fail(&err);
    }
    table_row(t, 4, "KIND", "POLICY", "PODS", "PROBLEM");
    json_array_foreach(json_object_get(s, "policies"), i, p)
    {
        char name[400], pods[24];
        const char *ns = ctl_string(p, "namespace");

        (void)snprintf(name, sizeof(name), "%s%s%s", ns, *ns ? "/" : "", ctl_string(p, "name"));
        (void)snprintf(pods, sizeof(pods), "%lld", ctl_int(p, "pods"));
        table_row(t, 4, ctl_string(p, "kind"), name, pods, ctl_string(p, "problem"));
    }
    if (ctl->json)
        ctl_print_json(s);
    else
        table_print(t);
    json_decref(s);
    return 0;
}

static void print_side(const json_t *s, const char *side)
{
    const json_t *o = json_object_get(s, side);

    printf("  %-8s %-6s %s (%s)\n", side,
           json_is_true(json_object_get(o, "allow")) ? "allow" : "deny", ctl_string(o, "rule"),
           ctl_string(o, "why"));
}

static void print_explanation(const json_t *s, const char *port);

static void print_service(const json_t *s, const char *port)
{
    const json_t *b;
    char number[24];
    size_t i;

    printf("Service %s/%s port %s: %s\n", ctl_string(s, "serviceNamespace"),
           ctl_string(s, "service"), port,
           !json_is_true(json_object_get(s, "allow"))      ? "DENIED at every backend"
           : json_is_true(json_object_get(s, "allowsAll")) ? "ALLOWED"
                                                           : "ALLOWED at some backends");
    json_array_foreach(json_object_get(s, "backends"), i, b)
    {
        (void)snprintf(number, sizeof(number), "%lld", ctl_int(b, "port"));
        print_explanation(b, number);
    }
}

static void print_explanation(const json_t *s, const char *port)
{
    const json_t *guard = json_object_get(s, "guard");

    printf("%s -> %s port %s: %s\n", ctl_string(s, "source"), ctl_string(s, "destination"), port,
           json_is_true(json_object_get(s, "allow")) ? "ALLOWED" : "DENIED");
    if (json_is_true(json_object_get(guard, "denies")))
        printf("  guard    deny   %s\n", ctl_string(guard, "endpoint"));
    else if (*ctl_string(guard, "endpoint"))
        printf("  guard    off    would deny: %s\n", ctl_string(guard, "endpoint"));
    else
        puts("  guard    allow  the address is no metadata endpoint");
    print_side(s, "egress");
    print_side(s, "ingress");
    if (json_is_true(json_object_get(s, "audit")))
        puts("  policy only watches: the source's namespace is in audit mode");
    else if (!json_is_true(json_object_get(s, "policyInForce")))
        puts("  policy is switched off for the source, or it is no pod");
}

static int explain(const struct ctl *ctl, int argc, char **argv)
{
    struct error err = ERROR_INIT;
    const char *slash;
    char *end;
    json_t *request, *s = NULL;
    long port;

    if (argc != 4)
        return ctl_usage("policy explain POD PEER PORT[/PROTOCOL]");
    port = strtol(argv[3], &end, 10);
    slash = *end == '/' ? end + 1 : "TCP";
    if (end == argv[3] || (*end && *end != '/'))
        return ctl_usage("policy explain: the port is a number");
    request = json_pack("{s:s, s:s, s:s, s:I, s:s}", "request", "explain", "from", argv[1], "to",
                        argv[2], "port", (json_int_t)port, "protocol", slash);
    if (ctl_request(ctl, request, &s, NULL, &err) < 0)
        return ctl_fail(&err);
    if (ctl->json)
        ctl_print_json(s);
    else if (json_object_get(s, "backends"))
        print_service(s, argv[3]);
    else
        print_explanation(s, argv[3]);
    json_decref(s);
    return 0;
}

/* What policy would deny in namespaces that are only watched, and what passes there by no rule. */
static int audit(const struct ctl *ctl, int argc, char **argv)
{
    return ctl_drops_of(ctl, argc, argv, true);
}

static const struct ctl_verb verbs[] = {
    {"enforce", "", "", enforce},
    {"list", "", "", list},
    {"explain", "", "", explain},
    {"audit", "", "", audit},
};

int ctl_policy(const struct ctl *ctl, int argc, char **argv)
{
    /* These judge files, without an agent. */
    if (argc > 1 && (strcmp(argv[1], "test") == 0 || (argc > 2 && strcmp(argv[2], "--file") == 0)))
        return ctl_policy_main(argc, argv);
    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].name, argv[1]) == 0)
            return verbs[i].fn(ctl, argc - 1, argv + 1);
    return ctl_usage("policy enforce|list|explain|audit|test");
}
