/*
 * Configured exceptions: what the file may say, and that a port is open for those pods alone that
 * have the exception, on every plane at once.
 */
#include "common/cleanup.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_parse(void)
{
    static const struct {
        const char *text, *error; /* NULL: accepted */
    } rows[] = {
        {"", NULL},
        {"# nothing\n\n   \n", NULL},
        {"a 169.254.169.254 tcp 80 all\n", NULL},
        {"a 169.254.169.254 tcp 80-88 namespaces=x,y accounts=z/w on-request # why", NULL},
        {"a fd00:ec2::254 udp 1 all\nb fd00:ec2::254 tcp 1 all", NULL},
        {"a 169.254.169.254 tcp 80", "line 1: for whom"},
        {"\na 169.254.169.254 tcp", "line 2: not NAME"},
        {"a 10.0.0.1 tcp 80 all", "is not guarded"},
        {"a 169.254.2.7 tcp 80 all", "is not guarded"},
        {"a 300.1.1.1 tcp 80 all", "is no address"},
        {"a 169.254.169.254 icmp 80 all", "none of tcp"},
        {"a 169.254.169.254 tcp 0 all", "ports '0'"},
        {"a 169.254.169.254 tcp 9-8 all", "ports '9-8'"},
        {"a 169.254.169.254 tcp 1-70000 all", "ports"},
        {"a 169.254.169.254 tcp 80x all", "ports"},
        {"a 169.254.169.254 tcp 80 everybody", "'everybody' is not known"},
        {"a 169.254.169.254 tcp 80 all namespaces=x", "for whom"},
        {"a 169.254.169.254 tcp 80 namespaces=", "is no list"},
        {"a 169.254.169.254 tcp 80 namespaces=x,,y", "is no list"},
        {"a 169.254.169.254 tcp 80 accounts=x", "NAMESPACE/ACCOUNT"},
        {"a 169.254.169.254 tcp 80 all\na 169.254.169.254 tcp 81 all", "line 2: 'a' is the name"},
        {"a 169.254.169.254 tcp 80-90 all\nb 169.254.169.254 tcp 85 all", "contradicts line 1"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct enforce_exceptions list = {.n = 47};
        struct error err = ERROR_INIT;
        int r = enforce_exceptions_parse(rows[i].text, &list, &err);

        tap_ok(rows[i].error ? r < 0 && strstr(err.msg, rows[i].error) && list.n == 47 : r == 0,
               "file %zu: %s", i, r < 0 ? err.msg : "accepted");
    }
}

static void test_holds(void)
{
    struct enforce_exceptions l;

    if (enforce_exceptions_parse("a 169.254.169.254 tcp 80 namespaces=x accounts=z/w\n"
                                 "b 169.254.169.254 tcp 81 namespaces=x on-request\n",
                                 &l, NULL) < 0) {
        tap_ok(false, "parse");
        return;
    }
    tap_ok(enforce_exception_holds(&l.list[0], "x", "default", NULL) &&
               enforce_exception_holds(&l.list[0], "z", "w", NULL) &&
               !enforce_exception_holds(&l.list[0], "z", "default", NULL) &&
               !enforce_exception_holds(&l.list[0], "y", "w", "a"),
           "namespaces and accounts");
    tap_ok(!enforce_exception_holds(&l.list[1], "x", "d", NULL) &&
               !enforce_exception_holds(&l.list[1], "x", "d", "bb") &&
               enforce_exception_holds(&l.list[1], "x", "d", "a,b") &&
               !enforce_exception_holds(&l.list[1], "y", "d", "b"),
           "on request, and only where it is allowed");
}

static void arm(struct judge *j, int host, const char *uid, uint64_t exceptions)
{
    struct enforce_pod pod = {
        .uid = uid, .netns_fd = j->lab.hosts[host].netns_fd, .exceptions = exceptions};
    struct test_rules *rules = rules_new(POLICY_ALLOW, POLICY_ALLOW);
    struct error err = ERROR_INIT;

    if (enforce_arm(j->e, &pod, &err) < 0 || enforce_set_rules(j->e, uid, &rules->rules, &err) < 0)
        tap_ok(false, "arm: %s", err.msg);
    free(rules);
}

static bool reaches(struct judge *j, int from, int port)
{
    const struct lab_host *h = &j->lab.hosts[from];
    int tap = lab_tap(&j->lab.hosts[LAB_META]), fd = lab_socket(h, AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_storage to;
    socklen_t size;
    bool arrived;

    lab_sockaddr("169.254.169.254", port, &to, &size);
    (void)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, size);
    lab_settle(&j->lab);
    arrived = lab_count(tap, h->v4).ip > 0;
    close(fd);
    close(tap);
    return arrived;
}

static void set(struct judge *j, const char *text)
{
    struct enforce_exceptions list;
    struct error err = ERROR_INIT;

    if (enforce_exceptions_parse(text, &list, &err) < 0 ||
        enforce_set_exceptions(j->e, &list, &err) < 0)
        tap_ok(false, "set: %s", err.msg);
}

int main(void)
{
    struct judge j;

    judge_open(&j);
    test_parse();
    test_holds();
    arm(&j, LAB_POD, "pod-1", 0);
    arm(&j, LAB_POD2, "pod-2", 0);
    tap_ok(!reaches(&j, LAB_POD, 8888) && !reaches(&j, LAB_POD2, 8888), "none: denied");
    set(&j, "x 169.254.169.254 udp 8000-8999 namespaces=n\n");
    tap_ok(!reaches(&j, LAB_POD, 8888), "configured, not given to the pod: denied");
    arm(&j, LAB_POD, "pod-1", enforce_exception_bit(0));
    tap_ok(reaches(&j, LAB_POD, 8888), "given: open");
    tap_ok(!reaches(&j, LAB_POD, 9000) && !reaches(&j, LAB_POD, 80), "other ports are not");
    tap_ok(!reaches(&j, LAB_POD2, 8888), "another pod is not");
    tap_ok(enforce_sweep(j.e, NULL) == 0 && reaches(&j, LAB_POD, 8888), "a sweep leaves it");
    set(&j, "y 169.254.169.254 udp 7000 namespaces=n\n");
    tap_ok(!reaches(&j, LAB_POD, 7000) && !reaches(&j, LAB_POD, 8888),
           "another list: no pod has any of it");
    arm(&j, LAB_POD, "pod-1", enforce_exception_bit(0));
    tap_ok(reaches(&j, LAB_POD, 7000) && !reaches(&j, LAB_POD, 8888), "armed again: the new one");
    set(&j, "");
    tap_ok(!reaches(&j, LAB_POD, 7000) && reaches(&j, LAB_POD, 53), "none: the built-in remain");
    judge_close(&j);
    return tap_end();
}
