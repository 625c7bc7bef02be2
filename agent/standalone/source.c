#include "agent/standalone/source.h"

#include "agent/config.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

/* An editor's save is several events; what comes within this time is one change. */
enum { SETTLE_MS = 30, FILES_MAX = 10000 };

static void scan(struct folder *f);

static bool is_manifest(const char *name)
{
    static const char *const suffixes[] = {".yaml", ".yml", ".json"};
    size_t n = strlen(name);

    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        size_t k = strlen(suffixes[i]);

        if (name[0] != '.' && n > k && strcmp(name + n - k, suffixes[i]) == 0)
            return true;
    }
    return false;
}

static struct manifest *find_file(struct folder *f, const char *name)
{
    struct manifest **bigger, *m;

    for (size_t i = 0; i < f->n_files; i++)
        if (strcmp(f->files[i]->name, name) == 0)
            return f->files[i];
    if (f->n_files == FILES_MAX)
        return NULL;
    bigger = realloc(f->files, (f->n_files + 1) * sizeof(struct manifest *));
    if (!bigger)
        return NULL;
    f->files = bigger;
    m = manifest_new(name);
    if (m)
        f->files[f->n_files++] = m;
    return m;
}

/* True if its objects may have changed. */
static bool look_at(struct folder *f, const char *name)
{
    struct manifest *m = find_file(f, name);
    struct stat st;

    if (!m || fstatat(f->dirfd, name, &st, 0) < 0)
        return false;
    m->present = true;
    if (m->inode == st.st_ino && m->size == st.st_size && m->mtime.tv_sec == st.st_mtim.tv_sec &&
        m->mtime.tv_nsec == st.st_mtim.tv_nsec)
        return false;
    m->inode = st.st_ino;
    m->size = st.st_size;
    m->mtime = st.st_mtim;
    f->loads++;
    if (manifest_load(m, f->dirfd, f->objects, f->config->manifest_max) < 0) {
        f->errors++;
        log_error("%s", m->error);
        if (!f->source.synced)
            manifest_recall(m, f->config->state_dir);
        return !f->source.synced;
    }
    manifest_remember(m, f->config->state_dir);
    return true;
}

static void drop_file(struct folder *f, size_t i)
{
    manifest_forget(f->files[i], f->config->state_dir);
    manifest_free(f->files[i]);
    f->files[i] = f->files[--f->n_files];
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct manifest *const *)a)->name, (*(struct manifest *const *)b)->name);
}

static const struct manifest *owner_of(const struct folder *f, enum object_kind kind,
                                       const char *ns, const char *name)
{
    for (size_t i = 0; i < f->n_files; i++)
        for (size_t k = 0; k < f->files[i]->n_objects; k++) {
            const struct manifest_object *o = &f->files[i]->objects[k];

            if (o->kind == kind && strcmp(o->ns, ns) == 0 && strcmp(o->name, name) == 0)
                return f->files[i];
        }
    return NULL;
}

struct gone {
    enum object_kind kind;
    char *ns, *name;
};

/* Objects that no file holds any more. Collected first: deleting changes the map. */
static void delete_gone(struct folder *f)
{
    struct gone *gone = calloc(f->objects->map.count + 1, sizeof(*gone));
    struct hash_node *node = NULL;
    size_t n = 0;

    while (gone && (node = hashmap_next(&f->objects->map, node))) {
        const struct object *o = hash_entry(node, struct object, node);

        if (o->kind == OBJECT_NODE || owner_of(f, o->kind, o->ns, o->name))
            continue;
        gone[n++] = (struct gone){o->kind, strdup(o->ns), strdup(o->name)};
    }
    /* Pods first: a policy goes after those that it holds back. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++)
            if (gone[i].ns && gone[i].name && (gone[i].kind == OBJECT_POD) == (pass == 0))
                (void)objects_delete(f->objects, gone[i].kind, gone[i].ns, gone[i].name);
    for (size_t i = 0; i < n; i++) {
        free(gone[i].ns);
        free(gone[i].name);
    }
    free(gone);
}

static void describe(const struct manifest *m, struct manifest_object *o, int r,
                     const struct schema_error *e)
{
    size_t line = o->problem_line ? o->problem_line : o->line;
    /* The engine names object and field by itself. */
    bool named = *e->path && strstr(e->err.msg, e->path);

    if (named)
        text_format(o->problem, sizeof(o->problem), "%s:%zu: %s%s", m->name, line, e->err.msg,
                    r > 0 ? " (its pods' traffic is denied)" : "");
    else
        text_format(o->problem, sizeof(o->problem), "%s:%zu: %s '%s': %s: %s%s", m->name, line,
                    object_kind_name(o->kind), o->name, e->path, e->err.msg,
                    r > 0 ? " (its pods' traffic is denied)" : "");
}

static void apply_object(struct folder *f, const struct manifest *m, struct manifest_object *o)
{
    struct schema_error e = {.err = ERROR_INIT};
    const struct manifest *owner = owner_of(f, o->kind, o->ns, o->name);
    char old[sizeof(o->problem)];
    const struct object *have = objects_get(f->objects, o->kind, o->ns, o->name);
    int r;

    if (!owner || (owner == m && have && json_equal(have->json, o->json)))
        return;
    memcpy(old, o->problem, sizeof(old));
    o->problem[0] = 0;
    if (owner != m)
        text_format(o->problem, sizeof(o->problem), "%s:%zu: %s '%s' is also in %s, which counts",
                    m->name, o->line, object_kind_name(o->kind), o->name, owner->name);
    else if ((r = objects_apply(f->objects, o->json, &e)) != 0)
        describe(m, o, r, &e);
    if (*o->problem && strcmp(old, o->problem) != 0) {
        f->errors++;
        log_error("%s", o->problem);
    }
}

static void apply_all(struct folder *f)
{
    qsort(f->files, f->n_files, sizeof(struct manifest *), by_name);
    for (int kind = 0; kind < OBJECT_KIND_MAX; kind++)
        for (size_t i = 0; i < f->n_files; i++)
            for (size_t k = 0; k < f->files[i]->n_objects; k++)
                if (f->files[i]->objects[k].kind == (enum object_kind)kind)
                    apply_object(f, f->files[i], &f->files[i]->objects[k]);
    delete_gone(f);
}

static bool read_folder(struct folder *f)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    bool changed = false;
    struct dirent *d;
    int fd = openat(f->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        log_error("read folder '%s': %m", f->config->standalone);
        close_fd(&fd);
        return false;
    }
    for (size_t i = 0; i < f->n_files; i++)
        f->files[i]->present = false;
    while ((d = readdir(dir)))
        if (is_manifest(d->d_name))
            changed |= look_at(f, d->d_name);
    for (size_t i = f->n_files; i-- > 0;)
        if (!f->files[i]->present) {
            drop_file(f, i);
            changed = true;
        }
    return changed;
}

static void scan(struct folder *f)
{
    bool first = !f->source.synced;

    if (!read_folder(f) && !first)
        return;
    apply_all(f);
    f->source.synced = true;
    f->changed(f->ctx, first);
}

static void on_rescan(void *ctx)
{
    scan(ctx);
}

static void on_inotify(void *ctx, uint32_t events)
{
    struct folder *f = ctx;
    char buf[4096] __attribute__((aligned(8)));

    (void)events;
    while (read(f->inotify_fd, buf, sizeof(buf)) > 0)
        continue;
    /* Also for a flood of events: one scan in SETTLE_MS, none put off for ever. */
    if (!f->rescan.link.next || list_empty(&f->rescan.link))
        loop_timer_set(f->loop, &f->rescan, SETTLE_MS, on_rescan, f);
}

static int start(struct object_source *s, struct error *err)
{
    static const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                 IN_CREATE | IN_ATTRIB | IN_ONLYDIR;
    struct folder *f = (struct folder *)s;
    char path[PATH_MAX];
    int r;

    (void)snprintf(path, sizeof(path), "%s/manifests", f->config->state_dir);
    r = mkdir_parents(path, 0700);
    if (r < 0)
        return error_errno(err, r, "create '%s'", path);
    f->dirfd = open(f->config->standalone, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dirfd < 0)
        return error_errno(err, -errno, "open folder '%s'", f->config->standalone);
    f->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (f->inotify_fd < 0 || inotify_add_watch(f->inotify_fd, f->config->standalone, mask) < 0)
        return error_errno(err, -errno, "watch folder '%s'", f->config->standalone);
    r = loop_fd_add(f->loop, &f->inotify, f->inotify_fd, EPOLLIN, on_inotify, f);
    if (r < 0)
        return error_errno(err, r, "watch folder '%s'", f->config->standalone);
    scan(f);
    return 0;
}

static void stop(struct object_source *s)
{
    struct folder *f = (struct folder *)s;

    loop_fd_remove(&f->inotify);
    loop_timer_cancel(&f->rescan);
    close_fd(&f->inotify_fd);
    close_fd(&f->dirfd);
}

void folder_init(struct folder *f, struct loop *l, const struct config *c, struct objects *o,
                 void (*changed)(void *ctx, bool first), void *ctx)
{
    *f = (struct folder){.source = {.name = "folder", .start = start, .stop = stop},
                         .loop = l,
                         .config = c,
                         .objects = o,
                         .dirfd = -1,
                         .inotify_fd = -1,
                         .changed = changed,
                         .ctx = ctx};
}

void folder_fini(struct folder *f)
{
    stop(&f->source);
    for (size_t i = 0; i < f->n_files; i++)
        manifest_free(f->files[i]);
    free(f->files);
}

void folder_each_error(const struct folder *f, void (*fn)(void *ctx, const char *error), void *ctx)
{
    for (size_t i = 0; i < f->n_files; i++) {
        const struct manifest *m = f->files[i];

        if (*m->error)
            fn(ctx, m->error);
        for (size_t k = 0; k < m->n_objects; k++)
            if (*m->objects[k].problem)
                fn(ctx, m->objects[k].problem);
    }
}
