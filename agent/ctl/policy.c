/* `bermctl policy test` and `policy explain --file`: what the compiled rules say, without a kernel.
 */
#include "agent/ctl/policy.h"

#include "agent/ctl/policy_cluster.h"
#include "common/cleanup.h"
#include "policy/address.h"
#include "policy/evaluate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_OK, STATUS_DIFFERS, STATUS_BAD };

struct tally {
    size_t probes, differences, unexpected, bad;
};

/* -- test ------------------------------------------------------------------------------- */

static int number_of(const json_t *v, int min, int max, int *ret)
{
    const char *text = json_string_value(v);
    char *end;
    long n;

    if (json_is_integer(v)) {
        n = json_integer_value(v) > max ? (long)max + 1 : (long)json_integer_value(v);
    } else {
        if (!text || !*text)
            return -EINVAL;
        n = strtol(text, &end, 10);
        if (*end)
            return -EINVAL;
    }
    if (n < min || n > max)
        return -EINVAL;
    *ret = (int)n;
    return 0;
}

/* FAMILY and EXPECTED: either may be missing, so each is told by what it looks like. */
static int parse_tail(const json_t *v, struct probe *p, const char **ret_expected)
{
    const char *text = json_string_value(v);

    if (!v || json_is_null(v))
        return 0;
    if (text && (strcmp(text, "allow") == 0 || strcmp(text, "deny") == 0)) {
        *ret_expected = text;
        return 0;
    }
    if (number_of(v, 4, 6, &p->family) < 0 || p->family == 5)
        return -EINVAL;
    return 0;
}

static const char *parse_probe(const json_t *row, struct probe *p, const char **ret_expected)
{
    const json_t *protocol = json_array_get(row, 2), *port = json_array_get(row, 3);

    *p = (struct probe){.port = POLICY_PORT_UNKNOWN};
    *ret_expected = NULL;
    if (!json_is_array(row) || json_array_size(row) < 4 || json_array_size(row) > 6)
        return "not [SRC, DST, PROTOCOL, PORT, FAMILY, EXPECTED]";
    p->src = json_string_value(json_array_get(row, 0));
    p->dst = json_string_value(json_array_get(row, 1));
    p->protocol_text = json_is_null(protocol) ? "TCP" : json_string_value(protocol);
    if (!p->src || !p->dst || !p->protocol_text)
        return "SRC, DST and PROTOCOL must be strings";
    if ((p->protocol = protocol_parse(p->protocol_text)) < 0)
        return "unknown protocol";
    if (!json_is_null(port) && number_of(port, 0, 65535, &p->port) < 0)
        return "PORT is not a port number";
    if (parse_tail(json_array_get(row, 4), p, ret_expected) < 0 ||
        parse_tail(json_array_get(row, 5), p, ret_expected) < 0)
        return "FAMILY is not \"4\" or \"6\", or EXPECTED not \"allow\" or \"deny\"";
    return NULL;
}

static void print_probe(const struct probe *p, const struct probe_result *r, const char *expected)
{
    printf("%s %s %s ", p->src, p->dst, p->protocol_text);
    if (p->port >= 0)
        printf("%d ", p->port);
    else
        fputs("- ", stdout);
    printf("%s %s %s", r->allow ? "allow" : "deny", r->egress, r->ingress);
    if (expected)
        printf(" expected %s", expected);
    fputc('\n', stdout);
}

static void run_probe(struct cluster *c, const json_t *row, size_t doc, size_t index,
                      bool only_differences, struct tally *t)
{
    struct probe_result result = {.egress = "-", .ingress = "-"};
    struct error err = ERROR_INIT;
    const char *expected, *wrong;
    struct probe p;
    int r = 0;

    t->probes++;
    if ((wrong = parse_probe(row, &p, &expected)) ||
        (r = cluster_probe(c, &p, &result, &err)) < 0) {
        fprintf(stderr, "%s: document %zu: probes[%zu]: %s\n", c->file, doc + 1, index,
                wrong ? wrong : err.msg);
        t->bad += r != -EAFNOSUPPORT; /* no such family: nothing to connect with, a plain deny */
        if (wrong)
            return;
        (void)snprintf(result.egress, sizeof(result.egress), "%s",
                       r == -EAFNOSUPPORT ? "no-address" : "unknown");
    }
    if (!only_differences) {
        print_probe(&p, &result, NULL);
        return;
    }
    t->unexpected += !expected;
    if (expected && result.allow != (strcmp(expected, "allow") == 0)) {
        t->differences++;
        print_probe(&p, &result, expected);
    }
}

static int test(const char *file, bool expect)
{
    CLEANUP(cluster_fini) struct cluster c = {0};
    struct error err = ERROR_INIT;
    struct tally t = {0};
    const json_t *doc, *row;
    json_t *docs = NULL;
    size_t i, k;

    if (cluster_read(file, &docs, &err) < 0 || cluster_init(&c, file, &err) < 0) {
        fprintf(stderr, "bermctl: policy test: %s\n", err.msg);
        json_decref(docs);
        return STATUS_BAD;
    }
    json_array_foreach(docs, i, doc)
    {
        cluster_play(&c, i, doc);
        json_array_foreach(json_object_get(doc, "probes"), k, row)
            run_probe(&c, row, i, k, expect, &t);
    }
    json_decref(docs);
    if (expect) {
        printf("%zu probes, %zu differences", t.probes, t.differences);
        if (t.unexpected)
            printf(", %zu without an expectation", t.unexpected);
        fputc('\n', stdout);
    }
    if (fflush(stdout) != 0) {
        fprintf(stderr, "bermctl: policy test: write: %m\n");
        return STATUS_BAD;
    }
    if (t.differences)
        return STATUS_DIFFERS;
    return t.bad || c.refused ? STATUS_BAD : STATUS_OK;
}

/* -- explain ---------------------------------------------------------------------------- */

static void print_side(const char *way, const char *whose, const char *rule)
{
    if (strcmp(rule, "-") == 0)
        printf("  %s of %s: no policy has a say\n", way, whose);
    else
        printf("  %s of %s: %s\n", way, whose, rule);
}

/* POD PEER PORT[/PROTOCOL], or SRC DST PROTOCOL PORT [FAMILY]. */
static bool parse_question(int argc, char **argv, struct probe *p)
{
    char *slash = argc == 3 ? strchr(argv[2], '/') : NULL;
    const char *port = argc == 3 ? argv[2] : argv[3];

    *p = (struct probe){.src = argv[0], .dst = argv[1]};
    if (slash)
        *slash = 0;
    p->protocol_text = argc > 3 ? argv[2] : slash ? slash + 1 : "TCP";
    p->protocol = protocol_parse(p->protocol_text);
    p->port = strlen(port) < 6 && *port ? atoi(port) : -1;
    p->family = argc > 4 ? atoi(argv[4]) : 0;
    return p->protocol >= 0 && p->port >= 0 && p->port <= 65535 &&
           strspn(port, "0123456789") == strlen(port) &&
           (p->family == 0 || p->family == 4 || p->family == 6);
}

static int explain(const char *file, int argc, char **argv)
{
    CLEANUP(cluster_fini) struct cluster c = {0};
    struct probe p;
    struct error err = ERROR_INIT;
    struct probe_result result;
    json_t *docs = NULL;
    const json_t *doc;
    size_t i;

    if (!parse_question(argc, argv, &p)) {
        fprintf(stderr, "bermctl: policy explain: bad protocol, port or family\n");
        return STATUS_BAD;
    }
    if (cluster_read(file, &docs, &err) < 0 || cluster_init(&c, file, &err) < 0) {
        fprintf(stderr, "bermctl: policy explain: %s\n", err.msg);
        json_decref(docs);
        return STATUS_BAD;
    }
    json_array_foreach(docs, i, doc) cluster_play(&c, i, doc);
    json_decref(docs);
    if (cluster_probe(&c, &p, &result, &err) < 0) {
        fprintf(stderr, "bermctl: policy explain: %s\n", err.msg);
        return STATUS_BAD;
    }
    printf("%s -> %s %s %d: %s\n", p.src, p.dst, p.protocol_text, p.port,
           result.allow ? "allow" : "deny");
    print_side("egress", p.src, result.egress);
    print_side("ingress", p.dst, result.ingress);
    return result.allow ? STATUS_OK : STATUS_DIFFERS;
}

/* -- the verb --------------------------------------------------------------------------- */

static int usage(void)
{
    fputs("usage: bermctl policy test [--expect] FILE\n"
          "       bermctl policy explain --file FILE POD PEER PORT[/PROTOCOL]\n"
          "       bermctl policy explain --file FILE SRC DST PROTOCOL PORT [FAMILY]\n",
          stderr);
    return STATUS_BAD;
}

int ctl_policy_main(int argc, char **argv)
{
    bool expect = argc > 2 && strcmp(argv[2], "--expect") == 0;

    if (argc > 1 && strcmp(argv[1], "test") == 0 && argc == (expect ? 4 : 3)) {
        return test(argv[argc - 1], expect);
    }
    if (argc >= 7 && argc <= 9 && strcmp(argv[1], "explain") == 0 && strcmp(argv[2], "--file") == 0)
        return explain(argv[3], argc - 4, argv + 4);
    return usage();
}
