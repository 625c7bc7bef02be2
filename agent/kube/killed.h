#pragma once
/* Containers that the kernel killed for memory: an Event on their pod. */
#include "agent/kube/pods.h"

/* status: the pod's, as the API server has it now. What ended before the agent looked is no news.
 */
void killed_look(struct node_pods *n, struct node_pod *p, const json_t *status);
