/*
 * A node's sandboxed pods are evicted. What has ended stays in the runtime's list until kubelet
 * removes it, once a minute; with the pod's object gone nobody will ask for it any more, so it is
 * removed here.
 */
#include "agent/node/install.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>

struct found {
    const char *handler;
    json_t *sandboxes; /* [id, namespace, name, uid, ready] */
};

static int note_sandbox(void *ctx, const struct cri_sandbox *s)
{
    struct found *f = ctx;

    if (strcmp(s->handler, f->handler) == 0)
        (void)json_array_append_new(
            f->sandboxes, json_pack("[s, s, s, s, b]", s->id, s->ns, s->name, s->uid, s->ready));
    return 0;
}

static int find_sandboxes(struct install *in, struct found *f, struct error *err)
{
    struct cri_call call = {0};
    struct pb list;
    int r = cri_ask(&in->cri, &call, CRI_LIST_SANDBOXES, NULL, &list, err);

    if (r == 0 && (r = cri_each_sandbox(list, note_sandbox, f)) < 0)
        (void)error_errno(err, r, "CRI: list of sandboxes");
    cri_cancel(&call);
    return r;
}

static void remove_sandbox(struct install *in, const char *id, const char *ns, const char *name)
{
    struct error why = ERROR_INIT;
    struct cri_call call = {0};
    struct pb ignored;

    if (cri_ask(&in->cri, &call, CRI_REMOVE_SANDBOX, id, &ignored, &why) < 0)
        log_info("sandbox of %s/%s, which is gone, is not removed yet: %s", ns, name, why.msg);
    cri_cancel(&call);
}

static int see_off_one(struct install *in, json_t *sandbox, struct error *err)
{
    const char *id, *ns, *name, *uid;
    int ready, r;
    bool gone;

    if (json_unpack(sandbox, "[s, s, s, s, b]", &id, &ns, &name, &uid, &ready) < 0)
        return 0;
    r = node_api_evict(&in->api, ns, name, uid, &gone, err);
    if (r == -EAGAIN) {
        log_info("%s", err->msg);
        return 0;
    }
    if (r == 0 && gone && !ready)
        remove_sandbox(in, id, ns, name);
    return r;
}

int drain_round(struct install *in, struct error *err)
{
    struct found f = {in->o.handler, json_array()};
    int r = find_sandboxes(in, &f, err);
    json_t *v;
    size_t i;

    json_array_foreach(f.sandboxes, i, v) r = r < 0 ? r : see_off_one(in, v, err);
    json_decref(f.sandboxes);
    return r;
}
