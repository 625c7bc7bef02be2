#include "agent/drops.h"

#include <string.h>
#include <time.h>

void drops_init(struct drops *d)
{
    *d = (struct drops){.map = HASHMAP_INIT};
    list_init(&d->recent);
}

static void remove_drop(struct drops *d, struct drop *drop)
{
    (void)hashmap_remove(&d->map, &drop->node);
    list_remove(&drop->link);
    free(drop);
}

void drops_fini(struct drops *d)
{
    struct drop *drop, *next;

    list_for_each_entry_safe (drop, next, &d->recent, link) {
        remove_drop(d, drop);
    }
    hashmap_fini(&d->map);
}

static void fill(struct drop *drop, const struct enforce_deny *deny)
{
    memset(drop, 0, sizeof(*drop));
    (void)snprintf(drop->uid, sizeof(drop->uid), "%s", deny->uid ? deny->uid : "");
    (void)snprintf(drop->what, sizeof(drop->what), "%s", deny->what ? deny->what : "");
    drop->audit = deny->audit;
    drop->engine = (uint8_t)deny->engine;
    drop->direction = (uint8_t)deny->direction;
    drop->reason = (uint8_t)deny->reason;
    drop->protocol = deny->protocol;
    drop->port = deny->direction == BERM_EGRESS ? deny->remote_port : deny->local_port;
    memcpy(drop->remote, deny->remote, 16);
}

static bool same(const struct drop *a, const struct drop *b)
{
    return strcmp(a->uid, b->uid) == 0 && strcmp(a->what, b->what) == 0 && a->engine == b->engine &&
           a->audit == b->audit && a->direction == b->direction && a->reason == b->reason &&
           a->protocol == b->protocol && a->port == b->port &&
           memcmp(a->remote, b->remote, 16) == 0;
}

static uint64_t hash_of(const struct drop *d)
{
    return hash_seeded(d->remote, 16) ^ hash_string(d->uid) ^
           hash_u64((uint64_t)d->audit << 48 | (uint64_t)d->port << 32 | (uint64_t)d->engine << 24 |
                    (uint64_t)d->direction << 16 | (uint64_t)d->reason << 8 | d->protocol);
}

static struct drop *find(struct drops *d, const struct drop *key, uint64_t hash)
{
    struct hash_node *n = hashmap_first(&d->map, hash);

    for (; n; n = hashmap_next_same(n))
        if (same(hash_entry(n, struct drop, node), key))
            return hash_entry(n, struct drop, node);
    return NULL;
}

const struct drop *drops_add(struct drops *d, const struct enforce_deny *deny)
{
    struct drop key, *drop;
    uint64_t hash;

    fill(&key, deny);
    hash = hash_of(&key);
    drop = find(d, &key, hash);
    if (!drop) {
        /* A pod that scans addresses pushes out old entries, and takes no more memory. */
        if (d->map.count >= DROPS_MAX)
            remove_drop(d, list_entry(d->recent.prev, struct drop, link));
        drop = malloc(sizeof(*drop));
        if (!drop)
            return NULL;
        *drop = key;
        list_init(&drop->link);
        if (hashmap_add(&d->map, &drop->node, hash) < 0) {
            free(drop);
            return NULL;
        }
        drop->first = time(NULL);
    }
    drop->count++;
    drop->last = time(NULL);
    list_remove(&drop->link);
    list_prepend(&d->recent, &drop->link);
    return drop;
}
