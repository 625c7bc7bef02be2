/*
 * The guard where no device and no cgroup of the pod's own sees the packet: on the parent of all
 * pods' cgroups, and in netfilter behind translation, each alone. And sandboxed pods on the host's
 * network, which have nothing but their cgroup.
 */
#include "common/cleanup.h"
#include "tests/bpf/judge.h"
#include "tests/bpf/rules.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define META "169.254.169.254"

static char parent[256], child[300];
static unsigned lost;

static void on_incident(void *ctx, const struct enforce_incident *incident)
{
    (void)ctx;
    lost += incident->kind == ENFORCE_LINK_LOST;
    printf("# incident %s: %s\n", enforce_incident_name(incident->kind), incident->detail);
}

static bool make_groups(void)
{
    CLEANUP(close_file) FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[512], at[200], type[32];

    while (mounts && fgets(line, sizeof(line), mounts)) {
        if (sscanf(line, "%*s %199s %31s", at, type) != 2 || strcmp(type, "cgroup2") != 0)
            continue;
        snprintf(parent, sizeof(parent), "%s/berm-t-%d", at, (int)getpid());
        snprintf(child, sizeof(child), "%s/pod", parent);
        return mkdir(parent, 0755) == 0 && mkdir(child, 0755) == 0;
    }
    return false;
}

enum way { TCP, UDP, UDP_CONNECTED };

/* errno of a try from that group (NULL: where we are) and that namespace (-1: the node's). */
static int try(const char *group, int netns_fd, enum way way, const char *address, int port)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct sockaddr_storage to;
        socklen_t size;
        char path[340];
        int fd, r = 0;

        snprintf(path, sizeof(path), "%s/cgroup.procs", group ? group : "");
        if (group && ((fd = open(path, O_WRONLY)) < 0 || write(fd, "0", 1) != 1))
            _exit(255);
        if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0)
            _exit(254);
        lab_sockaddr(address, port, &to, &size);
        fd = socket(to.ss_family, way == TCP ? SOCK_STREAM | SOCK_NONBLOCK : SOCK_DGRAM, 0);
        if (way != UDP)
            r = connect(fd, (struct sockaddr *)&to, size);
        if (r == 0 && way != TCP)
            r = (int)sendto(fd, "x", 1, 0, way == UDP ? (struct sockaddr *)&to : NULL,
                            way == UDP ? size : 0);
        _exit(r < 0 && errno != EINPROGRESS ? errno : 0);
    }
    (void)waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* The same, and what came to the metadata server. */
static bool reaches(struct judge *j, const char *group, int host, enum way way, const char *address,
                    int port, int *ret_errno)
{
    const struct lab_host *h = host < 0 ? NULL : &j->lab.hosts[host];
    const char *source = strchr(address, ':') ? h ? h->v6 : "fd00:ec2::253"
                         : h                  ? h->v4
                                              : "169.254.169.253";
    int tap = lab_tap(&j->lab.hosts[LAB_META]);
    bool came;

    *ret_errno = try(group, h ? h->netns_fd : -1, way, address, port);
    lab_settle(&j->lab);
    came = lab_count(tap, source).ip > 0;
    close(tap);
    return came;
}

static void expect(struct judge *j, const char *group, int host, enum way way, const char *address,
                   int port, bool open, const char *what)
{
    int error, wanted = open ? 0 : EPERM;
    bool came = reaches(j, group, host, way, address, port, &error);

    tap_ok(came == open && error == wanted, "%s: %s, %s", what, came ? "reached" : "nothing came",
           strerror(error));
}

static void put_rules(struct judge *j, const char *uid)
{
    struct test_rules *rules = rules_new(POLICY_ALLOW, POLICY_ALLOW);

    (void)enforce_set_rules(j->e, uid, &rules->rules, NULL);
    free(rules);
}

static void set_exception(struct judge *j, bool on)
{
    struct enforce_pod pod = {.uid = "pod-1", .netns_fd = j->lab.hosts[LAB_POD].netns_fd};
    struct enforce_exceptions list;
    struct error err = ERROR_INIT;

    if (enforce_exceptions_parse("x " META " udp 8000 all\n", &list, &err) < 0 ||
        enforce_set_exceptions(j->e, &list, &err) < 0)
        tap_ok(false, "exceptions: %s", err.msg);
    pod.exceptions = on ? enforce_exception_bit(0) : 0;
    if (enforce_arm(j->e, &pod, &err) < 0)
        tap_ok(false, "arm: %s", err.msg);
}

/* The pod's own programs out of the way: what is left is under test. */
static void take_off_device(struct judge *j)
{
    struct device *device = list_first(&j->pod->devices, struct device, siblings);

    for (int i = 0; i < HOOK_MAX; i++)
        (void)bpf_link_detach(device->hooks[i].link_fd);
}

static void drop_table(const struct judge *j)
{
    lab_run("nft delete table inet %s", strrchr(j->lab.pin_dir, '/') + 1);
}

static void test_parent(struct judge *j, int fd)
{
    struct enforce_totals totals;
    struct error err = ERROR_INIT;

    expect(j, child, LAB_POD2, TCP, META, 80, true, "control: a pod that nobody armed, no parent");
    tap_ok(enforce_guard_parent(j->e, fd, &err) == 0, "the parent is guarded %s", err.msg);
    expect(j, child, LAB_POD2, TCP, META, 80, false, "a pod that nobody armed");
    expect(j, child, LAB_POD2, UDP, META, 80, false, "by datagram");
    expect(j, child, LAB_POD2, UDP_CONNECTED, "fd00:ec2::254", 80, false, "by IPv6");
    expect(j, child, LAB_POD2, UDP, META, 53, true, "DNS is served there");
    expect(j, child, -1, UDP, META, 80, true, "the node's own namespace: its agents");
    expect(j, NULL, LAB_POD2, UDP, META, 80, true, "not below the parent: none of ours");
    (void)enforce_guard_set(j->e, BERM_MODE_SANDBOXED, NULL);
    expect(j, child, LAB_POD2, UDP, META, 80, true, "guard for sandboxed pods: it is none");
    (void)enforce_guard_set(j->e, BERM_MODE_NONE, NULL);
    expect(j, child, LAB_POD2, UDP, META, 80, true, "guard off");
    (void)enforce_guard_set(j->e, BERM_MODE_ALL, NULL);
    take_off_device(j);
    drop_table(j);
    set_exception(j, true);
    take_off_device(j);
    expect(j, child, LAB_POD, UDP, META, 8000, true, "a pod's exception holds there");
    expect(j, child, LAB_POD, UDP, META, 8001, false, "for its port");
    set_exception(j, false);
    expect(j, child, LAB_POD, UDP, META, 8000, false, "and for that pod");
    (void)enforce_sweep(j->e, NULL);
    lost = 0;
    for (int i = 0; i < 6; i++) {
        static const char *const pins[] = {"egress",   "ingress",  "connect4",
                                           "connect6", "sendmsg4", "sendmsg6"};
        char path[256];
        int link;

        snprintf(path, sizeof(path), "%s/v%d/links/parent-%s", j->lab.pin_dir, BERM_LAYOUT,
                 pins[i]);
        link = bpf_obj_get(path);
        (void)bpf_link_detach(link);
        close(link);
    }
    expect(j, child, LAB_POD2, UDP, META, 80, true, "detached by somebody (the control)");
    tap_ok(enforce_sweep(j->e, NULL) == 6 && lost == 6, "a sweep attaches it again");
    expect(j, child, LAB_POD2, UDP, META, 80, false, "and it denies");
    enforce_totals(j->e, &totals);
    tap_ok(totals.parent, "totals say so");
}

static void open_again(struct judge *j)
{
    struct enforce_config config = {.pin_dir = j->lab.pin_dir, .on_incident = on_incident};
    struct error err = ERROR_INIT;

    enforce_close(j->e);
    if (enforce_open(&config, &j->e, &err) < 0) {
        tap_ok(false, "open: %s", err.msg);
        exit(EXIT_FAILURE);
    }
    j->pod = enforced_pod_find(j->e, "pod-1");
}

static void test_restart(struct judge *j, int fd)
{
    struct error err = ERROR_INIT;

    enforce_close(j->e);
    j->e = NULL;
    expect(j, child, LAB_POD2, UDP, META, 80, false, "without an agent");
    open_again(j);
    tap_ok(enforce_guard_parent(j->e, fd, &err) == 0 && enforce_sweep(j->e, &err) == 0,
           "taken over %s", err.msg);
    expect(j, child, LAB_POD2, UDP, META, 80, false, "by the next");
}

static void test_host_network(struct judge *j)
{
    CLEANUP(close_fd) int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int group = open(child, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct enforce_pod pod = {
        .uid = "host-pod", .netns_fd = own, .sandboxed = true, .host_network = true};
    struct error err = ERROR_INIT;
    int r = enforce_arm(j->e, &pod, &err);

    if (r == 0)
        r = enforce_arm_cgroup(j->e, "host-pod", group, false, &err);
    tap_ok(r == 0, "a sandboxed pod on the host's network is armed %s", err.msg);
    expect(j, child, -1, TCP, META, 80, false, "its metadata");
    expect(j, child, -1, UDP, "fd00:ec2::254", 80, false, "by IPv6");
    expect(j, child, -1, UDP, META, 53, true, "DNS");
    tap_ok(try(child, -1, TCP, "10.77.2.2", 80) == 0, "policies are not for it");
    tap_ok(try(child, -1, UDP, "127.0.0.1", 80) == 0, "loopback");
    (void)enforce_guard_set(j->e, BERM_MODE_SANDBOXED, NULL);
    expect(j, child, -1, TCP, META, 80, false, "guard for sandboxed pods: it is one");
    (void)enforce_guard_set(j->e, BERM_MODE_ALL, NULL);
    expect(j, parent, -1, UDP, META, 80, true, "a node agent beside it");
    open_again(j);
    expect(j, child, -1, TCP, META, 80, false, "after a restart");
    tap_ok(enforce_sweep(j->e, &err) == 0, "and a sweep");
    (void)enforce_remove(j->e, "host-pod", NULL);
    expect(j, child, -1, TCP, META, 80, true, "removed");
}

/* No device's programs, no table of nftables, no cgroup: netfilter alone. */
static void test_netfilter(struct judge *j)
{
    lab_run("nft 'table ip kp { chain pre { type nat hook prerouting priority -100; "
            "ip daddr 10.96.0.66 udp dport 80 dnat to " META ":80; }; }'");
    (void)enforce_guard_set(j->e, BERM_MODE_NONE, NULL);
    take_off_device(j);
    drop_table(j);
    expect(j, NULL, LAB_POD, UDP, META, 80, true, "control: guard off");
    expect(j, NULL, LAB_POD, UDP, "10.96.0.66", 80, true, "control: by translation");
    (void)enforce_guard_set(j->e, BERM_MODE_ALL, NULL);
    drop_table(j);
    {
        int error;
        bool plain = reaches(j, NULL, LAB_POD, UDP, META, 80, &error);
        bool six = reaches(j, NULL, LAB_POD, UDP, "fd00:ec2::254", 80, &error);
        bool dns = reaches(j, NULL, LAB_POD, UDP, META, 53, &error);
        bool translated = reaches(j, NULL, LAB_POD, UDP, "10.96.0.66", 80, &error);

        tap_ok(!plain && !six && !translated, "netfilter alone: denied, translated or not");
        tap_ok(dns, "netfilter alone: DNS");
    }
    lab_run("nft delete table ip kp");
}

int main(void)
{
    struct enforce_totals totals;
    struct judge j;
    int fd;

    judge_open(&j);
    open_again(&j);
    put_rules(&j, "pod-1");
    enforce_totals(j.e, &totals);
    if (totals.translated)
        test_netfilter(&j);
    else
        tap_ok(true, "netfilter # SKIP this kernel has no BPF programs there (6.4)");
    (void)enforce_sweep(j.e, NULL);
    if (make_groups()) {
        fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        test_parent(&j, fd);
        test_restart(&j, fd);
        test_host_network(&j);
        close(fd);
        (void)rmdir(child);
        (void)rmdir(parent);
        (void)enforce_sweep(j.e, NULL);
        enforce_totals(j.e, &totals);
        tap_ok(!totals.parent, "the cgroup removed: it says so");
    } else {
        tap_ok(true, "parent # SKIP no cgroup v2 that can be written");
    }
    judge_close(&j);
    return tap_end();
}
