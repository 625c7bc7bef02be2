#include "agent/services/internal.h"
#include "policy/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct service *service_find(const struct services *s, const char *ns, const char *name)
{
    for (struct hash_node *n = hashmap_first(&s->services, service_hash_key(ns, name)); n;
         n = hashmap_next_same(n)) {
        struct service *v = hash_entry(n, struct service, node);

        if (strcmp(v->text, ns) == 0 && strcmp(v->name, name) == 0)
            return v;
    }
    return NULL;
}

struct service *service_get(struct services *s, const char *ns, const char *name)
{
    struct service *v = service_find(s, ns, name);
    size_t a = strlen(ns) + 1, b = strlen(name) + 1;

    if (v)
        return v;
    v = calloc(1, sizeof(*v) + a + b);
    if (!v)
        return NULL;
    memcpy(v->text, ns, a);
    v->name = memcpy(v->text + a, name, b);
    list_init(&v->slices);
    if (hashmap_add(&s->services, &v->node, service_hash_key(ns, name)) == 0)
        return v;
    free(v);
    return NULL;
}

static void service_clear(struct services *s, struct service *v)
{
    for (size_t i = 0; i < v->n_fronts; i++) {
        (void)hashmap_remove(&s->fronts, &v->fronts[i].node);
        port_name_put(s, v->fronts[i].name);
    }
    free_ptr(&v->fronts);
    v->n_fronts = 0;
}

void service_drop_unused(struct services *s, struct service *v)
{
    if (v->known || !list_empty(&v->slices))
        return;
    service_clear(s, v);
    (void)hashmap_remove(&s->services, &v->node);
    free(v);
}

int services_apply(struct services *s, const json_t *object, struct error *err)
{
    struct fronts f = {0};
    const char *ns, *name;
    struct service *v;
    int r = service_read_meta(object, &ns, &name, err);

    if (r < 0)
        return r;
    r = fronts_read(s, object, &f, err);
    v = r < 0 ? NULL : service_get(s, ns, name);
    if (!v) {
        fronts_drop(s, &f);
        return r < 0 ? error_wrap(err, "Service %.60s/%.100s", ns, name)
                     : error_errno(err, -ENOMEM, "service");
    }
    v->known = true;
    if (fronts_same(v, &f)) {
        fronts_drop(s, &f);
        return 0;
    }
    service_clear(s, v);
    v->fronts = f.at;
    v->n_fronts = f.n;
    for (size_t i = 0; i < f.n; i++) {
        struct service_front *front = &f.at[i];

        front->service = v;
        /* Growing may fail, adding does not: the map then has long chains. */
        (void)hashmap_add(&s->fronts, &front->node,
                          service_hash_front(front->addr, front->protocol, front->port));
    }
    services_changed(s);
    return 0;
}

void services_remove(struct services *s, const char *ns, const char *name)
{
    struct service *v = service_find(s, ns, name);

    if (!v || !v->known)
        return;
    v->known = false;
    service_clear(s, v);
    service_drop_unused(s, v);
    services_changed(s);
}
