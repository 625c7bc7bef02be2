/* Network namespaces: reference counting. See netns.h for what they can do. */
#include "runtime/sentry/net/netns.h"

#include "runtime/sentry/task/cred.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_INO = 0x7000, PORT_START = 1024 };

struct netns *netns_new(bool isolated)
{
    static uint64_t next_ino = 0xf0000000 + FIRST_INO;
    struct netns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    ref_init(&ns->ref);
    ns->ino = __atomic_fetch_add(&next_ino, 1, __ATOMIC_RELAXED);
    ns->isolated = isolated;
    list_init(&ns->sockets);
    ns->unprivileged_port_start = PORT_START;
    return ns;
}

struct netns *netns_get(struct netns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void netns_put(struct netns *ns)
{
    if (!ns || !ref_put(&ns->ref))
        return;
    /* Every socket holds a reference, so none is left. */
    assert(list_empty(&ns->sockets) && !ns->abstract.count);
    hashmap_fini(&ns->abstract);
    if (ns->userns)
        userns_put(ns->userns);
    free(ns);
}
