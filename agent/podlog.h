#pragma once
/* Log lines about one pod: keys "pod" (namespace/name) and "uid" in JSON. */
#include "common/log.h"

#include <stdio.h>

#define log_pod(level, ns, name, pod_uid, ...)                                                     \
    do {                                                                                           \
        char log_pod_[330];                                                                        \
        (void)snprintf(log_pod_, sizeof(log_pod_), "%s/%s", ns, name);                             \
        log_fields(level, (const struct log_field[]){{"pod", log_pod_}, {"uid", pod_uid}, {0}},    \
                   __VA_ARGS__);                                                                   \
    } while (0)
