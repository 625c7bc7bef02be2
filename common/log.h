#pragma once
/*
 * Leveled logging to one descriptor: text, or one JSON object a line (keys time, level, msg).
 * Nothing here takes a lock or allocates: what a signal handler has to say about a broken process
 * goes out by the same functions.
 */
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_MAX };

struct log_config {
    int fd;    /* -1: drop everything */
    bool json; /* runc's log format: {"level":..,"msg":..,"time":RFC3339} */
    enum log_level level;
    const char *tag; /* component, e.g. "bermd", or a container id; may be NULL; not copied */
};

/* Replaces the process's configuration (default: stderr, text, info). Not thread-safe: call early.
 */
void log_setup(const struct log_config *config);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As log_write, with strings beside the message: in JSON under their keys, in text before it. */
struct log_field {
    const char *key, *value; /* key NULL ends the list; a value that is NULL or "" is left out */
};
void log_fields(enum log_level level, const struct log_field *fields, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* RFC 3339 with nanoseconds, in UTC; not before 1970. */
void log_timestamp(const struct timespec *ts, char *out, size_t size);
/* Parses "debug|info|warn|error"; -EINVAL otherwise. */
int log_level_parse(const char *s, enum log_level *ret_level);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
