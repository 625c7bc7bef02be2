#include "common/log.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct log_config g_config = {.fd = 2, .level = LOG_INFO};

static const char *const level_names[LOG_LEVEL_MAX] = {"debug", "info", "warning", "error"};

void log_setup(const struct log_config *config)
{
    g_config = *config;
}

int log_level_parse(const char *s, enum log_level *ret_level)
{
    if (strcmp(s, "warn") == 0)
        s = "warning";
    for (int i = 0; i < LOG_LEVEL_MAX; i++)
        if (strcmp(s, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    return -EINVAL;
}

/* Escapes s as the inside of a JSON string; truncates whole characters only. */
static size_t json_escape(char *out, size_t size, const char *s)
{
    size_t n = 0;

    for (; *s && n + 7 < size; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = 0;
    return n;
}

static void timestamp(char *out, size_t size)
{
    struct timespec ts;
    struct tm tm;
    size_t n;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, size - n, ".%09ldZ", ts.tv_nsec);
}

/* JSON: ,"key":"value"; text: "key value ". */
static void put_fields(char *out, size_t size, const struct log_field *fields, bool json)
{
    char escaped[512];
    size_t n = 0;

    out[0] = 0;
    for (; fields && fields->key; fields++) {
        if (!fields->value || !*fields->value || n >= size)
            continue;
        (void)json_escape(escaped, sizeof(escaped), fields->value);
        n += (size_t)snprintf(out + n, size - n, json ? ",\"%s\":\"%s\"" : "%s %s: ", fields->key,
                              json ? escaped : fields->value);
    }
}

__attribute__((format(printf, 3, 0))) static void
write_line(enum log_level level, const struct log_field *fields, const char *fmt, va_list ap)
{
    char msg[1024], escaped[2048], line[3600], now[64], more[1200];
    int n;

    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    timestamp(now, sizeof(now));
    put_fields(more, sizeof(more), fields, g_config.json);
    if (g_config.json) {
        (void)json_escape(escaped, sizeof(escaped), msg);
        n = snprintf(line, sizeof(line), "{\"level\":\"%s\",\"msg\":\"%s\"%s,\"time\":\"%s\"}\n",
                     level_names[level], escaped, more, now);
    } else {
        n = snprintf(line, sizeof(line), "%s %-7s %s%s%s%s\n", now, level_names[level],
                     g_config.tag ? g_config.tag : "", g_config.tag ? ": " : "", more, msg);
    }
    if (n > 0)
        (void)!write(g_config.fd, line, MIN((size_t)n, sizeof(line) - 1));
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list ap;

    if (level < g_config.level || g_config.fd < 0)
        return;
    va_start(ap, fmt);
    write_line(level, NULL, fmt, ap);
    va_end(ap);
}

void log_fields(enum log_level level, const struct log_field *fields, const char *fmt, ...)
{
    va_list ap;

    if (level < g_config.level || g_config.fd < 0)
        return;
    va_start(ap, fmt);
    write_line(level, fields, fmt, ap);
    va_end(ap);
}
