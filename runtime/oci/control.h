#pragma once
/* The runtime's end of a sentry's control socket (runtime/sentry/boot.h). The sentry's answers are
 * not trusted. */
#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

/* CALL: for what the sentry has to work for (an image is loaded). ASK: for what it knows, and for
 * signals. */
enum { CONTROL_CALL_MS = 20000, CONTROL_ASK_MS = 500 };

/* A listening socket ROOT/ID/control.sock. Descriptor or -errno. */
int control_listen(int dirfd, struct error *err);
/* Connects to it. dirfd: ROOT/SANDBOX. -ECONNREFUSED, -ENOENT if there is no sentry. */
int control_connect(int dirfd, struct error *err);
/* Sends a request (taken over) with descriptors. */
int control_send(int sock, json_t *request, const int *fds, unsigned n_fds, struct error *err);
/* Receives one answer: 0 and the object (owned), or the sentry's own error and text, or -EPIPE if
 * the sentry is gone. */
int control_receive(int sock, json_t **ret, struct error *err);
/* Both, within CONTROL_CALL_MS: a sentry that is stopped or stuck must not hold up its own removal.
 * -ETIMEDOUT then. ret may be NULL. */
int control_call(int sock, json_t *request, const int *fds, unsigned n_fds, json_t **ret,
                 struct error *err);
/* The same within timeout_ms. */
int control_call_within(int sock, json_t *request, const int *fds, unsigned n_fds, int timeout_ms,
                        json_t **ret, struct error *err);
/* Interprets one answer as text. */
int control_parse(const char *text, size_t size, json_t **ret, struct error *err);
