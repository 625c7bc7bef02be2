#include "agent/standalone/manifest.h"

#include "agent/standalone/podspec.h"
#include "common/fdio.h"
#include "common/log.h"
#include "common/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

enum { CACHE_MAX = 64 << 20 };

struct manifest *manifest_new(const char *name)
{
    struct manifest *m = calloc(1, sizeof(*m));

    if (m && !(m->name = strdup(name))) {
        free(m);
        return NULL;
    }
    return m;
}

static void free_objects(struct manifest_object *objects, size_t n)
{
    for (size_t i = 0; i < n; i++)
        json_decref(objects[i].json);
    free(objects);
}

void manifest_free(struct manifest *m)
{
    if (!m)
        return;
    free_objects(m->objects, m->n_objects);
    free(m->name);
    free(m);
}

static void replace_objects(struct manifest *m, struct manifest_object *objects, size_t n)
{
    free_objects(m->objects, m->n_objects);
    m->objects = objects;
    m->n_objects = n;
}

/* A regular file of bounded size; a FIFO must not stop the loop. */
static int read_file(struct manifest *m, int dirfd, size_t max, char **ret, size_t *ret_size,
                     struct error *err)
{
    CLEANUP(close_fd) int fd = openat(dirfd, m->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP(free_ptr) char *text = NULL;
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, -errno, "open");
    if (!S_ISREG(st.st_mode))
        return error_set(err, -EINVAL, "is no regular file");
    if ((uint64_t)st.st_size > max)
        return error_set(err, -EFBIG, "has %lld bytes, more than the limit of %zu",
                         (long long)st.st_size, max);
    text = malloc((size_t)st.st_size + 1);
    if (!text)
        return error_errno(err, -ENOMEM, "read");
    n = read_full(fd, text, (size_t)st.st_size);
    if (n < 0)
        return error_errno(err, (int)n, "read");
    text[n] = 0;
    *ret_size = (size_t)n;
    *ret = TAKE_PTR(text);
    return 0;
}

static int check_object(const struct objects *checks, struct manifest_object *o,
                        struct schema_error *e)
{
    int r = object_identify(o->json, &o->kind, &o->ns, &o->name, e);

    if (r < 0)
        return r;
    if (o->kind == OBJECT_NODE)
        return schema_fail(e, -EINVAL, "kind", "a Node is not taken from a manifest");
    return checks->sink[o->kind].check ? checks->sink[o->kind].check(o->json, e) : 0;
}

static int check_unique(const struct manifest_object *objects, size_t n, struct schema_error *e)
{
    const struct manifest_object *o = &objects[n];

    for (size_t i = 0; i < n; i++)
        if (objects[i].kind == o->kind && strcmp(objects[i].ns, o->ns) == 0 &&
            strcmp(objects[i].name, o->name) == 0)
            return schema_fail(e, -EEXIST, "metadata.name", "%s '%s' is also at line %zu",
                               object_kind_name(o->kind), o->name, objects[i].line);
    return 0;
}

static int check_docs(struct manifest *m, const struct objects *checks, struct yaml_doc *docs,
                      size_t n)
{
    struct manifest_object *objects = calloc(n ? n : 1, sizeof(*objects));

    if (!objects)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct schema_error e = {.err = ERROR_INIT};
        int r;

        objects[i].json = json_incref(docs[i].root);
        objects[i].line = docs[i].line;
        r = check_object(checks, &objects[i], &e);
        if (r > 0)
            objects[i].problem_line = yaml_doc_line(&docs[i], e.path);
        if (r >= 0)
            r = check_unique(objects, i, &e);
        if (r < 0) {
            text_format(m->error, sizeof(m->error), "%s:%zu: %s%s%s", m->name,
                        yaml_doc_line(&docs[i], e.path), e.path, *e.path ? ": " : "", e.err.msg);
            free_objects(objects, i + 1);
            return r;
        }
    }
    replace_objects(m, objects, n);
    return 0;
}

int manifest_load(struct manifest *m, int dirfd, const struct objects *checks, size_t max)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct error err = ERROR_INIT;
    struct yaml_doc *docs = NULL;
    size_t size = 0, n = 0;
    int r = read_file(m, dirfd, max, &text, &size, &err);

    m->error[0] = 0;
    if (r < 0) {
        text_format(m->error, sizeof(m->error), "%s: %s", m->name, err.msg);
        return r;
    }
    r = yaml_load_all(text, size, m->name, &docs, &n, &err);
    if (r < 0) {
        text_format(m->error, sizeof(m->error), "%s", err.msg);
        return r;
    }
    r = check_docs(m, checks, docs, n);
    yaml_docs_free(docs, n);
    return r;
}

static void cache_path(const struct manifest *m, const char *state_dir, char *ret, size_t size)
{
    (void)snprintf(ret, size, "%s/manifests/%016llx.json", state_dir,
                   (unsigned long long)hash_bytes(m->name, strlen(m->name)));
}

void manifest_remember(const struct manifest *m, const char *state_dir)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_t *all = json_array(), *file;
    char path[PATH_MAX];
    struct error err = ERROR_INIT;

    for (size_t i = 0; i < m->n_objects; i++)
        (void)json_array_append(all, m->objects[i].json);
    file = json_pack("{s:s, s:o}", "name", m->name, "objects", all);
    text = file ? json_dumps(file, 0) : NULL;
    json_decref(file);
    cache_path(m, state_dir, path, sizeof(path));
    if (text && file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err) < 0)
        log_warn("%s", err.msg);
}

void manifest_forget(const struct manifest *m, const char *state_dir)
{
    char path[PATH_MAX];

    cache_path(m, state_dir, path, sizeof(path));
    (void)unlink(path);
}

void manifest_recall(struct manifest *m, const char *state_dir)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct manifest_object *objects;
    struct schema_error e = {.err = ERROR_INIT};
    char path[PATH_MAX];
    json_t *file, *v;
    size_t i, n = 0;

    cache_path(m, state_dir, path, sizeof(path));
    if (file_read_all(AT_FDCWD, path, CACHE_MAX, &text, NULL, NULL) < 0)
        return;
    file = json_loads(text, 0, NULL);
    objects = calloc(json_array_size(get(file, "objects")) + 1, sizeof(*objects));
    if (objects && strcmp(get_string(file, "name", ""), m->name) == 0)
        json_array_foreach(get(file, "objects"), i, v)
        {
            struct manifest_object *o = &objects[n];

            if (object_identify(v, &o->kind, &o->ns, &o->name, &e) < 0)
                continue;
            o->json = json_incref(v);
            n++;
        }
    json_decref(file);
    log_info("%s: %zu objects of its last good version stay in force", m->name, n);
    if (objects)
        replace_objects(m, objects, n);
}
