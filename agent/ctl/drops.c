#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>

static const char *verdict(const json_t *d)
{
    if (json_is_true(json_object_get(d, "denied")))
        return "";
    return strcmp(ctl_string(d, "reason"), "none") == 0 ? "by no rule   " : "would deny   ";
}

static void print_line(const struct ctl *ctl, const json_t *d)
{
    const char *peer = ctl_string(d, "peer");

    if (ctl->json) {
        ctl_print_json(d);
        return;
    }
    printf("%s%-26s %-7s %s%s%s%s port %lld/%s  %s: %s%s%s  x%lld\n", verdict(d),
           ctl_string(d, "pod"), ctl_string(d, "direction"), *peer ? peer : "", *peer ? " (" : "",
           ctl_string(d, "address"), *peer ? ")" : "", ctl_int(d, "port"),
           ctl_string(d, "protocol"), ctl_string(d, "engine"), ctl_string(d, "reason"),
           *ctl_string(d, "rule") ? " " : "", ctl_string(d, "rule"), ctl_int(d, "count"));
    (void)fflush(stdout);
}

static int follow(const struct ctl *ctl, int fd)
{
    CLEANUP(close_file) FILE *f = fdopen(fd, "r");
    CLEANUP(free_ptr) char *line = NULL;
    size_t size = 0;

    while (f && getline(&line, &size, f) > 0) {
        json_t *d = json_loads(line, 0, NULL);

        print_line(ctl, d);
        json_decref(d);
    }
    return 0;
}

int ctl_drops(const struct ctl *ctl, int argc, char **argv)
{
    return ctl_drops_of(ctl, argc, argv, false);
}

int ctl_drops_of(const struct ctl *ctl, int argc, char **argv, bool audit)
{
    struct ctl own = *ctl;
    struct error err = ERROR_INIT;
    bool live = false;
    json_t *s = NULL, *list;
    int fd = -1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--follow") == 0 || strcmp(argv[i], "-f") == 0)
            live = true;
        else if (strcmp(argv[i], "--json") == 0)
            own.json = true;
        else
            return ctl_usage(audit ? "policy audit [--follow] [--json]"
                                   : "drops [--follow] [--json]");
    }
    if (ctl_request(
            &own, json_pack("{s:s, s:b, s:b}", "request", "drops", "follow", live, "audit", audit),
            &s, &fd, &err) < 0)
        return ctl_fail(&err);
    list = json_object_get(s, "drops");
    for (size_t i = json_array_size(list); i-- > 0;)
        print_line(&own, json_array_get(list, i));
    if (ctl_int(s, "lost"))
        (void)fprintf(stderr, "%lld packets were denied without a line: too many at once\n",
                      ctl_int(s, "lost"));
    json_decref(s);
    if (live)
        return follow(&own, fd);
    close_fd(&fd);
    return 0;
}
