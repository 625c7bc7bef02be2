/*
 * A pod's rules in the maps. The new epoch's entries are written aside, then one store of one word
 * switches both directions. Entries of the old epoch are deleted later, when no packet can still
 * be judged by them; a packet in flight would otherwise find half a rule set.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/entries.h"
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 1024 };
static const uint64_t STALE_NS = 1000000000ULL;

uint64_t enforce_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Keys and values of one map, gathered for few syscalls. */
struct batch {
    int map;
    size_t key_size, value_size, n;
    bool remove;
    char keys[BATCH * sizeof(struct berm_cidr_key)];
    char values[BATCH * sizeof(struct berm_verdict)];
};
_Static_assert(sizeof(struct berm_cidr_key) >= sizeof(struct berm_host_key), "batch size");
_Static_assert(sizeof(struct berm_cidr_key) >= sizeof(struct berm_port_key), "batch size");
_Static_assert(sizeof(struct berm_verdict) >= sizeof(struct berm_class), "batch size");

static int batch_single(const struct batch *b)
{
    int r = 0;

    for (size_t i = 0; i < b->n; i++) {
        const void *key = b->keys + i * b->key_size;

        if (b->remove)
            (void)bpf_map_delete_elem(b->map, key); /* may be gone already: that is the aim */
        else if (bpf_map_update_elem(b->map, key, b->values + i * b->value_size, BPF_ANY) < 0)
            r = r ? r : -errno;
    }
    return r;
}

static int batch_flush(struct batch *b)
{
    struct bpf_map_batch_opts opts = {.sz = sizeof(opts)};
    uint32_t n = (uint32_t)b->n;
    int r = 0;

    if (!b->n)
        return 0;
    r = b->remove ? bpf_map_delete_batch(b->map, b->keys, &n, &opts)
                  : bpf_map_update_batch(b->map, b->keys, b->values, &n, &opts);
    if (r < 0) /* no batches in this kernel, or one entry failed: one by one says which */
        r = batch_single(b);
    b->n = 0;
    return r;
}

static int batch_add(struct batch *b, const void *key, const void *value)
{
    memcpy(b->keys + b->n * b->key_size, key, b->key_size);
    memcpy(b->values + b->n * b->value_size, value, b->value_size);
    return ++b->n == BATCH ? batch_flush(b) : 0;
}

/* Writes or removes all entries of an epoch. */
static int tables_apply(struct enforce *e, const struct bpf_tables *t, uint32_t slot,
                        uint32_t epoch, bool remove)
{
    CLEANUP(free_ptr) struct batch *b = calloc(ENTRY_MAPS, sizeof(*b));
    size_t n = entries_count(t);
    int r = 0;

    if (!b)
        return -ENOMEM;
    counts_look(e);
    for (int i = 0; i < ENTRY_MAPS; i++) {
        b[i].remove = remove;
        b[i].map = e->maps[entry_maps[i].map];
        b[i].key_size = entry_maps[i].key_size;
        b[i].value_size = entry_maps[i].value_size;
    }
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct berm_check entry;

        entries_get(t, i, slot, epoch, &entry);
        r = batch_add(&b[entry.map], &entry.host, &entry.class);
    }
    for (int i = 0; i < ENTRY_MAPS; i++) {
        int last = batch_flush(&b[i]);

        r = r ? r : last;
    }
    counts_settle(e);
    return r;
}

static void queue_stale(struct enforce *e, struct bpf_tables *tables, uint32_t slot, uint32_t epoch)
{
    struct stale *stale = calloc(1, sizeof(*stale));

    if (!stale) { /* the entries stay in the maps until the next start; they are never matched */
        bpf_tables_fini(tables);
        return;
    }
    stale->tables = *tables;
    stale->slot = slot;
    stale->epoch = epoch;
    stale->since_ns = enforce_now_ns();
    memset(tables, 0, sizeof(*tables));
    list_append(&e->stale, &stale->list);
}

void rules_forget(struct enforce *e, struct pod *pod)
{
    if (pod->tables.n_peers || pod->tables.n_ports)
        queue_stale(e, &pod->tables, pod->slot, BERM_CONTROL_EPOCH(pod->control));
}

int rules_flush(struct enforce *e, bool now)
{
    uint64_t time = enforce_now_ns();
    struct stale *stale, *next;
    int n = 0;

    if (now && !list_empty(&e->stale)) /* waits until every packet being judged is done */
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
    list_for_each_entry_safe (stale, next, &e->stale, list) {
        if (!now && time - stale->since_ns < STALE_NS)
            break;
        (void)tables_apply(e, &stale->tables, stale->slot, stale->epoch, true);
        bpf_tables_fini(&stale->tables);
        list_remove(&stale->list);
        free(stale);
        n++;
    }
    return n;
}

static int names_copy(struct pod *pod, const struct policy_rules *rules, struct error *err)
{
    char **names = calloc(rules->n_names ? rules->n_names : 1, sizeof(*names));

    for (size_t i = 0; names && i < rules->n_names; i++) {
        names[i] = strdup(rules->names[i] ? rules->names[i] : "");
        if (names[i])
            continue;
        while (i--)
            free(names[i]);
        free(names);
        names = NULL;
    }
    if (!names)
        return error_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < pod->n_names; i++)
        free(pod->names[i]);
    free(pod->names);
    pod->names = names;
    pod->n_names = rules->n_names;
    return 0;
}

/* Deny all, with the reason that says why. */
static void close_pod(struct enforce *e, struct pod *pod)
{
    rules_forget(e, pod);
    pod_control(e, pod, BERM_POD_CLOSED, BERM_CONTROL_EPOCH(pod->control) + 1);
    upgrade_take_over(e, pod);
}

int enforce_set_rules(struct enforce *e, const char *uid, const struct policy_rules *rules,
                      struct error *err)
{
    struct pod *pod = enforced_pod_find(e, uid);
    struct bpf_tables tables = {0};
    uint32_t epoch;
    int r;

    if (!pod)
        return error_set(err, -ENOENT, "pod %s is not armed", uid);
    epoch = BERM_CONTROL_EPOCH(pod->control) + 1;
    r = bpf_tables_build(rules, &tables, err);
    if (r < 0) {
        close_pod(e, pod);
        return error_wrap(err, "pod %s is closed", uid);
    }
    r = tables_apply(e, &tables, pod->slot, epoch, false);
    if (r < 0 && rules_flush(e, true) > 0) /* old entries may have been what filled the maps */
        r = tables_apply(e, &tables, pod->slot, epoch, false);
    if (r == 0)
        r = names_copy(pod, rules, err);
    if (r < 0) {
        (void)tables_apply(e, &tables, pod->slot, epoch, true);
        (void)error_errno(
            err, -E2BIG,
            "pod %s is closed: its rules (%zu peers, %zu port entries) do not fit the "
            "maps: %s",
            uid, tables.n_peers, tables.n_ports, strerror(-r));
        bpf_tables_fini(&tables);
        close_pod(e, pod);
        return -E2BIG;
    }
    rules_forget(e, pod);
    pod->tables = tables;
    pod_control(e, pod, BERM_POD_RULES, epoch);
    upgrade_take_over(e, pod);
    return 0;
}

int enforce_set_unknown(struct enforce *e, const char *uid, struct error *err)
{
    struct pod *pod = enforced_pod_find(e, uid);

    if (!pod)
        return error_set(err, -ENOENT, "pod %s is not armed", uid);
    rules_forget(e, pod);
    pod_control(e, pod, BERM_POD_UNKNOWN, BERM_CONTROL_EPOCH(pod->control) + 1);
    upgrade_take_over(e, pod);
    return 0;
}
