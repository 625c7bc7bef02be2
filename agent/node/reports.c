/*
 * The node's own word that it serves the handler: pods are refused by kubelet until it has seen it,
 * and that is later than the runtime does. Nodes say so from Kubernetes 1.31 on, if their runtime
 * lists its handlers (containerd 2.0, CRI-O 1.31).
 */
#include "agent/node/install.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_AGAIN_US = 500000, SAYS_SINCE_MINOR = 31 };

static bool listed(const json_t *node, const char *handler, bool *ret_any)
{
    const json_t *list = json_object_get(json_object_get(node, "status"), "runtimeHandlers");
    bool found = false;
    const json_t *v;
    size_t i;

    *ret_any = json_array_size(list) > 0;
    json_array_foreach(list, i, v)
    {
        const char *name = json_string_value(json_object_get(v, "name"));

        found |= name && strcmp(name, handler) == 0;
    }
    return found;
}

static bool says_handlers(const json_t *node)
{
    const json_t *info = json_object_get(json_object_get(node, "status"), "nodeInfo");
    const char *version = json_string_value(json_object_get(info, "kubeletVersion"));
    int major, minor;

    return version && sscanf(version, "v%d.%d", &major, &minor) == 2 &&
           (major > 1 || minor >= SAYS_SINCE_MINOR);
}

/* 1: it reports the handler, or never will, 0: not yet. *ret_any: it reports others. */
static int look(struct install *in, bool *ret_any, struct error *err)
{
    json_t *node = NULL;
    int r = node_api_get(&in->api, &node, err);

    if (r == 0 && !says_handlers(node)) {
        log_info("node: it does not say which handlers it serves; the runtime's word is taken");
        r = 1;
    } else if (r == 0 && listed(node, in->o.handler, ret_any)) {
        log_info("node: it reports handler '%s'", in->o.handler);
        r = 1;
    }
    json_decref(node);
    return r;
}

int node_reports(struct install *in, struct error *err)
{
    uint64_t end = loop_now_ms() + in->o.wait_s * 1000;
    bool any = false;
    int r;

    if (!in->api.on || (r = runtime_lists_handler(in, err)) == 0)
        return 0;
    while (r >= 0 && (r = look(in, &any, err)) == 0 && loop_now_ms() < end)
        (void)usleep(LOOK_AGAIN_US);
    if (r == 0 && any)
        return error_set(err, -ETIMEDOUT, "the node does not report handler '%s' after %llu s",
                         in->o.handler, (unsigned long long)in->o.wait_s);
    if (r == 0)
        log_warn("node: it reports no handlers at all; the runtime's word is taken");
    return r < 0 ? r : 0;
}
