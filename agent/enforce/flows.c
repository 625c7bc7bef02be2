/*
 * Flow tables, one per pod. Putting one in place waits for a grace period, so some are put ahead of
 * need, many at a time: arming a pod does not wait. A dead pod's table goes later, for the same
 * reason; its slot gets a fresh one before it is used again.
 */
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

enum { SPARE_TABLES = 16 };

static int table_new(struct error *err)
{
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "berm_flows", sizeof(uint32_t),
                            sizeof(struct berm_flow_set), BERM_FLOW_SETS, NULL);

    return fd < 0 ? error_errno(err, fd, "create flow table") : fd;
}

static int put_tables(struct enforce *e, const uint32_t *slots, const int *fds, uint32_t n,
                      struct error *err)
{
    struct bpf_map_batch_opts opts = {.sz = sizeof(opts)};
    int map = e->maps[MAP_P_FLOWS];
    uint32_t put = n;

    if (n > 1 && bpf_map_update_batch(map, slots, fds, &put, &opts) == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        if (bpf_map_update_elem(map, &slots[i], &fds[i], BPF_ANY) < 0)
            return error_errno(err, -errno, "put flow table of slot %u", slots[i]);
    }
    return 0;
}

static int fill(struct enforce *e, const uint32_t *slots, uint32_t n, struct error *err)
{
    int fds[SPARE_TABLES], r = 0;
    uint32_t made = 0;

    while (made < n) {
        r = table_new(err);
        if (r < 0)
            break;
        fds[made++] = r;
    }
    if (r >= 0)
        r = put_tables(e, slots, fds, made, err);
    for (uint32_t i = 0; i < made; i++) {
        e->flows_ready[slots[i]] = r >= 0;
        e->flows_used[slots[i]] = false;
        (void)close(fds[i]);
    }
    return r < 0 ? r : 0;
}

int flows_take(struct enforce *e, uint32_t slot, struct error *err)
{
    int r = e->flows_ready[slot] ? 0 : fill(e, &slot, 1, err);

    e->flows_ready[slot] = false;
    return r;
}

int flows_prepare(struct enforce *e, struct error *err)
{
    uint32_t slots[SPARE_TABLES], n = 0, ready = 0;

    for (uint32_t slot = 0; slot < BERM_PODS_MAX && n < SPARE_TABLES; slot++) {
        if (e->slots[slot])
            continue;
        if (e->flows_ready[slot])
            ready++;
        else
            slots[n++] = slot;
        if (ready >= SPARE_TABLES / 2)
            return 0;
    }
    return n ? fill(e, slots, n, err) : 0;
}

void flows_collect(struct enforce *e)
{
    for (uint32_t slot = 0; slot < BERM_PODS_MAX; slot++) {
        if (!e->flows_used[slot] || e->slots[slot])
            continue;
        e->flows_used[slot] = false;
        (void)bpf_map_delete_elem(e->maps[MAP_P_FLOWS], &slot);
        return;
    }
}
