/*
 * Does to a live agent's hooks what others might, and measures how long each stays undone: the
 * kernel is asked every millisecond whether all is as before.
 *
 *   saboteur PINS SLOT DEVICE CGROUP ROUNDS
 *       PINS: the agent's pin folder with the layout's version; the rest is about one of its pods.
 *
 * One line an attack: NAME, times, longest and median wait in milliseconds; "ineffective" if the
 * kernel did not show it at once (then nothing was measured), "never" after eight seconds.
 */
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "common/cleanup.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 8000, APART_MS = 260, VALUE = 512, KEY = 64 };

static const char *pins, *device, *group;
static unsigned slot;
static int ifindex, group_fd, foreign_tcx, foreign_xdp, foreign_group, held = -1;
static unsigned step; /* which of several alike */

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void sleep_ms(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

__attribute__((format(printf, 1, 2))) static int pinned(const char *fmt, ...)
{
    char path[400];
    int n = snprintf(path, sizeof(path), "%s/", pins);
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, ap);
    va_end(ap);
    return bpf_obj_get(path);
}

/* -- what must be there ------------------------------------------------------------------- */

static bool is_program(uint32_t id, const char *name)
{
    CLEANUP(close_fd) int fd = bpf_prog_get_fd_by_id(id);
    struct bpf_prog_info info = {0};
    uint32_t size = sizeof(info);

    return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
           strncmp(info.name, name, BPF_OBJ_NAME_LEN - 1) == 0;
}

static bool chain_is(int index, int type, const char *first, const char *second)
{
    struct sys_chain chain;

    return sys_tcx_chain(index, type, &chain) == 0 && chain.n >= 2 &&
           is_program(chain.prog_ids[0], first) && is_program(chain.prog_ids[1], second);
}

static bool device_is_ours(int index)
{
    return chain_is(index, SYS_TCX_INGRESS, "guard_from_pod", "policy_from_pod") &&
           chain_is(index, SYS_TCX_EGRESS, "guard_to_pod", "policy_to_pod");
}

static bool device_ok(void)
{
    return device_is_ours(ifindex);
}

static const struct {
    enum bpf_attach_type type;
    const char *program, *pin;
} hooks[] = {
    {BPF_CGROUP_INET_EGRESS, "cguard_egress", "guard-egress"},
    {BPF_CGROUP_INET_INGRESS, "cguard_ingress", "guard-ingress"},
    {BPF_CGROUP_INET4_CONNECT, "cguard_connect4", "guard-connect4"},
    {BPF_CGROUP_INET6_CONNECT, "cguard_connect6", "guard-connect6"},
    {BPF_CGROUP_UDP4_SENDMSG, "cguard_sendmsg4", "guard-sendmsg4"},
    {BPF_CGROUP_UDP6_SENDMSG, "cguard_sendmsg6", "guard-sendmsg6"},
    {BPF_CGROUP_INET_SOCK_CREATE, "cguard_sock_create", "guard-sock-create"},
    {BPF_CGROUP_INET_EGRESS, "cpolicy_egress", "policy-egress"},
    {BPF_CGROUP_INET_INGRESS, "cpolicy_ingress", "policy-ingress"},
    {BPF_CGROUP_INET4_CONNECT, "cpolicy_connect4", "policy-connect4"},
    {BPF_CGROUP_INET6_CONNECT, "cpolicy_connect6", "policy-connect6"},
};

static bool group_has(int fd, size_t i)
{
    uint32_t ids[64], n = ARRAY_SIZE(ids);
    bool found = false;

    if (bpf_prog_query(fd, hooks[i].type, 0, NULL, ids, &n) < 0)
        return false;
    for (uint32_t k = 0; k < n; k++)
        found |= is_program(ids[k], hooks[i].program);
    return found;
}

static bool group_ok(void)
{
    CLEANUP(close_fd) int fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool all = fd >= 0;

    for (size_t i = 0; all && i < ARRAY_SIZE(hooks); i++)
        all = group_has(fd, i);
    return all;
}

/* -- links and programs -------------------------------------------------------------------- */

static const char *const device_pins[] = {"guard-from", "policy-from", "guard-to", "policy-to"};

static int device_link(void)
{
    return pinned("links/%u-%d-%s", slot, ifindex, device_pins[step % ARRAY_SIZE(device_pins)]);
}

static int group_link(void)
{
    return pinned("links/%u-cgroup-%s", slot, hooks[step % ARRAY_SIZE(hooks)].pin);
}

static void detach(int fd)
{
    if (fd < 0 || bpf_link_detach(fd) < 0)
        fail("detach");
    (void)close(fd);
}

static void detach_device(void)
{
    detach(device_link());
}

static void detach_group(void)
{
    detach(group_link());
}

static void put_first(void)
{
    held = sys_tcx_link(foreign_tcx, ifindex, step % 2 ? SYS_TCX_EGRESS : SYS_TCX_INGRESS, -1);
}

static void swap_device(void)
{
    CLEANUP(close_fd) int fd = device_link();

    (void)bpf_link_update(fd, foreign_tcx, NULL);
}

static void swap_group(void)
{
    CLEANUP(close_fd) int fd = pinned("links/%u-cgroup-%s", slot, hooks[step % 2 ? 7 : 0].pin);

    (void)bpf_link_update(fd, foreign_group, NULL);
}

static const char *const translated_pins[] = {
    "guard-postrouting4",  "guard-postrouting6",  "guard-input4",  "guard-input6",
    "policy-postrouting4", "policy-postrouting6", "policy-input4", "policy-input6"};
static uint32_t old_link;

static uint32_t link_id(int fd)
{
    struct sys_link_info info = {0};

    (void)sys_link_info(fd, &info);
    return info.id;
}

/* Before any tcx program: by netlink, which tells of it, and by a link, which does not. */
static void put_xdp(void)
{
    if (step % 2) {
        LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);

        held = bpf_link_create(foreign_xdp, ifindex, BPF_XDP, &opts);
    } else if (bpf_xdp_attach(ifindex, foreign_xdp, XDP_FLAGS_SKB_MODE, NULL) < 0) {
        fail("attach XDP program");
    }
}

static bool xdp_ok(void)
{
    uint32_t id = 0;

    return bpf_xdp_query_id(ifindex, 0, &id) == 0 && id == 0;
}

static void detach_translated(void)
{
    int fd = pinned("links/translated-%s", translated_pins[step % ARRAY_SIZE(translated_pins)]);

    old_link = link_id(fd);
    detach(fd);
}

/* The kernel does not say whether such a link is attached; the agent pins a new one. */
static bool translated_ok(void)
{
    CLEANUP(close_fd)
    int fd = pinned("links/translated-%s", translated_pins[step % ARRAY_SIZE(translated_pins)]);

    return fd >= 0 && link_id(fd) != old_link;
}

/* -- pins ------------------------------------------------------------------------------------ */

static char lost_pin[400];

static void unpin_link(void)
{
    (void)snprintf(lost_pin, sizeof(lost_pin), "%s/links/%u-%d-%s", pins, slot, ifindex,
                   device_pins[step % ARRAY_SIZE(device_pins)]);
    (void)unlink(lost_pin);
}

static void unpin_group(void)
{
    (void)snprintf(lost_pin, sizeof(lost_pin), "%s/links/%u-cgroup-%s", pins, slot,
                   hooks[step % ARRAY_SIZE(hooks)].pin);
    (void)unlink(lost_pin);
}

static void unpin_map(void)
{
    static const char *const maps[] = {"g_rows", "p_control", "records", "p_flows"};

    (void)snprintf(lost_pin, sizeof(lost_pin), "%s/maps/%s", pins, maps[step % ARRAY_SIZE(maps)]);
    (void)unlink(lost_pin);
}

static bool pin_ok(void)
{
    return access(lost_pin, F_OK) == 0;
}

/* -- maps ------------------------------------------------------------------------------------- */

struct entry {
    const char *map;
    enum { EDIT, DELETE, ADD } how;
    bool (*key)(int map, void *key); /* of the entry that is meant; ADD: of one that is not there */
};

static bool first_key(int map, void *key)
{
    return bpf_map_get_next_key(map, NULL, key) == 0;
}

static bool zero_key(int map, void *key)
{
    (void)map;
    memset(key, 0, KEY);
    return true;
}

static bool device_key(int map, void *key)
{
    (void)map;
    memcpy(key, &ifindex, sizeof(ifindex));
    return true;
}

static bool slot_key(int map, void *key)
{
    (void)map;
    memcpy(key, &slot, sizeof(slot));
    return true;
}

static bool group_key(int map, void *key)
{
    struct stat st;
    uint64_t id;

    (void)map;
    if (fstat(group_fd, &st) < 0)
        return false;
    id = st.st_ino;
    memcpy(key, &id, sizeof(id));
    return true;
}

static bool guarded_key(int map, void *key)
{
    struct berm_lpm_key k = {.prefix = BERM_ROW_BITS + 128, .addr.b = {[10] = 0xff, 0xff}};

    (void)map;
    (void)inet_pton(AF_INET, "169.254.169.254", k.addr.b + 12);
    memcpy(key, &k, sizeof(k));
    return true;
}

/* A guarded block is hidden by an entry for one address in it. */
static bool inside_block_key(int map, void *key)
{
    struct berm_lpm_key k = {.prefix = BERM_ROW_BITS + 128};

    (void)map;
    (void)inet_pton(AF_INET6, "64:ff9b::a9fe:a9fe", k.addr.b);
    memcpy(key, &k, sizeof(k));
    return true;
}

/* An address that the pod's rules say nothing of, in its present epoch. */
static bool new_peer_key(int map, void *key)
{
    CLEANUP(close_fd) int control = pinned("maps/p_control");
    struct berm_host_key k = {.scope = slot << 1 | BERM_EGRESS, .addr.b = {[10] = 0xff, 0xff}};
    struct berm_control word = {0};

    (void)map;
    (void)inet_pton(AF_INET, "10.99.0.3", k.addr.b + 12);
    if (bpf_map_lookup_elem(control, &slot, &word) < 0)
        return false;
    k.epoch = BERM_CONTROL_EPOCH(word.word);
    memcpy(key, &k, sizeof(k));
    return true;
}

static const struct entry entries[] = {
    {"g_config", EDIT, zero_key},      {"p_config", EDIT, zero_key},
    {"g_rows", EDIT, guarded_key},     {"g_rows", DELETE, guarded_key},
    {"g_rows", ADD, inside_block_key}, {"g_exceptions", EDIT, zero_key},
    {"g_ifaces", EDIT, device_key},    {"g_ifaces", DELETE, device_key},
    {"p_ifaces", EDIT, device_key},    {"p_control", EDIT, slot_key},
    {"g_sources", EDIT, first_key},    {"p_sources", DELETE, first_key},
    {"g_netns", EDIT, first_key},      {"g_cgroups", EDIT, group_key},
    {"p_cgroups", EDIT, group_key},    {"p_hosts", EDIT, first_key},
    {"p_hosts", DELETE, first_key},    {"p_hosts", ADD, new_peer_key},
    {"p_cidrs", EDIT, first_key},      {"p_ports", EDIT, first_key},
};

static _Alignas(8) char entry_key[KEY], entry_value[VALUE];
static const struct entry *entry;

static void spoil(void)
{
    CLEANUP(close_fd) int fd = pinned("maps/%s", entry->map);
    _Alignas(8) char value[VALUE] = {0};
    int r;

    memset(entry_key, 0, sizeof(entry_key));
    memset(entry_value, 0, sizeof(entry_value));
    if (fd < 0 || !entry->key(fd, entry_key) ||
        (entry->how != ADD && bpf_map_lookup_elem(fd, entry_key, entry_value) < 0)) {
        fail(entry->map);
        return;
    }
    memcpy(value, entry_value, VALUE);
    if (entry->how == ADD)
        memset(value, 1, sizeof(value));
    else
        value[0] = (char)~value[0];
    r = entry->how == DELETE ? bpf_map_delete_elem(fd, entry_key)
                             : bpf_map_update_elem(fd, entry_key, value, BPF_ANY);
    if (r < 0)
        fail(entry->map);
}

static bool entry_ok(void)
{
    CLEANUP(close_fd) int fd = pinned("maps/%s", entry->map);
    _Alignas(8) char value[VALUE] = {0};
    int r = bpf_map_lookup_elem(fd, entry_key, value);

    if (entry->how == ADD) /* a prefix map answers with what is around it */
        return r < 0 || value[0] != 1 || value[1] != 1;
    return r == 0 && !memcmp(value, entry_value, VALUE);
}

/* -- the rest ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[1000];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    return system(command);
}

static size_t ruleset(char *text, size_t size)
{
    CLEANUP(close_file) FILE *f = NULL;
    int fds[2];
    size_t n;
    pid_t pid;

    if (pipe(fds) < 0)
        return 0;
    pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], 1);
        (void)close(2);
        (void)close(fds[0]);
        (void)execlp("nft", "nft", "-s", "list", "table", "inet", "berm", NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    f = fdopen(fds[0], "re");
    n = f ? fread(text, 1, size, f) : 0;
    (void)waitpid(pid, NULL, 0);
    return n;
}

static char rules[1 << 18];
static size_t rules_size;

static void spoil_rules(void)
{
    static const char *const commands[] = {"flush ruleset",
                                           "delete table inet berm",
                                           "flush chain inet berm prerouting",
                                           "insert rule inet berm prerouting accept",
                                           "flush set inet berm pod_devices",
                                           "flush set inet berm guarded4"};

    rules_size = ruleset(rules, sizeof(rules));
    (void)run("nft %s", commands[step % ARRAY_SIZE(commands)]);
}

static bool rules_ok(void)
{
    static char text[sizeof(rules)];
    size_t n = ruleset(text, sizeof(text));

    return n == rules_size && !memcmp(text, rules, n);
}

/* The processes step out, the cgroup is removed and made again, and they step in. */
static void remake_group(void)
{
    (void)run("g=%s; up=$(dirname $(dirname $g)); p=$(find $g -name cgroup.procs -exec cat {} +); "
              "for i in $p; do echo $i >$up/cgroup.procs; done; "
              "find $g -depth -type d -exec rmdir {} \\; ; mkdir -p $g/main && "
              "for i in $p; do echo $i >$g/main/cgroup.procs; done",
              group);
}

static void second_device(void)
{
    (void)run("ip link add bt-second type veth peer name bt-inner && "
              "ip link set bt-inner netns %s name eth9 && ip link set bt-second up",
              getenv("POD_NETNS"));
}

static bool has_filter(int index, enum bpf_tc_attach_point point, uint32_t priority)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = point);
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = priority);

    return bpf_tc_query(&hook, &opts) == 0;
}

/* Filters bind it first, links follow. */
static bool second_ok(void)
{
    int index = (int)if_nametoindex("bt-second");

    return index > 0 &&
           (device_is_ours(index) ||
            (has_filter(index, BPF_TC_INGRESS, 1) && has_filter(index, BPF_TC_INGRESS, 2) &&
             has_filter(index, BPF_TC_EGRESS, 1) && has_filter(index, BPF_TC_EGRESS, 2)));
}

static void drop_second(void)
{
    (void)run("ip link del bt-second");
}

static void drop_held(void)
{
    close_fd(&held);
}

static const struct attack {
    const char *name;
    void (*attack)(void);
    bool (*ok)(void);
    void (*after)(void);
    int kinds; /* rounds that it takes to try each of several alike */
} attacks[] = {
    {"device-link-detached", detach_device, device_ok, NULL, 4},
    {"foreign-program-first", put_first, device_ok, drop_held, 2},
    {"foreign-xdp-program", put_xdp, xdp_ok, drop_held, 2},
    {"foreign-program-in-device-link", swap_device, device_ok, NULL, 4},
    {"cgroup-link-detached", detach_group, group_ok, NULL, 11},
    {"foreign-program-in-cgroup-link", swap_group, group_ok, NULL, 2},
    {"netfilter-link-detached", detach_translated, translated_ok, NULL, 8},
    {"link-unpinned", unpin_link, pin_ok, NULL, 4},
    {"cgroup-link-unpinned", unpin_group, pin_ok, NULL, 2},
    {"map-unpinned", unpin_map, pin_ok, NULL, 4},
    {"ruleset", spoil_rules, rules_ok, NULL, 6},
    {"second-device", second_device, second_ok, drop_second, 1},
    {"cgroup-made-anew", remake_group, group_ok, NULL, 1},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Milliseconds until all is as before; -1 never, -2 it never was otherwise. */
static double one(void (*attack)(void), bool (*ok)(void))
{
    double begin;

    sleep_ms(random() % APART_MS);
    begin = now_ms();
    attack();
    if (ok())
        return -2;
    while (!ok()) {
        if (now_ms() - begin > PATIENCE_MS)
            return -1;
        sleep_ms(1);
    }
    return now_ms() - begin;
}

static void series(const char *name, void (*attack)(void), bool (*ok)(void), void (*after)(void),
                   int rounds)
{
    double *took = calloc((size_t)rounds, sizeof(*took));
    int n = 0, never = 0, fast = 0;

    for (int i = 0; took && i < rounds; i++) {
        double ms;

        step = (unsigned)i;
        ms = one(attack, ok);
        if (ms >= 0)
            took[n++] = ms;
        never += ms == -1;
        fast += ms == -2;
        if (after)
            after();
    }
    if (n)
        qsort(took, (size_t)n, sizeof(*took), compare);
    printf("%s times %d never %d unseen %d median %.1f max %.1f\n", name, rounds, never, fast,
           n ? took[n / 2] : 0, n ? took[n - 1] : 0);
    free(took);
}

static int program(enum bpf_prog_type type, enum bpf_attach_type attach, int verdict)
{
    const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
    int fd = bpf_prog_load(type, "foreign", "GPL", code, ARRAY_SIZE(code), &opts);

    if (fd < 0)
        fail("load");
    return fd;
}

int main(int argc, char **argv)
{
    int rounds;

    if (argc != 6)
        return EXIT_FAILURE;
    pins = argv[1], device = argv[3], group = argv[4];
    slot = (unsigned)atoi(argv[2]), rounds = atoi(argv[5]);
    ifindex = (int)if_nametoindex(device);
    group_fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    foreign_tcx = program(BPF_PROG_TYPE_SCHED_CLS, 0, 0 /* TCX_PASS: ends the chain */);
    foreign_xdp = program(BPF_PROG_TYPE_XDP, BPF_XDP, XDP_PASS);
    foreign_group = program(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 1);
    if (ifindex <= 0 || group_fd < 0 || !device_ok() || !group_ok())
        fail("the pod is not as it must be to begin with");
    srandom((unsigned)getpid());
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        char name[64];

        entry = &entries[i];
        (void)snprintf(name, sizeof(name), "map-%s-%s", entry->map,
                       entry->how == EDIT     ? "edited"
                       : entry->how == DELETE ? "deleted"
                                              : "added");
        series(name, spoil, entry_ok, NULL, rounds);
    }
    for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
        series(attacks[i].name, attacks[i].attack, attacks[i].ok, attacks[i].after,
               MAX(rounds, attacks[i].kinds));
    return EXIT_SUCCESS;
}
