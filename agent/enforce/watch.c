/*
 * Are all links as we left them? The kernel is asked once and answers with a sum (bpf/watch.bpf.c):
 * over the links that it found at the last walk over all of its links, or, if that is not what it
 * must be, by walking again. Only if that does not fit either is each link looked at. A kernel
 * without such iterators has each link looked at every time.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "watch.skel.h"
#include "watch_saved.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

/* Optional (Linux 6.2): the walk's own maps are its, too. */
static void open_saved(struct enforce *e)
{
    struct watch_saved_bpf *saved = watch_saved_bpf__open();

    e->watch_saved = saved;
    if (!saved)
        return;
    if (bpf_map__reuse_fd(saved->maps.w_links, bpf_map__fd(e->watch->maps.w_links)) == 0 &&
        bpf_map__reuse_fd(saved->maps.w_storages, bpf_map__fd(e->watch->maps.w_storages)) == 0 &&
        watch_saved_bpf__load(saved) == 0)
        return;
    watch_saved_bpf__destroy(saved);
    e->watch_saved = NULL;
}

void watch_open(struct enforce *e)
{
    e->watch_link = -1;
    e->watch = watch_bpf__open_and_load();
    if (!e->watch)
        return;
    e->watch_link =
        bpf_link_create(bpf_program__fd(e->watch->progs.watch_links), 0, BPF_TRACE_ITER, NULL);
    if (e->watch_link < 0)
        watch_close(e);
    else
        open_saved(e);
}

void watch_close(struct enforce *e)
{
    if (e->watch)
        close_fd(&e->watch_link);
    watch_saved_bpf__destroy(e->watch_saved);
    watch_bpf__destroy(e->watch);
    e->watch = NULL;
    e->watch_saved = NULL;
}

void watch_program(struct enforce *e, uint32_t id, bool storage)
{
    uint32_t value = storage;

    if (e->watch &&
        bpf_map_update_elem(bpf_map__fd(e->watch->maps.w_programs), &id, &value, BPF_ANY) < 0)
        watch_close(e);
}

void watch_storage(struct enforce *e, enum berm_engine engine, int map)
{
    struct bpf_map_info info = {0};
    uint32_t size = sizeof(info), key = engine;

    if (e->watch &&
        (bpf_obj_get_info_by_fd(map, &info, &size) < 0 ||
         bpf_map_update_elem(bpf_map__fd(e->watch->maps.w_storages), &key, &info.id, BPF_ANY) < 0))
        watch_close(e);
}

static int ask(const struct enforce *e, struct berm_watch *ret)
{
    CLEANUP(close_fd) int fd = bpf_iter_create(e->watch_link);
    ssize_t n;

    if (fd < 0)
        return fd;
    do
        n = read(fd, ret, sizeof(*ret));
    while (n < 0 && errno == EAGAIN);
    return n == (ssize_t)sizeof(*ret) ? 0 : -EIO;
}

/* Links that were made since are not in it, and then the sum is another. */
static bool ask_saved(const struct enforce *e, struct berm_watch *io)
{
    struct bpf_test_run_opts opts = {.sz = sizeof(opts), .ctx_in = io, .ctx_size_in = sizeof(*io)};

    return e->watch_saved &&
           bpf_prog_test_run_opts(bpf_program__fd(e->watch_saved->progs.watch_saved), &opts) == 0;
}

static bool is_same(const struct berm_watch *now, const struct berm_watch *want)
{
    return now->links == want->links && now->sum == want->sum;
}

static void expect_pod(const struct enforce *e, const struct pod *pod, struct berm_watch *sum)
{
    const struct device *device;

    list_for_each_entry (device, &pod->devices, siblings) {
        for (int kind = 0; kind < HOOK_MAX; kind++) {
            const struct hook *hook = &device->hooks[kind];

            if (hook->link_fd < 0)
                continue;
            sum->links++;
            sum->sum += berm_watch_mix(hook->link_id, hook->prog_id,
                                       hook_is_policy((enum hook_kind)kind) ? 2 : 1);
        }
    }
    for (int i = 0; i < CGROUP_HOOK_MAX; i++) {
        if (pod->cgroup_links[i] < 0)
            continue;
        sum->links++;
        sum->sum += berm_watch_mix(pod->cgroup_ids[i], e->cgroup_prog_ids[i], 0);
    }
    if (pod->cgroup_links[0] >= 0)
        sum->sum += cgroup_digest(pod);
}

bool watch_intact(const struct enforce *e)
{
    struct berm_watch now = {0}, want = {0};

    if (!e->watch)
        return false;
    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        if (e->slots[i])
            expect_pod(e, e->slots[i], &want);
    }
    now.links = want.links;
    if (ask_saved(e, &now) && is_same(&now, &want))
        return true;
    return ask(e, &now) == 0 && is_same(&now, &want);
}
