#include "agent/ctl/ctl.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int connect_agent(const struct ctl *ctl, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(ctl->socket) >= sizeof(addr.sun_path))
        return error_errno(err, -ENAMETOOLONG, "'%s'", ctl->socket);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", ctl->socket);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "no agent answers at '%s' (is bermd running?)",
                           ctl->socket);
    return TAKE_FD(fd);
}

static int read_line(int fd, struct buf *line, struct error *err)
{
    char c;

    for (;;) {
        ssize_t n = read(fd, &c, 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_errno(err, n < 0 ? -errno : -EPIPE, "the agent closed the connection");
        if (c == '\n')
            return 0;
        if (buf_append(line, &c, 1) < 0)
            return error_errno(err, -ENOMEM, "answer");
    }
}

int ctl_request(const struct ctl *ctl, json_t *request, json_t **ret, int *ret_fd,
                struct error *err)
{
    CLEANUP(close_fd) int fd = connect_agent(ctl, err);
    CLEANUP(free_ptr) char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    CLEANUP(buf_fini) struct buf line = BUF_INIT;
    int r = fd;

    json_decref(request);
    if (r >= 0)
        r = text ? write_full(fd, text, strlen(text)) : -ENOMEM;
    if (r == 0)
        r = write_full(fd, "\n", 1);
    if (r < 0)
        return *err->msg ? r : error_errno(err, r, "ask the agent");
    r = read_line(fd, &line, err);
    if (r < 0)
        return r;
    *ret = json_loadb(line.data, line.size, 0, NULL);
    if (!json_is_true(json_object_get(*ret, "ok"))) {
        r = error_set(err, -EIO, "%s", ctl_string(*ret, "error"));
        json_decref(*ret);
        *ret = NULL;
        return r;
    }
    if (ret_fd)
        *ret_fd = TAKE_FD(fd);
    return 0;
}

int ctl_fail(const struct error *err)
{
    (void)fprintf(stderr, "bermctl: %s\n", err->msg);
    return 1;
}

int ctl_usage(const char *text)
{
    (void)fprintf(stderr, "bermctl: %s\n", text);
    return 2;
}

void ctl_print_json(const json_t *json)
{
    (void)json_dumpf(json, stdout, JSON_COMPACT);
    (void)putchar('\n');
    (void)fflush(stdout);
}

const char *ctl_string(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

long long ctl_int(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

int ctl_find_pod(const struct ctl *ctl, const char *name, json_t **ret_all, json_t **ret,
                 struct error *err)
{
    const char *slash = strchr(name, '/');
    size_t i, n = slash ? (size_t)(slash - name) : strlen("default");
    const char *ns = slash ? name : "default";
    json_t *p;
    int r = ctl_request(ctl, json_pack("{s:s}", "request", "pods"), ret_all, NULL, err);

    if (r < 0)
        return r;
    json_array_foreach(json_object_get(*ret_all, "pods"), i,
                       p) if (strncmp(ctl_string(p, "namespace"), ns, n) == 0 &&
                              !ctl_string(p, "namespace")[n] &&
                              strcmp(ctl_string(p, "name"), slash ? slash + 1 : name) == 0)
    {
        *ret = p;
        return 0;
    }
    json_decref(*ret_all);
    *ret_all = NULL;
    return error_set(err, -ENOENT, "there is no pod '%s'", name);
}

void table_row(struct table *t, size_t columns, ...)
{
    va_list ap;

    if (t->rows == ARRAY_SIZE(t->cells))
        return;
    t->columns = columns;
    va_start(ap, columns);
    for (size_t i = 0; i < columns; i++)
        t->cells[t->rows][i] = strdup(va_arg(ap, const char *));
    va_end(ap);
    t->rows++;
}

void table_print(struct table *t)
{
    size_t width[ARRAY_SIZE(t->cells[0])] = {0};

    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->columns; c++)
            width[c] = MAX(width[c], strlen(t->cells[r][c] ? t->cells[r][c] : ""));
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->columns; c++) {
            const char *cell = t->cells[r][c] ? t->cells[r][c] : "";

            if (c + 1 == t->columns)
                printf("%s\n", cell);
            else
                printf("%-*s  ", (int)width[c], cell);
            free(t->cells[r][c]);
        }
    free(t);
}
