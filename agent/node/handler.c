/*
 * The handler in the runtime's configuration: a candidate is made, judged by the runtime's own
 * program (nothing but our handler may differ in its dump), and only then put in place.
 *
 * Before containerd 2.0 a file that is imported replaces whole sections, so a drop-in is used only
 * from 2.0 on, and only where the configuration in force imports a folder already.
 */
#include "agent/node/install.h"
#include "agent/node/toml.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CHECK_TIMEOUT_S = 30, MERGES_SINCE = 2 };

/* -- text ----------------------------------------------------------------------------------------
 */

/* The table of CRI, by version of the configuration. */
static const char *cri_table(int version)
{
    switch (version) {
    case 1:
        return "plugins.cri";
    case 2:
        return "plugins.\"io.containerd.grpc.v1.cri\"";
    case 3:
    case 4:
        return "plugins.'io.containerd.cri.v1.runtime'";
    default:
        return NULL;
    }
}

static int crio_block(const struct install *in, struct buf *ret)
{
    return buf_printf(ret,
                      "[crio.runtime.runtimes.%s]\n"
                      "runtime_path = \"%s/bin/berm\"\n"
                      "runtime_type = \"oci\"\n"
                      "runtime_root = \"%s\"\n"
                      "allowed_annotations = [\"dev.berm.\"]\n",
                      in->o.handler, in->o.prefix, in->o.root);
}

static int containerd_block(const struct install *in, int version, bool systemd, struct buf *ret)
{
    const char *cri = cri_table(version), *name = in->o.handler;

    return buf_printf(ret,
                      "[%s.containerd.runtimes.%s]\n"
                      "  runtime_type = \"io.containerd.runc.v2\"\n"
                      "  pod_annotations = [\"dev.berm.*\"]\n"
                      "  [%s.containerd.runtimes.%s.options]\n"
                      "    BinaryName = \"%s/bin/berm\"\n"
                      "    Root = \"%s\"\n"
                      "    SystemdCgroup = %s\n",
                      cri, name, cri, name, in->o.prefix, in->o.root, systemd ? "true" : "false");
}

/* -- what the runtime's program makes of it
 * --------------------------------------------------------- */

static int dump(struct install *in, const char *config, struct buf *ret, struct error *err)
{
    const char *argv[] = {in->binary, "--config", config, "config", "dump", NULL};
    int status, r;

    ret->size = 0;
    r = host_run(argv, CHECK_TIMEOUT_S, ret, &status, err);
    if (r == 0 && status != 0) {
        /* Its last words are the reason. */
        const char *text = ret->data;

        if (ret->size > 400)
            text += ret->size - 400;
        return error_set(err, -EINVAL, "%s refuses it: %s", in->binary, text);
    }
    return r;
}

/* A path in our own folder, which is emptied when an installer begins and when it ends. */
static void scratch(const struct install *in, const char *name, char out[PATH_MAX])
{
    text_format(out, PATH_MAX, "%s/install/scratch", in->o.state_dir);
    (void)mkdir(out, 0700);
    text_format(out, PATH_MAX, "%s/install/scratch/%s", in->o.state_dir, name);
}

/* A file for the runtime's program to look at. */
static int dump_text(struct install *in, const char *text, const char *name, struct buf *ret,
                     struct error *err)
{
    char path[PATH_MAX];
    int r;

    scratch(in, name, path);
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
    if (r == 0)
        r = dump(in, path, ret, err);
    (void)unlink(path);
    return r;
}

struct candidate {
    char *before, *target_text /* what is there now; NULL: no file */;
    struct buf base, dump, block, text;
    int version;
    bool drop_in;
};

static void candidate_fini(struct candidate *c)
{
    free(c->before);
    free(c->target_text);
    buf_fini(&c->base);
    buf_fini(&c->dump);
    buf_fini(&c->block);
    buf_fini(&c->text);
}

static bool has(const json_t *list, const char *name)
{
    json_t *v;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i,
                       v) if (strcmp(json_string_value(v), name) == 0) return true;
    return false;
}

/* A file that sets one handler loses those of the default (before 2.0): they are written out. */
static int keep_lost(struct candidate *c, struct error *err)
{
    json_t *before = toml_handlers(c->base.data), *after = toml_handlers(c->dump.data), *v;
    size_t i;
    int lost = 0, r = 0;

    json_array_foreach(before, i, v)
    {
        const char *name = json_string_value(v);

        if (has(after, name) || r < 0)
            continue;
        r = toml_handler_text(c->base.data, name, &c->block);
        lost++;
    }
    json_decref(before);
    json_decref(after);
    return r < 0 ? error_errno(err, r, "candidate") : lost;
}

/* All but our handler must be as it was. */
static int compare(const struct install *in, const struct candidate *c, struct error *err)
{
    CLEANUP(buf_fini) struct buf a = BUF_INIT, b = BUF_INIT;
    char have[PATH_MAX] = "", want[PATH_MAX];
    const char *p, *q;

    if (toml_without_handler(c->base.data, in->o.handler, &a) < 0 ||
        toml_without_handler(c->dump.data, in->o.handler, &b) < 0)
        return error_errno(err, -ENOMEM, "candidate");
    text_format(want, sizeof(want), "%s/bin/berm", in->o.prefix);
    if (!toml_handler_value(c->dump.data, in->o.handler, "BinaryName", have, sizeof(have)) ||
        strcmp(have, want) != 0)
        return error_set(err, -EINVAL, "the candidate does not end up with handler '%s'",
                         in->o.handler);
    p = a.data ? a.data : "";
    q = b.data ? b.data : "";
    while (*p && *p == *q) {
        p++;
        q++;
    }
    if (*p == *q)
        return 0;
    while (p > a.data && p[-1] != '\n') {
        p--;
        q--;
    }
    return error_set(
        err, -EINVAL, "the candidate would change more than its handler: '%.*s' became '%.*s'",
        (int)MIN(strcspn(p, "\n"), (size_t)100), p, (int)MIN(strcspn(q, "\n"), (size_t)100), q);
}

/* A folder that the configuration imports: from 2.0 on what is there is merged. The file itself is
 * asked: 2.2's dump shows a default import that a node without a file, or with one that says
 * nothing of imports, does not get. */
static bool find_drop_ins(const struct install *in, const struct candidate *c, char *ret)
{
    json_t *list = toml_imports(c->before), *v;
    bool found = false;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *glob = json_string_value(v), *star = strstr(glob, "/*.toml");

        if (in->major < MERGES_SINCE || !star || glob[0] != '/' || strcmp(star, "/*.toml") != 0)
            continue;
        text_format(ret, PATH_MAX, "%.*s/berm.toml", (int)(star - glob), glob);
        found = true;
    }
    json_decref(list);
    return found;
}

static int read_before(struct install *in, struct candidate *c, struct error *err)
{
    CLEANUP(free_ptr) char *now = NULL;
    CLEANUP(buf_fini) struct buf bare = BUF_INIT;
    char text[32];
    bool created;
    int r = host_read(in->config, &now, err);

    if (r < 0)
        return r;
    c->version = now ? toml_version(now) : 0;
    if (!c->version)
        c->version = now ? 1 : in->major >= 2 ? 3 : 2;
    if (!cri_table(c->version))
        return error_set(err, -EOPNOTSUPP, "'%s' has version %d, which is not known here",
                         in->config, c->version);
    text_format(text, sizeof(text), "version = %d\n", c->version);
    if (toml_block_remove(now ? now : text, &bare, &created) < 0 ||
        (created && buf_puts(&bare, text) < 0) || !(c->before = strdup(bare.data ? bare.data : "")))
        return error_errno(err, -ENOMEM, "candidate");
    r = dump_text(in, c->before, "before.toml", &c->base, err);
    return r < 0 ? error_wrap(err, "the configuration as it is") : 0;
}

static bool wants_systemd(const struct candidate *c)
{
    char value[16] = "";

    return toml_handler_value(c->base.data, "runc", "SystemdCgroup", value, sizeof(value)) &&
           strcmp(value, "true") == 0;
}

/* The target's new text, from the block. */
static int make_text(struct install *in, struct candidate *c, struct error *err)
{
    CLEANUP(buf_fini) struct buf block = BUF_INIT;
    bool own = !c->target_text || (toml_has_block(c->target_text) && c->drop_in), created = false;
    CLEANUP(buf_fini) struct buf bare = BUF_INIT;
    int r = 0;

    if (c->target_text && !own)
        r = toml_block_remove(c->target_text, &bare, &created);
    c->text.size = 0;
    /* What stands in a file of our own besides the handler. */
    if (own || created)
        r = in->flavour->preamble || in->flavour->format == FORMAT_CRIO
                ? 0
                : buf_printf(&block, "version = %d\n", c->version);
    if (r == 0)
        r = buf_puts(&block, c->block.data);
    if (r == 0)
        /* The preamble stands before the block: what a template brings in is not ours. */
        r = toml_block_put(c->target_text ? c->target_text : in->flavour->preamble, block.data,
                           &c->text);
    return r < 0 ? error_errno(err, -ENOMEM, "candidate") : 0;
}

/* What the runtime will read in the end, as one text or with an import. */
static int judge(struct install *in, struct candidate *c, struct error *err)
{
    CLEANUP(buf_fini) struct buf whole = BUF_INIT;
    char part[PATH_MAX];
    int r;

    if (!c->drop_in) {
        /* A template is judged by what it was rendered to last. */
        r = in->flavour->place == PLACE_FILE
                ? buf_puts(&whole, c->text.data)
                : buf_printf(&whole, "%s\n%s", c->before, c->block.data);
        if (r < 0)
            return error_errno(err, -ENOMEM, "candidate");
        return dump_text(in, whole.data, "candidate.toml", &c->dump, err);
    }
    scratch(in, "part.toml", part);
    r = file_write_atomic(AT_FDCWD, part, c->text.data, c->text.size, 0600, err);
    if (r == 0 && buf_printf(&whole, "version = %d\nimports = ['%s', '%s']\n", c->version,
                             in->config, part) < 0)
        r = error_errno(err, -ENOMEM, "candidate");
    if (r == 0)
        r = dump_text(in, whole.data, "candidate.toml", &c->dump, err);
    (void)unlink(part);
    return r;
}

static int make_containerd(struct install *in, struct candidate *c, struct error *err)
{
    int r;

    if ((r = read_before(in, c, err)) < 0)
        return r;
    c->drop_in = in->flavour->place == PLACE_DROP_IN;
    if (in->flavour->place == PLACE_FILE && find_drop_ins(in, c, in->target))
        c->drop_in = true;
    if ((r = host_read(in->target, &c->target_text, err)) < 0)
        return r;
    if (!c->drop_in || !c->target_text || !toml_has_block(c->target_text)) {
        json_t *list = toml_handlers(c->base.data);
        bool taken = has(list, in->o.handler);

        json_decref(list);
        if (taken)
            return error_set(err, -EEXIST,
                             "handler '%s' is registered there already, by somebody else",
                             in->o.handler);
    }
    r = containerd_block(in, c->version, wants_systemd(c), &c->block);
    for (int tries = 0; r == 0 && tries < 2; tries++) {
        if ((r = make_text(in, c, err)) < 0 || (r = judge(in, c, err)) < 0)
            return r;
        r = keep_lost(c, err);
        if (r == 0)
            return compare(in, c, err);
        r = r < 0 ? r : 0;
    }
    return r < 0 ? error_errno(err, r, "candidate")
                 : error_set(err, -EINVAL, "the candidate loses handlers");
}

static int make_crio(struct install *in, struct candidate *c, struct error *err)
{
    int r = host_read(in->target, &c->target_text, err);

    if (r == 0)
        r = crio_block(in, &c->block);
    c->drop_in = true;
    return r < 0 ? r : make_text(in, c, err);
}

/* -- in place
 * ------------------------------------------------------------------------------------------ */

/* For people: what the file was when berm came. The block itself is what uninstalling goes by. */
static int keep_backup(struct install *in, const char *text, struct error *err)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    const char *name = strrchr(in->target, '/');
    int r;

    text_format(path, sizeof(path), "%s/install/%s.before", in->o.state_dir, name ? name + 1 : "");
    if (!text || toml_has_block(text))
        return 0;
    scratch(in, "before", fresh);
    r = file_write_atomic(AT_FDCWD, fresh, text, strlen(text), 0600, err);
    if (r == 0 && rename(fresh, path) < 0)
        r = error_errno(err, -errno, "write '%s'", path);
    return r;
}

/* CRI-O reads whatever lies in the folder of its drop-ins. */
static int replace(struct install *in, const char *path, const char *text, struct error *err)
{
    in->change.crowded = in->flavour->format == FORMAT_CRIO;
    return host_replace(&in->change, path, text, err);
}

static int put_in_place(struct install *in, const struct candidate *c, struct error *err)
{
    char folder[PATH_MAX], *slash;
    int r;

    if (c->target_text && strcmp(c->target_text, c->text.data) == 0) {
        (void)host_leftover(in->target, true);
        log_info("configuration: %s is as wanted", in->target);
        return 0;
    }
    text_format(folder, sizeof(folder), "%s", in->target);
    slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    r = install_mkdir(in, folder, err);
    if (r == 0)
        r = keep_backup(in, c->target_text, err);
    if (r == 0)
        r = replace(in, in->target, c->text.data, err);
    in->changed = r == 0;
    if (r == 0)
        log_info("configuration: handler '%s' written to %s", in->o.handler, in->target);
    return r;
}

int handler_put(struct install *in, struct error *err)
{
    struct candidate c = {0};
    int r =
        in->flavour->format == FORMAT_CRIO ? make_crio(in, &c, err) : make_containerd(in, &c, err);

    if (r == 0)
        r = put_in_place(in, &c, err);
    candidate_fini(&c);
    return r < 0 ? error_wrap(err, "handler '%s' in '%s'", in->o.handler, in->target) : 0;
}

void handler_undo(struct install *in)
{
    struct error err = ERROR_INIT;

    if (!in->changed)
        return;
    if (host_undo(&in->change, &err) < 0)
        log_error("configuration: %s", err.msg);
    else
        log_info("configuration: as it was");
    in->changed = false;
    if (in->restarted && runtime_restart(in, &err) < 0)
        log_error("%s", err.msg);
}

/* Where the handler may stand: beside the usual place, in a folder of drop-ins. */
static int remove_from(struct install *in, const char *path, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    CLEANUP(buf_fini) struct buf bare = BUF_INIT, out = BUF_INIT;
    bool created;
    int r = host_read(path, &text, err);

    if (r < 0)
        return r;
    if (!text || !toml_has_block(text)) {
        (void)host_leftover(path, true);
        return 0;
    }
    if (toml_block_remove(text, &bare, &created) < 0)
        return error_errno(err, -ENOMEM, "configuration");
    created |= in->flavour->preamble && bare.data && !strcmp(bare.data, in->flavour->preamble);
    if (!created && in->flavour->place == PLACE_FILE && in->flavour->format != FORMAT_CRIO &&
        strcmp(path, in->config) == 0 &&
        (r = dump_text(in, bare.data ? bare.data : "", "candidate.toml", &out, err)) < 0)
        return error_wrap(err, "'%s' without the handler", path);
    r = replace(in, path, created ? NULL : bare.data ? bare.data : "", err);
    in->changed = r == 0;
    if (r == 0)
        log_info("configuration: handler '%s' taken out of %s", in->o.handler, path);
    return r;
}

int handler_remove(struct install *in, struct error *err)
{
    struct candidate c = {0};
    char drop_in[PATH_MAX];
    int r = remove_from(in, in->target, err);

    if (r == 0 && !in->changed && in->flavour->place == PLACE_FILE &&
        read_before(in, &c, NULL) == 0 && find_drop_ins(in, &c, drop_in))
        r = remove_from(in, drop_in, err);
    candidate_fini(&c);
    return r;
}
