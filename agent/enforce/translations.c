/*
 * What the node translates: addresses and ports of Services, and what they may become. Programs
 * before the translation leave these to the ones behind it (translated.c).
 */
#include "agent/enforce/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 64 }; /* looked at each sweep */

static int compare(const void *a, const void *b)
{
    const struct frontend *x = a, *y = b;

    return memcmp(&x->key, &y->key, sizeof(x->key));
}

static void backends_of(const struct enforce_frontend *from, struct berm_backends *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (from->n_backends > BERM_BACKENDS_MAX)
        return;
    for (size_t i = 0; i < from->n_backends; i++) {
        memcpy(&ret->list[i].addr, from->backends[i].addr, 16);
        ret->list[i].port = from->backends[i].port;
    }
    ret->n = (uint32_t)from->n_backends;
}

static uint64_t digest(const struct berm_backends *b)
{
    return b->n ? berm_digest(1, b, sizeof(*b)) | 1 : 0;
}

static void frontend_of(const struct enforce_frontend *from, struct frontend *ret)
{
    struct berm_backends backends;

    backends_of(from, &backends);
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->key.addr, from->addr, 16);
    ret->key.port = from->port;
    ret->key.protocol = from->protocol;
    ret->backends = digest(&backends);
}

/* The list sorted, without doubles. */
static struct frontend *sorted(const struct enforce_frontend *list, size_t n, size_t *ret_n)
{
    struct frontend *all = calloc(n + 1, sizeof(*all));
    size_t kept = 0;

    if (!all)
        return NULL;
    for (size_t i = 0; i < n; i++)
        frontend_of(&list[i], &all[i]);
    if (n > 1)
        qsort(all, n, sizeof(*all), compare);
    for (size_t i = 0; i < n; i++) {
        if (!kept || compare(&all[kept - 1], &all[i]) != 0)
            all[kept++] = all[i];
    }
    *ret_n = kept;
    return all;
}

static const struct frontend *find(const struct frontend *list, size_t n,
                                   const struct berm_frontend *key)
{
    const struct frontend wanted = {.key = *key};

    return n ? bsearch(&wanted, list, n, sizeof(*list), compare) : NULL;
}

/* What an earlier process wrote, too. */
static void drop_others(struct enforce *e, enum enforce_map map)
{
    struct berm_frontend key, next;
    void *from = NULL;

    for (size_t n = 0; n < BERM_FRONTENDS_MAX; n++) {
        bool gone = bpf_map_get_next_key(e->maps[map], from, &next) < 0;
        const struct frontend *f = from ? find(e->frontends, e->n_frontends, &key) : NULL;

        if (from && (!f || (map == MAP_P_BACKENDS && !f->backends)))
            (void)bpf_map_delete_elem(e->maps[map], &key);
        if (gone)
            return;
        key = next;
        from = &key;
    }
}

/* The list as it was given may name one twice: what the sorted list kept is what is written. A full
 * map leaves some without: they are learnt of by loss, as they would be without any of this. */
static void write_backends(struct enforce *e, const struct enforce_frontend *list, size_t n,
                           const struct frontend *before, size_t n_before)
{
    for (size_t i = 0; i < n; i++) {
        struct berm_backends backends;
        const struct frontend *old, *kept;
        struct frontend now;

        frontend_of(&list[i], &now);
        kept = find(e->frontends, e->n_frontends, &now.key);
        old = find(before, n_before, &now.key);
        if (!kept || kept->backends != now.backends || (old && old->backends == now.backends))
            continue;
        backends_of(&list[i], &backends);
        if (backends.n)
            (void)bpf_map_update_elem(e->maps[MAP_P_BACKENDS], &now.key, &backends, BPF_ANY);
        else
            (void)bpf_map_delete_elem(e->maps[MAP_P_BACKENDS], &now.key);
    }
}

int enforce_set_frontends(struct enforce *e, const struct enforce_frontend *list, size_t n,
                          struct error *err)
{
    const uint32_t one = 1;
    bool first = !e->frontends;
    struct frontend *now, *before = e->frontends;
    size_t n_now, n_before = e->n_frontends;

    n = e->totals.translated ? n : 0;
    now = sorted(list, n, &n_now);
    if (!now)
        return error_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n_now; i++) {
        if (!find(before, n_before, &now[i].key) &&
            bpf_map_update_elem(e->maps[MAP_P_FRONTENDS], &now[i].key, &one, BPF_ANY) < 0) {
            int r = -errno;

            free(now);
            return error_errno(err, r, "write translated destinations");
        }
    }
    e->frontends = now;
    e->n_frontends = n_now;
    write_backends(e, list, n, before, n_before);
    for (size_t i = 0; !first && i < n_before; i++) {
        if (find(now, n_now, &before[i].key))
            continue;
        (void)bpf_map_delete_elem(e->maps[MAP_P_FRONTENDS], &before[i].key);
        (void)bpf_map_delete_elem(e->maps[MAP_P_BACKENDS], &before[i].key);
    }
    if (first) {
        drop_others(e, MAP_P_FRONTENDS);
        drop_others(e, MAP_P_BACKENDS);
    }
    free(before);
    return 0;
}

/* An entry that is not as written goes: without one nothing is refused early. */
static int verify_backends(struct enforce *e, struct frontend *f)
{
    struct berm_backends now = {0};

    if (bpf_map_lookup_elem(e->maps[MAP_P_BACKENDS], &f->key, &now) < 0)
        memset(&now, 0, sizeof(now));
    if (digest(&now) == f->backends)
        return 0;
    (void)bpf_map_delete_elem(e->maps[MAP_P_BACKENDS], &f->key);
    f->backends = 0; /* the next change writes it again */
    incident(e, ENFORCE_MAP_CHANGED, NULL,
             "backends of a translated destination were not as written");
    return 1;
}

int translations_verify(struct enforce *e)
{
    int repaired = 0;

    for (size_t i = 0; i < MIN((size_t)BUDGET, e->n_frontends); i++) {
        struct frontend *f = &e->frontends[e->frontends_verified++ % e->n_frontends];
        uint32_t one = 1, now;

        repaired += verify_backends(e, f);
        if (bpf_map_lookup_elem(e->maps[MAP_P_FRONTENDS], &f->key, &now) == 0)
            continue;
        (void)bpf_map_update_elem(e->maps[MAP_P_FRONTENDS], &f->key, &one, BPF_ANY);
        incident(e, ENFORCE_MAP_CHANGED, NULL, "a translated destination was removed");
        repaired++;
    }
    return repaired;
}
