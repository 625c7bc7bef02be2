#pragma once
/* The sentry's end of the broker (server.h). Thread-safe. Errors are negative errno as the guest
 * should see them; -EIO if the broker is gone. */
#include <stddef.h>
#include <sys/socket.h>

struct broker;

/* Takes over sock. NULL if out of memory (then sock is closed). It is never freed: it lives as long
 * as the sentry. */
struct broker *broker_new(int sock);
/* A raw or packet socket in the sandbox's network namespace, non-blocking and close-on-exec. */
int broker_socket(struct broker *b, int family, int type, int protocol);
/* setsockopt of such a socket. For SO_ATTACH_FILTER the value is the array of instructions. */
int broker_option(struct broker *b, int fd, int level, int name, const void *value, size_t size);
/* bind to a low port. */
int broker_bind(struct broker *b, int fd, const struct sockaddr *addr, socklen_t size);
