#include "agent/kube/killed.h"

#include "agent/agent.h"
#include "agent/json.h"
#include "agent/schema.h"

#include <string.h>

/* Of one container, if it is so: when. Times of the API server are all of one form, so they compare
 * as texts. */
static const char *killed_for_memory(const json_t *status, const char *since)
{
    static const char *const states[] = {"state", "lastState"};

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        const json_t *end = json_object_get(json_object_get(status, states[i]), "terminated");
        const char *at = get_string(end, "finishedAt", "");

        if (strcmp(get_string(end, "reason", ""), "OOMKilled") == 0 && strcmp(at, since) > 0)
            return at;
    }
    return NULL;
}

void killed_look(struct node_pods *n, struct node_pod *p, const json_t *status)
{
    static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
    char latest[sizeof(p->killed)];
    json_t *c;
    size_t k;

    memcpy(latest, p->killed, sizeof(latest));
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        json_array_foreach(json_object_get(status, lists[i]), k, c)
        {
            const char *at = killed_for_memory(c, p->killed);

            if (!at)
                continue;
            if (strcmp(at, latest) > 0)
                text_format(latest, sizeof(latest), "%s", at);
            if (strcmp(at, n->since) > 0)
                events_tell(&n->agent->events, EVENT_MEMORY,
                            &(struct event_object){"Pod", p->ns, p->name, p->uid},
                            "container %.64s was killed for want of memory; its limit is %.32s",
                            get_string(c, "name", ""),
                            get_string(get(c, "resources.limits"), "memory", "the node's"));
        }
    memcpy(p->killed, latest, sizeof(latest));
}
