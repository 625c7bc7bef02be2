#pragma once
/* One container's life: prepare (worker), run (monitor), clean (worker), and again. */
#include "agent/standalone/pod.h"

/* Called by container.c when something happened that the pod decides about. */
struct container_events {
    void (*running)(struct container *c);
    void (*ended)(struct container *c); /* cleaned; exit_code, reason, message are set */
};

void container_init(struct container *c, struct pod *p, const json_t *spec,
                    const struct container_events *events);
void container_fini(struct container *c); /* forgets processes, kills none */
/* From WAITING or BACKOFF. Errors come by events->ended. */
void container_start(struct container *c);
/* Starts it again after delay_ms, as the next attempt. */
void container_start_later(struct container *c, uint64_t delay_ms);
/* Asks it to end (SIGTERM), or ends what is not running; events->ended follows unless it ended
 * already. */
void container_stop(struct container *c);
void container_kill(struct container *c);
/* As a last resort: the monitor, then whatever its runtime can delete by force. */
void container_kill_monitor(struct container *c);
/* Takes over what is on disk for the last attempt. */
void container_adopt(struct container *c);
