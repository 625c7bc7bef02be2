#include "agent/agent.h"

#include "policy/address.h"

#include <string.h>

void agent_pod_name(struct agent *a, const char *uid, char *ret, size_t size)
{
    const struct pod *p = uid ? runner_find_uid(&a->runner, uid) : NULL;

    *ret = 0;
    if (agent_in_cluster(a)) {
        const struct node_pod *k = uid ? node_pods_find(&a->kube.pods, uid) : NULL;

        if (k)
            text_format(ret, size, "%s/%s", k->ns, k->name);
        return;
    }
    if (p)
        text_format(ret, size, "%s/%s", p->ns, p->name);
}

void agent_peer_name(struct agent *a, const uint8_t addr[16], char *ret, size_t size)
{
    const struct pod_network *n = &a->runner.network;
    struct pod_address gateway;
    struct engine_pod pod;
    uint8_t own[2][16];

    *ret = 0;
    if (engine_find_address(a->netpolicy.engine, addr, &pod)) {
        text_format(ret, size, "%s/%s", pod.ns, pod.name);
        return;
    }
    if (agent_in_cluster(a))
        return;
    network_address(n, 1, &gateway);
    ip_address_mapped(&gateway.v4, own[0]);
    ip_address_mapped(&gateway.v6, own[1]);
    if (memcmp(addr, own[0], 16) == 0 || memcmp(addr, own[1], 16) == 0)
        text_format(ret, size, "node");
}
