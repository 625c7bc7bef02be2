/*
 * Runs the table of attempts: with nothing in force (the control: it does come), with all planes,
 * with the sender outside the pod's cgroup, and with our programs taken off the pod's device.
 * Counted is what arrives on the far wire. Prints TAP; the table goes to the file that is named.
 */
#include "common/cleanup.h"
#include "tests/bpf/rules.h"
#include "tests/bypass/bypass.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum pass { PASS_OFF, PASS_ON, PASS_NO_CGROUP, PASS_NO_DEVICE, PASSES };

struct result {
    bool skipped;
    unsigned came[PASSES];
    int saw; /* errno of the sender, with all planes */
    char reasons[80];
};

struct run {
    struct judge judge;
    struct bypass bypass;
    enum berm_engine engine;
    struct result results[BERM_ENGINE_MAX][256];
};

void bypass_enter(const struct bypass *b, bool in)
{
    int fd = openat(b->group_fd, in ? "cgroup.procs" : "../cgroup.procs", O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "0", 1) != 1)
        _exit(255);
    close(fd);
}

/* IPv6 to ...::d: what should have been turned into another address and was not. */
static bool is_decoy(const uint8_t *f)
{
    return f[52] == 0 && f[53] == 0x0d;
}

/* Packets that are no chatter of the link and not the lab's own markers. */
static unsigned arrived(int tap)
{
    uint8_t f[2048];
    unsigned n = 0;

    for (;;) {
        struct sockaddr_ll from;
        socklen_t size = sizeof(from);
        ssize_t got = recvfrom(tap, f, sizeof(f), 0, (struct sockaddr *)&from, &size);

        if (got < 0)
            return n;
        if (from.sll_pkttype == PACKET_OUTGOING || got < 34)
            continue;
        if (f[12] == 8 && f[13] == 0)
            n += !(f[23] == 17 && f[36] == 6999 / 256 && f[37] == 6999 % 256) && f[23] != 2;
        else if (f[12] == 0x86 && got >= 55)
            n += !(f[20] == 58 && f[54] >= 130 && f[54] <= 137) && f[20] != 0 && !is_decoy(f);
    }
}

static int send_one(const struct run *run, const struct attempt *a)
{
    struct bypass b = run->bypass;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int r;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(5);
        if (b.in_group && a->where != MOVES_IN)
            bypass_enter(&b, true);
        if (setns(run->judge.lab.hosts[LAB_POD].netns_fd, CLONE_NEWNET) < 0)
            _exit(255);
        r = a->send(&b, a->argument);
        _exit(r < 0 ? -r : 0);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return ETIMEDOUT;
    return WEXITSTATUS(status);
}

static void note_reasons(struct run *run, const struct enforce_stats *before, struct result *result)
{
    struct enforce_stats after;

    if (enforce_stats(run->judge.e, "pod-1", &after, NULL) < 0)
        return;
    for (int r = 1; r < BERM_REASON_MAX; r++) {
        size_t n = strlen(result->reasons);

        if (after.engine[run->engine].denied[BERM_EGRESS][r] >
            before->engine[run->engine].denied[BERM_EGRESS][r])
            snprintf(result->reasons + n, sizeof(result->reasons) - n, "%s%s", n ? ", " : "",
                     enforce_reason_name(r));
    }
}

static bool shell(const char *line)
{
    char quiet[1024];

    if (!line)
        return true;
    snprintf(quiet, sizeof(quiet), "{ %s; } >/dev/null 2>&1", line);
    return system(quiet) == 0;
}

static void attempt_once(struct run *run, size_t i, enum pass pass)
{
    const struct attempt *a = &attempts[i];
    struct result *result = &run->results[run->engine][i];
    struct enforce_stats before = {0};
    enum unpack_kind unpacks = unpack_named(a->set_up);
    struct unpack node;
    int tap, saw;

    if (result->skipped)
        return;
    if (!unpack_open(&node, unpacks, run->judge.lab.hosts[LAB_POD].ifindex) ||
        (!unpacks && !shell(a->set_up))) {
        result->skipped = true;
        (void)shell(a->tear_down);
        return;
    }
    run->bypass.in_group = pass != PASS_NO_CGROUP;
    (void)enforce_stats(run->judge.e, "pod-1", &before, NULL);
    tap = lab_tap(&run->judge.lab.hosts[run->engine == BERM_ENGINE_GUARD ? LAB_META : LAB_PEER]);
    saw = send_one(run, a);
    lab_settle(&run->judge.lab);
    if (unpack_drain(&node) > 0)
        lab_settle(&run->judge.lab);
    result->came[pass] = arrived(tap);
    close(tap);
    if (pass == PASS_ON) {
        result->saw = saw;
        note_reasons(run, &before, result);
    }
    if (pass == PASS_OFF && saw == EOPNOTSUPP)
        result->skipped = true;
    unpack_close(&node);
    (void)shell(a->tear_down);
}

static void set_modes(struct run *run, bool on)
{
    enum berm_mode mode = on ? BERM_MODE_ALL : BERM_MODE_NONE;
    struct error err = ERROR_INIT;
    bool guard = run->engine == BERM_ENGINE_GUARD;

    if (enforce_guard_set(run->judge.e, guard ? mode : BERM_MODE_NONE, &err) < 0 ||
        enforce_policy_set(run->judge.e, guard ? BERM_MODE_NONE : mode, &err) < 0)
        tap_ok(false, "switch: %s", err.msg);
}

static void set_rules(struct run *run)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_ALLOW);
    struct error err = ERROR_INIT;

    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.77.3.2", -1, 0, 0);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "fd77:2::d", -1, 0, 0);
    if (enforce_set_rules(run->judge.e, "pod-1", &rules->rules, &err) < 0)
        tap_ok(false, "rules: %s", err.msg);
    free(rules);
}

static void detach_device(struct run *run)
{
    for (int k = 0; run->judge.device && k < HOOK_MAX; k++)
        (void)bpf_link_detach(run->judge.device->hooks[k].link_fd);
}

/* So that the node writes checksums itself, as with a device that can't. */
static void software_checksums(const char *device)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM};
    struct ifreq request = {.ifr_data = (void *)&value};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (ioctl(fd, SIOCETHTOOL, &request) < 0)
        tap_ok(false, "checksums of %s: %s", device, strerror(errno));
}

static bool applies(const struct attempt *a, enum berm_engine engine)
{
    return a->engine == BYPASS_BOTH || (a->engine == BYPASS_GUARD) == (engine == BERM_ENGINE_GUARD);
}

static void run_engine(struct run *run, enum berm_engine engine)
{
    run->engine = engine;
    run->bypass.target = run->judge.lab.hosts[engine == BERM_ENGINE_GUARD ? LAB_META : LAB_PEER].v4;
    run->bypass.target6 =
        run->judge.lab.hosts[engine == BERM_ENGINE_GUARD ? LAB_META : LAB_PEER].v6;
    run->bypass.decoy6 = engine == BERM_ENGINE_GUARD ? "fd00:ec2::d" : "fd77:2::d";
    for (enum pass pass = 0; pass < PASSES; pass++) {
        set_modes(run, pass != PASS_OFF);
        if (pass == PASS_NO_DEVICE)
            detach_device(run);
        for (size_t i = 0; i < n_attempts; i++) {
            if (applies(&attempts[i], engine))
                attempt_once(run, i, pass);
        }
    }
    (void)enforce_sweep(run->judge.e, NULL);
}

/* Must it hold without the programs on the device, too? */
static bool holds_alone(const struct attempt *a, enum berm_engine engine)
{
    return !a->raw && (engine == BERM_ENGINE_GUARD || a->where == IN_GROUP);
}

static void judge_one(const struct run *run, enum berm_engine engine, size_t i)
{
    const struct result *r = &run->results[engine][i];
    const char *name = engine == BERM_ENGINE_GUARD ? "guard" : "policy";

    if (r->skipped || !r->came[PASS_OFF]) {
        tap_ok(true, "%s: %s # SKIP this kernel does not carry it with nothing in force", name,
               attempts[i].name);
        return;
    }
    tap_ok(!r->came[PASS_ON] && !r->came[PASS_NO_CGROUP] &&
               (!r->came[PASS_NO_DEVICE] || !holds_alone(&attempts[i], engine)),
           "%s: %s: %u packets with nothing in force; %u, without cgroup %u, without device %u",
           name, attempts[i].name, r->came[PASS_OFF], r->came[PASS_ON], r->came[PASS_NO_CGROUP],
           r->came[PASS_NO_DEVICE]);
}

static void write_row(FILE *f, const struct run *run, enum berm_engine engine, size_t i)
{
    const struct result *r = &run->results[engine][i];

    if (r->skipped || !r->came[PASS_OFF]) {
        fprintf(f, "| %s%s | not carried by this kernel | | | | | |\n", attempts[i].name,
                attempts[i].raw ? " \xc2\xb9" : "");
        return;
    }
    fprintf(f, "| %s%s | %u | **%u** | %u | %u | %s | %s |\n", attempts[i].name,
            attempts[i].raw ? " \xc2\xb9" : "", r->came[PASS_OFF], r->came[PASS_ON],
            r->came[PASS_NO_CGROUP], r->came[PASS_NO_DEVICE], r->saw ? strerror(r->saw) : "success",
            *r->reasons ? r->reasons : "-");
}

static void write_table(const struct run *run, const char *path)
{
    static const char *const titles[] = {
        "The metadata guard: packets to 169.254.169.254, fd00:ec2::254 and their like",
        "NetworkPolicy: packets to a pod that no rule allows"};
    CLEANUP(close_file) FILE *f = fopen(path, "we");
    struct utsname u;

    if (!f)
        return;
    (void)uname(&u);
    fprintf(f,
            "# What was tried\n\nWritten by `tests/bypass/run.sh` (Linux %s). Each row is an "
            "attempt by real packets from a pod; the numbers are packets that arrived on the far "
            "wire:\n\n* *off*: with the engine switched off, as a control;\n* *on*: with all "
            "planes;\n* *-cgroup*: the sender is outside the pod's cgroup;\n* *-device*: our "
            "programs were taken off the pod's device.\n\nEach engine is on alone, the other "
            "off.\n\n",
            u.release);
    for (int engine = 0; engine < BERM_ENGINE_MAX; engine++) {
        fprintf(f,
                "## %s\n\n| attempt | off | on | -cgroup | -device | the sender saw | denied as "
                "|\n|---|--:|--:|--:|--:|---|---|\n",
                titles[engine]);
        for (size_t i = 0; i < n_attempts; i++) {
            if (applies(&attempts[i], engine))
                write_row(f, run, engine, i);
        }
        fputs("\n", f);
    }
    fputs("\xc2\xb9 takes NET_RAW, which sandboxed pods do not have unless they ask for it.\n\n"
          "## Tried elsewhere\n\n"
          "ARP, neighbour discovery, router advertisement, redirect and DHCP forgeries, tiny and "
          "overlapping fragments, extension header chains: frame by frame in "
          "`tests/bpf/test_frames.c` and mutated in `test_fuzz.c`. Detached links, foreign "
          "programs, edited maps, deleted pins: timed against a live agent in `tests/sabotage`, "
          "one by "
          "one in `tests/bpf/test_live.c`; restarts, upgrades, churn: `tests/nogap`; "
          "flushed rulesets: `test_nft.c`; netfilter alone, the parent cgroup alone, pods on the "
          "host's network: `test_parent.c`; denied backends behind Services: `test_translated.c` "
          "and, with kube-proxy, `tests/proxy`.\n\n"
          "## Not closed\n\n"
          "* On kernels without BPF programs in netfilter (before 6.4) NetworkPolicy judges a "
          "Service's address before the node translates it, not the backend after it. The guard "
          "sees both.\n"
          "* Pods on macvlan, ipvlan, SR-IOV or a physical device are refused, not guarded; AF_XDP "
          "on the node's own device is not looked for.\n"
          "* A tunnel in UDP on a port that no standard gives it is told by the socket that this "
          "node has there (Linux 6.4), on the device alone; by a Service that leads to it, or at "
          "another node, it is not told.\n"
          "* Another pod or a node service that relays on purpose is a matter of policy.\n",
          f);
}

int main(int argc, char **argv)
{
    static struct run run;
    char path[64];
    struct error err = ERROR_INIT;

    judge_open(&run.judge);
    run.bypass.judge = &run.judge;
    lab_run("ip netns exec %s sysctl -qw net.ipv4.ping_group_range='0 2147483647'",
            run.judge.lab.hosts[LAB_POD].netns);
    lab_run("ip -6 route add default via fd00:ec2::254 dev bt-meta onlink");
    lab_run("sysctl -qw net.ipv6.conf.all.forwarding=1");
    software_checksums(run.judge.lab.hosts[LAB_META].device);
    software_checksums(run.judge.lab.hosts[LAB_PEER].device);
    snprintf(path, sizeof(path), "/berm-t-%d", (int)getpid());
    run.bypass.group_fd = enforce_cgroup_open(path, &err);
    if (run.bypass.group_fd < 0) {
        printf("ok 1 - bypass # SKIP %s\n", err.msg);
        judge_close(&run.judge);
        return EXIT_SUCCESS;
    }
    /* Raw sockets are allowed: what they send is to be seen. */
    if (enforce_arm_cgroup(run.judge.e, "pod-1", run.bypass.group_fd, true, &err) < 0)
        tap_ok(false, "arm: %s", err.msg);
    set_rules(&run);
    for (int i = 0; i < 3; i++)
        (void)enforce_sweep(run.judge.e, NULL);
    for (int engine = 0; engine < BERM_ENGINE_MAX; engine++) {
        run_engine(&run, engine);
        for (size_t i = 0; i < n_attempts; i++) {
            if (applies(&attempts[i], engine))
                judge_one(&run, engine, i);
        }
    }
    if (argc > 1)
        write_table(&run, argv[1]);
    judge_close(&run.judge);
    close(run.bypass.group_fd);
    return tap_end();
}
