/*
 * Many pods: what a sweep costs with 250 of them, that sabotage of any one is found by the next,
 * and that those that came and went (CROWD_CHURN of them) leave nothing behind.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "common/cleanup.h"
#include "tests/bpf/crowd.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/rules.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PODS = 250, CHURN = 150, SWEEPS = 64, SWEEP_MS = 200 };

struct test {
    struct crowd crowd;
    struct enforce *e;
    char pin_dir[64], group[64];
    unsigned incidents[ENFORCE_INCIDENT_MAX];
    char last[256];
};

static void on_incident(void *ctx, const struct enforce_incident *incident)
{
    struct test *t = ctx;

    t->incidents[incident->kind]++;
    snprintf(t->last, sizeof(t->last), "%s: %s", enforce_incident_name(incident->kind),
             incident->detail);
}

static void must(int r, const struct error *err)
{
    if (r >= 0)
        return;
    printf("not ok - %s\n", err->msg);
    exit(EXIT_FAILURE);
}

static void open_enforce(struct test *t)
{
    struct enforce_config config = {.pin_dir = t->pin_dir, .on_incident = on_incident, .ctx = t};
    struct error err = ERROR_INIT;

    must(enforce_open(&config, &t->e, &err), &err);
}

static int open_group(struct test *t, size_t i)
{
    struct error err = ERROR_INIT;
    char path[96];

    snprintf(path, sizeof(path), "%s/%zu", t->group, i);
    return enforce_cgroup_open(path, &err);
}

static void arm(struct test *t, size_t i)
{
    struct test_rules *rules = rules_new(POLICY_DENY, POLICY_DENY);
    struct error err = ERROR_INIT;
    CLEANUP(close_fd) int group = open_group(t, i);

    must(crowd_arm(&t->crowd, t->e, i, &err), &err);
    if (group >= 0)
        must(enforce_arm_cgroup(t->e, t->crowd.pods[i].uid, group, false, &err), &err);
    rules_add(rules, POLICY_EGRESS, POLICY_ALLOW, "10.80.0.0/16", 6, 80, 443);
    rules_add(rules, POLICY_INGRESS, POLICY_ALLOW, "10.80.1.7", -1, 0, 0);
    must(enforce_set_rules(t->e, t->crowd.pods[i].uid, &rules->rules, &err), &err);
    free(rules);
}

static void remove_group(const struct test *t, size_t i)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char path[160];

    for (size_t k = 0; k < ARRAY_SIZE(mounts); k++) {
        if (i == SIZE_MAX)
            snprintf(path, sizeof(path), "%s%s", mounts[k], t->group);
        else
            snprintf(path, sizeof(path), "%s%s/%zu", mounts[k], t->group, i);
        (void)rmdir(path);
    }
}

static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Devices get their links one a sweep. */
static int settle(struct test *t)
{
    struct error err = ERROR_INIT;
    int r = 0;

    for (int i = 0; i < 2 * PODS; i++) {
        r = enforce_sweep(t->e, &err);
        must(r, &err);
    }
    return r;
}

static void test_sweep(struct test *t)
{
    struct error err = ERROR_INIT;
    uint64_t start = cpu_ns(), spent;
    int repaired = 0, r;

    for (int i = 0; i < SWEEPS; i++) {
        r = enforce_sweep(t->e, &err);
        must(r, &err);
        repaired += r;
    }
    spent = (cpu_ns() - start) / SWEEPS;
    printf("# a sweep over %d pods: %.2f ms of CPU, %.2f %% at %d ms\n", PODS, (double)spent / 1e6,
           (double)spent / (SWEEP_MS * 1e6) * 100, SWEEP_MS);
    tap_ok(repaired == 0, "%d sweeps over %d pods find nothing", SWEEPS, PODS);
}

static void expect(struct test *t, enum enforce_incident_kind kind, const char *what)
{
    struct error err = ERROR_INIT;
    unsigned before = t->incidents[kind];
    int r = enforce_sweep(t->e, &err), again = enforce_sweep(t->e, &err);

    tap_ok(r > 0 && again == 0 && t->incidents[kind] > before, "%s: %d repaired (%s) %s", what, r,
           t->last, err.msg);
}

static struct pod *crowd_pod(struct test *t, size_t i)
{
    struct pod *pod = enforced_pod_find(t->e, t->crowd.pods[i].uid);

    if (!pod)
        abort();
    return pod;
}

static struct device *device_of(struct test *t, size_t i)
{
    struct device *device = list_first(&crowd_pod(t, i)->devices, struct device, siblings);

    if (!device)
        abort();
    return device;
}

/* Where the kernel can be asked how many there are; elsewhere they are found in turn. */
static void test_rules_found(struct test *t)
{
    const struct pod *pod = crowd_pod(t, PODS - 1);
    struct berm_host_key key = {.scope = pod->slot << 1 | BERM_EGRESS,
                                .epoch = BERM_CONTROL_EPOCH(pod->control),
                                .addr.b = {[10] = 0xff, 0xff, 10, 99, 0, 3}};
    struct berm_class class = {1};

    if (!t->e->counts) {
        tap_ok(true, "entries of rules # SKIP this kernel does not count them");
        return;
    }
    (void)bpf_map_update_elem(t->e->maps[MAP_P_HOSTS], &key, &class, BPF_ANY);
    expect(t, ENFORCE_MAP_CHANGED, "a peer added to the last pod's rules");
    (void)bpf_map_get_next_key(t->e->maps[MAP_P_HOSTS], NULL, &key);
    (void)bpf_map_delete_elem(t->e->maps[MAP_P_HOSTS], &key);
    expect(t, ENFORCE_MAP_CHANGED, "a peer taken out of some pod's rules");
}

/* It runs before any program of ours: by a link, of which no notification tells. */
static void test_xdp_found(struct test *t)
{
    const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT},
    };
    struct bpf_link_create_opts opts = {.sz = sizeof(opts), .flags = XDP_FLAGS_SKB_MODE};
    CLEANUP(close_fd)
    int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign", "GPL", code, ARRAY_SIZE(code), NULL);
    CLEANUP(close_fd)
    int link = bpf_link_create(program, device_of(t, PODS - 1)->ifindex, BPF_XDP, &opts);

    if (link < 0) {
        tap_ok(true, "XDP # SKIP this kernel has no links for it");
        return;
    }
    expect(t, ENFORCE_XDP_FOREIGN, "a foreign XDP program on the last pod's device");
}

static void test_found(struct test *t)
{
    uint32_t key = crowd_pod(t, PODS - 1)->slot;

    (void)bpf_link_detach(device_of(t, PODS - 1)->hooks[HOOK_POLICY_TO_POD].link_fd);
    expect(t, ENFORCE_LINK_LOST, "one link of the last pod");
    for (size_t i = 0; i < PODS; i++)
        (void)bpf_link_detach(device_of(t, i)->hooks[i % HOOK_MAX].link_fd);
    expect(t, ENFORCE_LINK_LOST, "a link of each pod");
    test_xdp_found(t);
    (void)bpf_map_update_elem(t->e->maps[MAP_P_CONTROL], &key, &(uint64_t){1}, BPF_ANY);
    expect(t, ENFORCE_MAP_CHANGED, "the last pod's state");
    test_rules_found(t);
}

static size_t count_entries(int map, size_t key_size)
{
    char key[64], next[64];
    size_t n = 0;

    while (bpf_map_get_next_key(map, n ? key : NULL, next) == 0 && ++n < 1000000)
        memcpy(key, next, key_size);
    return n;
}

__attribute__((format(printf, 1, 2))) static size_t count_files(const char *fmt, ...)
{
    char path[320];
    CLEANUP(close_dir) DIR *dir = NULL;
    size_t n = 0;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    return n;
}

/* What there is of everything that a pod has a part in. */
struct census {
    size_t fds, pins, entries[MAP_MAX], pods, objects;
};

static size_t count_ids(int (*next)(__u32 id, __u32 *ret))
{
    __u32 id = 0;
    size_t n = 0;

    while (next(id, &id) == 0)
        n++;
    return n;
}

static void take_census(const struct test *t, struct census *c)
{
    static const struct {
        enum enforce_map map;
        size_t key;
    } counted[] = {
        {MAP_G_IFACES, 4},
        {MAP_P_IFACES, 4},
        {MAP_G_STATS, 4},
        {MAP_P_STATS, 4},
        {MAP_P_HOSTS, sizeof(struct berm_host_key)},
        {MAP_P_CIDRS, sizeof(struct berm_cidr_key)},
        {MAP_P_PORTS, sizeof(struct berm_port_key)},
    };
    struct enforce_totals totals;

    memset(c, 0, sizeof(*c));
    enforce_totals(t->e, &totals);
    c->pods = totals.pods;
    c->fds = count_files("/proc/self/fd");
    c->pins = count_files("%s/links", t->e->dir);
    c->objects = count_ids(bpf_link_get_next_id);
    for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
        c->entries[counted[i].map] = count_entries(t->e->maps[counted[i].map], counted[i].key);
}

/* Every way out: removed by the agent; device first; agent restarted in between. */
static void churn(struct test *t, size_t n)
{
    struct error err = ERROR_INIT;

    for (size_t i = 0; i < n; i++) {
        size_t at = PODS + i % 10;

        crowd_add(&t->crowd, at);
        arm(t, at);
        if (i % 3 == 0)
            must(enforce_sweep(t->e, &err), &err);
        if (i % 2)
            crowd_remove(&t->crowd, at);
        if (i % 250 == 0) {
            enforce_close(t->e);
            open_enforce(t);
        }
        must(enforce_remove(t->e, t->crowd.pods[at].uid, &err), &err);
        if (i % 2 == 0)
            crowd_remove(&t->crowd, at);
        remove_group(t, at);
    }
    lab_sleep_ms(1100); /* entries of old rules go a second later */
    for (int i = 0; i < 3; i++)
        must(enforce_sweep(t->e, &err), &err);
}

static void test_churn(struct test *t)
{
    const char *often = getenv("CROWD_CHURN");
    size_t n = often ? (size_t)atoi(often) : CHURN;
    struct census before, after;
    bool same;

    churn(t, 20);
    take_census(t, &before);
    churn(t, n);
    take_census(t, &after);
    same = !memcmp(before.entries, after.entries, sizeof(before.entries)) &&
           before.fds == after.fds && before.pins == after.pins && before.pods == after.pods;
    tap_ok(same,
           "%zu pods came and went: %zu descriptors, %zu pins, %zu pods, %zu peers, %zu ports, as "
           "before (%zu, %zu, %zu, %zu, %zu)",
           n, after.fds, after.pins, after.pods, after.entries[MAP_P_HOSTS],
           after.entries[MAP_P_PORTS], before.fds, before.pins, before.pods,
           before.entries[MAP_P_HOSTS], before.entries[MAP_P_PORTS]);
}

int main(void)
{
    static struct test t;
    struct error err = ERROR_INIT;
    uint64_t start;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
        puts("ok 1 - crowd # SKIP needs root");
        return EXIT_SUCCESS;
    }
    snprintf(t.pin_dir, sizeof(t.pin_dir), "/sys/fs/bpf/berm-t-%d", (int)getpid());
    snprintf(t.group, sizeof(t.group), "/berm-t-%d", (int)getpid());
    crowd_open(&t.crowd, PODS + 10);
    for (size_t i = 0; i < PODS; i++)
        crowd_add(&t.crowd, i);
    open_enforce(&t);
    start = cpu_ns();
    for (size_t i = 0; i < PODS; i++)
        arm(&t, i);
    printf("# %d pods armed: %.2f ms of CPU each\n", PODS, (double)(cpu_ns() - start) / PODS / 1e6);
    tap_ok(settle(&t) == 0, "%d pods on devices and cgroups, nothing to repair", PODS);
    test_sweep(&t);
    test_found(&t);
    test_churn(&t);
    enforce_close(t.e);
    (void)enforce_uninstall(t.pin_dir, &err);
    crowd_close(&t.crowd);
    for (size_t i = 0; i < PODS + 10; i++)
        remove_group(&t, i);
    remove_group(&t, SIZE_MAX);
    return tap_end();
}
