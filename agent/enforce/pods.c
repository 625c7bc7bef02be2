/*
 * Pods and their slots. A slot's epoch only grows, over pods too: entries that a dead pod left
 * behind can never be taken for those of the next one.
 */
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pod *enforced_pod_find(const struct enforce *e, const char *uid)
{
    for (struct hash_node *n = hashmap_first(&e->pods, hash_string(uid)); n;
         n = hashmap_next_same(n)) {
        struct pod *pod = hash_entry(n, struct pod, node);

        if (!strcmp(pod->record.uid, uid))
            return pod;
    }
    return NULL;
}

static bool uid_is_valid(const char *uid)
{
    size_t n = uid ? strlen(uid) : 0;

    if (!n || n >= BERM_UID_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)uid[i]) && !strchr("._-", uid[i]))
            return false;
    }
    return true;
}

static int stats_create(struct enforce *e, uint32_t slot, struct error *err)
{
    int cpus = libbpf_num_possible_cpus();
    CLEANUP(free_ptr) struct berm_stats *zero = NULL;

    if (cpus < 0)
        return error_errno(err, cpus, "count CPUs");
    zero = calloc((size_t)cpus, sizeof(*zero));
    if (!zero)
        return error_set(err, -ENOMEM, "out of memory");
    if (bpf_map_update_elem(e->maps[MAP_G_STATS], &slot, zero, BPF_ANY) < 0 ||
        bpf_map_update_elem(e->maps[MAP_P_STATS], &slot, zero, BPF_ANY) < 0)
        return error_errno(err, -errno, "create counters of slot %u", slot);
    return 0;
}

void pod_control(struct enforce *e, struct pod *pod, enum berm_pod_state state, uint32_t epoch)
{
    pod->control = BERM_CONTROL(state, epoch);
    __atomic_store_n(&e->control[pod->slot].word, pod->control, __ATOMIC_SEQ_CST);
}

int pod_save(struct enforce *e, struct pod *pod, struct error *err)
{
    if (bpf_map_update_elem(e->maps[MAP_RECORDS], &pod->slot, &pod->record, BPF_ANY) < 0)
        return error_errno(err, -errno, "record pod %s", pod->record.uid);
    return 0;
}

int pod_load(struct enforce *e, uint32_t slot, const struct berm_record *record, struct pod **ret,
             struct error *err)
{
    struct pod *pod = calloc(1, sizeof(*pod));

    if (!pod)
        return error_set(err, -ENOMEM, "out of memory");
    pod->slot = slot;
    pod->record = *record;
    pod->record.uid[BERM_UID_MAX - 1] = '\0';
    pod->control = __atomic_load_n(&e->control[slot].word, __ATOMIC_SEQ_CST);
    list_init(&pod->devices);
    pod->cgroup_fd = -1;
    for (int i = 0; i < CGROUP_HOOK_MAX; i++)
        pod->cgroup_links[i] = -1;
    if (hashmap_add(&e->pods, &pod->node, hash_string(pod->record.uid)) < 0) {
        free(pod);
        return error_set(err, -ENOMEM, "out of memory");
    }
    e->slots[slot] = pod;
    *ret = pod;
    return 0;
}

int pod_new(struct enforce *e, const char *uid, struct pod **ret, struct error *err)
{
    struct berm_record record = {.nsid = -1};
    struct pod *pod;
    uint32_t slot;
    int r;

    if (!uid_is_valid(uid))
        return error_set(err, -EINVAL, "pod UID '%.80s' is not 1 to %d of [A-Za-z0-9._-]",
                         uid ? uid : "", BERM_UID_MAX - 1);
    for (slot = 0; slot < BERM_PODS_MAX && (e->slots[slot] || !e->flows_ready[slot]); slot++)
        ;
    for (uint32_t i = 0; slot == BERM_PODS_MAX && i < BERM_PODS_MAX; i++)
        slot = e->slots[i] ? slot : i;
    if (slot == BERM_PODS_MAX)
        return error_set(err, -ENOSPC, "no free slot: %d pods are armed", BERM_PODS_MAX);
    (void)snprintf(record.uid, sizeof(record.uid), "%s", uid);
    r = pod_load(e, slot, &record, &pod, err);
    if (r < 0)
        return r;
    /* Deny-all before anything of it can be looked up. */
    pod_control(e, pod, BERM_POD_UNKNOWN, BERM_CONTROL_EPOCH(pod->control) + 1);
    r = stats_create(e, slot, err);
    if (r == 0)
        r = flows_take(e, slot, err);
    if (r == 0)
        r = pod_save(e, pod, err);
    if (r < 0) {
        (void)enforced_pod_free(e, pod, NULL);
        return r;
    }
    *ret = pod;
    return 0;
}

static void names_free(struct pod *pod)
{
    for (size_t i = 0; i < pod->n_names; i++)
        free(pod->names[i]);
    free(pod->names);
    pod->names = NULL;
    pod->n_names = 0;
}

void pod_drop(struct enforce *e, struct pod *pod)
{
    struct device *device, *next;

    list_for_each_entry_safe (device, next, &pod->devices, siblings)
        device_drop(device);
    close_fd(&pod->cgroup_fd);
    for (int i = 0; i < CGROUP_HOOK_MAX; i++)
        close_fd(&pod->cgroup_links[i]);
    (void)hashmap_remove(&e->pods, &pod->node);
    e->slots[pod->slot] = NULL;
    bpf_tables_fini(&pod->tables);
    names_free(pod);
    free(pod->cgroup_path);
    free(pod);
}

int enforced_pod_free(struct enforce *e, struct pod *pod, struct error *err)
{
    struct berm_record none = {0};
    struct device *device, *next;
    int r = 0;

    list_for_each_entry_safe (device, next, &pod->devices, siblings)
        device_remove(e, device);
    if (pod->record.cgroup_id)
        cgroup_remove(e, pod);
    sources_remove(e, pod);
    rules_forget(e, pod);
    pod_control(e, pod, BERM_POD_UNKNOWN, BERM_CONTROL_EPOCH(pod->control) + 1);
    (void)bpf_map_delete_elem(e->maps[MAP_G_STATS], &pod->slot);
    (void)bpf_map_delete_elem(e->maps[MAP_P_STATS], &pod->slot);
    e->flows_used[pod->slot] = true;
    if (bpf_map_update_elem(e->maps[MAP_RECORDS], &pod->slot, &none, BPF_ANY) < 0)
        r = error_errno(err, -errno, "forget pod %s", pod->record.uid);
    pod_drop(e, pod);
    return r;
}
