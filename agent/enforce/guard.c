/*
 * The guard's tables in the kernel, from policy/guard.def. Entries are overwritten in place or
 * added, never deleted and added again: there is no moment without them.
 */
#include "policy/guard.h"

#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct guard_entry {
    struct berm_lpm_key key;
    struct berm_guard_row row;
};

/* What the maps must hold, by the exceptions that are configured. */
struct guard_table {
    size_t n;
    struct guard_entry *rows;
    const char **names;
    struct berm_exception exceptions[BERM_EXCEPTIONS_MAX];
};

static bool same_address(const struct policy_cidr *a, const struct policy_cidr *b)
{
    return a->prefix == b->prefix && !memcmp(a->addr, b->addr, 16);
}

/* Bits of the exceptions that lie within a denied prefix. Bit = how many ALLOW rows came before. */
static uint64_t exceptions_of(const struct enforce *e, const struct policy_cidr *deny)
{
    unsigned bit = 0;
    uint64_t mask = 0;

    for (size_t i = 0; i < guard_n_rows; i++) {
        if (guard_rows[i].action != GUARD_ALLOW)
            continue;
        if (same_address(&guard_rows[i].cidr, deny))
            mask |= UINT64_C(1) << bit;
        bit++;
    }
    for (size_t i = 0; i < e->exceptions.n; i++) {
        if (deny->prefix == 128 && !memcmp(e->exceptions.list[i].addr, deny->addr, 16))
            mask |= UINT64_C(1) << (bit + i);
    }
    return mask;
}

unsigned guard_builtin_exceptions(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < guard_n_rows; i++)
        n += guard_rows[i].action == GUARD_ALLOW;
    return n;
}

static void entry_of(const struct enforce *e, size_t i, struct guard_entry *ret)
{
    const struct guard_row *row = &guard_rows[i];

    memset(ret, 0, sizeof(*ret));
    ret->key.prefix = BERM_ROW_BITS + row->cidr.prefix;
    memcpy(&ret->key.addr, row->cidr.addr, 16);
    ret->row.row = (uint32_t)i;
    ret->row.protocol = row->protocol;
    ret->row.from = row->from;
    ret->row.to = row->to;
    ret->row.exceptions = exceptions_of(e, &row->cidr);
}

static void exception_of(const struct enforce *e, unsigned bit, struct berm_exception *ret)
{
    unsigned at = 0;

    memset(ret, 0, sizeof(*ret));
    ret->from = 1; /* 1..0: matches nothing */
    for (size_t i = 0; i < guard_n_rows; i++) {
        if (guard_rows[i].action != GUARD_ALLOW || at++ != bit)
            continue;
        ret->protocol = guard_rows[i].protocol;
        ret->from = guard_rows[i].from;
        ret->to = guard_rows[i].to;
    }
    if (bit >= at && bit - at < e->exceptions.n) {
        const struct enforce_exception *x = &e->exceptions.list[bit - at];

        ret->protocol = x->protocol;
        ret->from = x->from;
        ret->to = x->to;
    }
}

void guard_close(struct enforce *e)
{
    if (e->table) {
        free(e->table->rows);
        free(e->table->names);
    }
    free(e->table);
    e->table = NULL;
}

static int compile(struct enforce *e, struct error *err)
{
    struct guard_table *t;

    guard_close(e);
    t = e->table = calloc(1, sizeof(*t));
    if (t) {
        t->rows = calloc(guard_n_rows, sizeof(*t->rows));
        t->names = calloc(guard_n_rows, sizeof(*t->names));
    }
    if (!t || !t->rows || !t->names)
        return error_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < guard_n_rows; i++) {
        if (guard_rows[i].action != GUARD_DENY)
            continue;
        t->names[t->n] = guard_rows[i].name;
        entry_of(e, i, &t->rows[t->n++]);
    }
    for (uint32_t bit = 0; bit < BERM_EXCEPTIONS_MAX; bit++)
        exception_of(e, bit, &t->exceptions[bit]);
    return 0;
}

static int guard_fill(struct enforce *e, struct error *err)
{
    const struct guard_table *t = e->table;

    for (uint32_t bit = 0; bit < BERM_EXCEPTIONS_MAX; bit++) {
        if (bpf_map_update_elem(e->maps[MAP_G_EXCEPTIONS], &bit, &t->exceptions[bit], BPF_ANY) < 0)
            return error_errno(err, -errno, "write the guard's exceptions");
    }
    for (size_t i = 0; i < t->n; i++) {
        if (bpf_map_update_elem(e->maps[MAP_G_ROWS], &t->rows[i].key, &t->rows[i].row, BPF_ANY) < 0)
            return error_errno(err, -errno, "write guarded endpoint %s", t->names[i]);
    }
    return 0;
}

static int verify_rows(struct enforce *e)
{
    const struct guard_table *t = e->table;
    int repaired = 0;

    for (size_t i = 0; i < t->n; i++) {
        struct berm_guard_row now;

        /* The match is the longest one: an entry put inside ours shows here as well if it hides
         * the first address; those that hide others are found by their number. */
        if (bpf_map_lookup_elem(e->maps[MAP_G_ROWS], &t->rows[i].key, &now) == 0 &&
            !memcmp(&now, &t->rows[i].row, sizeof(now)))
            continue;
        if (bpf_map_update_elem(e->maps[MAP_G_ROWS], &t->rows[i].key, &t->rows[i].row, BPF_ANY) < 0)
            return -errno;
        incident(e, ENFORCE_MAP_CHANGED, NULL, "guarded endpoint %s was not as written",
                 t->names[i]);
        repaired++;
    }
    return repaired;
}

static bool is_ours(const struct enforce *e, const struct berm_lpm_key *key)
{
    for (size_t i = 0; i < e->table->n; i++) {
        if (!memcmp(&e->table->rows[i].key, key, sizeof(*key)))
            return true;
    }
    return false;
}

/* Entries that we did not write could hide ours: longer prefixes win. */
static int remove_foreign(struct enforce *e, bool repaired_any)
{
    struct berm_lpm_key key, next;
    void *from = NULL;
    int repaired = 0;

    if (!repaired_any && tally_has(e, MAP_G_ROWS, e->table->n))
        return 0;
    for (int n = 0; n < BERM_GUARD_MAX; n++) {
        if (bpf_map_get_next_key(e->maps[MAP_G_ROWS], from, &next) < 0)
            return repaired;
        key = next;
        from = &key;
        if (is_ours(e, &key))
            continue;
        if (bpf_map_delete_elem(e->maps[MAP_G_ROWS], &key) < 0)
            return -errno;
        incident(e, ENFORCE_MAP_CHANGED, NULL, "removed a foreign entry from the guard's table");
        repaired++;
        from = NULL;
    }
    return repaired;
}

static int verify_exceptions(struct enforce *e)
{
    const struct berm_exception *want = e->table->exceptions;
    struct berm_tally all = {0};
    int repaired = 0;

    for (uint32_t bit = 0; bit < BERM_EXCEPTIONS_MAX; bit++)
        tally_add(&all, &bit, sizeof(bit), &want[bit], sizeof(want[bit]));
    if (tally_matches(e, MAP_G_EXCEPTIONS, sizeof(uint32_t), sizeof(*want), &all))
        return 0;
    for (uint32_t bit = 0; bit < BERM_EXCEPTIONS_MAX; bit++) {
        struct berm_exception now;

        if (bpf_map_lookup_elem(e->maps[MAP_G_EXCEPTIONS], &bit, &now) < 0)
            return -errno;
        if (!memcmp(&want[bit], &now, sizeof(now)))
            continue;
        if (bpf_map_update_elem(e->maps[MAP_G_EXCEPTIONS], &bit, &want[bit], BPF_ANY) < 0)
            return -errno;
        incident(e, ENFORCE_MAP_CHANGED, NULL, "exception %u of the guard was not as written",
                 (unsigned)bit);
        repaired++;
    }
    return repaired;
}

int guard_verify(struct enforce *e)
{
    int rows = verify_rows(e), foreign = remove_foreign(e, rows > 0);
    int exceptions = verify_exceptions(e);

    if (rows < 0 || foreign < 0 || exceptions < 0)
        return rows < 0 ? rows : foreign < 0 ? foreign : exceptions;
    return rows + foreign + exceptions;
}

int guard_spread(struct enforce *e, struct pod *pod, struct error *err)
{
    struct device *device;
    int r;

    list_for_each_entry (device, &pod->devices, siblings) {
        device->guard.exceptions = device->policy.exceptions = pod->record.exceptions;
        device->policy.audit = pod_watched(pod);
    }
    r = pod_save(e, pod, err);
    if (r == 0)
        r = device_rewrite(e, pod, err);
    if (r == 0)
        r = sources_write(e, pod, err);
    return r < 0 ? r : cgroup_write(e, pod, err);
}

/* What an exception's bit meant before must not be taken for what it means now: pods lose those
 * bits first, and get them anew when they are armed again. */
static int clear_bits(struct enforce *e, struct error *err)
{
    uint64_t builtin = (UINT64_C(1) << guard_builtin_exceptions()) - 1;

    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        struct pod *pod = e->slots[i];
        int r;

        if (!pod || !(pod->record.exceptions & ~builtin))
            continue;
        pod->record.exceptions &= builtin;
        r = guard_spread(e, pod, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int enforce_pod_exceptions(struct enforce *e, const char *uid, uint64_t exceptions,
                           struct error *err)
{
    struct pod *pod = enforced_pod_find(e, uid);
    uint64_t all = exceptions | ((UINT64_C(1) << guard_builtin_exceptions()) - 1);
    int r;

    if (!pod)
        return error_set(err, -ENOENT, "pod %s is not armed", uid);
    if (pod->record.exceptions == all)
        return 0;
    pod->record.exceptions = all;
    r = guard_spread(e, pod, err);
    nft_stale(e);
    return r < 0 ? r : nft_refresh(e, err);
}

bool enforce_pod_excepts(const struct enforce *e, const char *uid, const uint8_t addr[16],
                         int protocol, int port)
{
    const struct pod *pod = enforced_pod_find(e, uid);

    for (size_t i = 0; pod && i < e->exceptions.n; i++) {
        const struct enforce_exception *x = &e->exceptions.list[i];

        if ((pod->record.exceptions & enforce_exception_bit(i)) && !memcmp(x->addr, addr, 16) &&
            x->protocol == protocol && port >= x->from && port <= x->to)
            return true;
    }
    return false;
}

int enforce_set_audit(struct enforce *e, const char *uid, bool audit, struct error *err)
{
    struct pod *pod = enforced_pod_find(e, uid);

    if (!pod)
        return error_set(err, -ENOENT, "pod %s is not armed", uid);
    if (pod->record.audit == (uint32_t)audit)
        return 0;
    pod->record.audit = audit;
    return guard_spread(e, pod, err);
}

int enforce_set_exceptions(struct enforce *e, const struct enforce_exceptions *list,
                           struct error *err)
{
    int r = 0;

    if (guard_builtin_exceptions() + list->n > BERM_EXCEPTIONS_MAX)
        return error_set(err, -E2BIG, "too many exceptions");
    r = clear_bits(e, err);
    if (r < 0)
        return r;
    e->exceptions = *list;
    r = compile(e, err);
    if (r == 0)
        r = guard_fill(e, err);
    return r < 0 ? r : nft_rebuild(e, err);
}

/* Is what an earlier process wrote what we would write? */
static bool is_written(struct enforce *e)
{
    const struct guard_table *t = e->table;

    for (uint32_t bit = 0; bit < BERM_EXCEPTIONS_MAX; bit++) {
        struct berm_exception now;

        if (bpf_map_lookup_elem(e->maps[MAP_G_EXCEPTIONS], &bit, &now) < 0 ||
            memcmp(&t->exceptions[bit], &now, sizeof(now)) != 0)
            return false;
    }
    for (size_t i = 0; i < t->n; i++) {
        struct berm_guard_row now;

        if (bpf_map_lookup_elem(e->maps[MAP_G_ROWS], &t->rows[i].key, &now) < 0 ||
            now.exceptions != t->rows[i].row.exceptions)
            return false;
    }
    return true;
}

int guard_open(struct enforce *e, struct error *err)
{
    int r;

    if (e->config.exceptions) {
        if (guard_builtin_exceptions() + e->config.exceptions->n > BERM_EXCEPTIONS_MAX)
            return error_set(err, -E2BIG, "too many exceptions");
        e->exceptions = *e->config.exceptions;
    }
    r = compile(e, err);
    if (r < 0)
        return r;
    e->exceptions_changed = !is_written(e);
    return e->exceptions_changed ? 0 : guard_fill(e, err);
}

int guard_open_pods(struct enforce *e, struct error *err)
{
    int r;

    if (!e->exceptions_changed)
        return 0;
    r = clear_bits(e, err);
    return r < 0 ? r : guard_fill(e, err);
}

uint64_t enforce_exception_bit(size_t i)
{
    return UINT64_C(1) << (guard_builtin_exceptions() + i);
}

const char *enforce_guard_name(uint32_t row)
{
    return row < guard_n_rows ? guard_rows[row].name : "";
}
