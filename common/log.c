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

/* The day that many days after 1970-01-01, in the Gregorian calendar. gmtime_r() takes a lock and
 * allocates when it is first called: not in a signal handler that reports a broken heap. */
static void civil_date(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = 1970, month = 0;

    for (;; year++) {
        int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        int64_t of_year = 365 + leap;

        if (days >= of_year) {
            days -= of_year;
            continue;
        }
        while (days >= lengths[month] + (month == 1 && leap)) {
            days -= lengths[month] + (month == 1 && leap);
            month++;
        }
        break;
    }
    *ret_year = year;
    *ret_month = month + 1;
    *ret_day = (int)days + 1;
}

void log_timestamp(const struct timespec *ts, char *out, size_t size)
{
    enum { DAY = 24 * 60 * 60 };
    int year, month, day, second = (int)(ts->tv_sec % DAY);

    civil_date(ts->tv_sec / DAY, &year, &month, &day);
    (void)snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", year, month, day,
                   second / 3600, second / 60 % 60, second % 60, ts->tv_nsec);
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
    struct timespec ts;
    int n;

    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    log_timestamp(&ts, now, sizeof(now));
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
