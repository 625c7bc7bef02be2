#include "agent/standalone/user.h"

#include "agent/standalone/podspec.h"
#include "agent/standalone/tree.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct ids {
    int64_t uid, gid;
};

static bool parse_id(const char *text, int64_t *ret)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (end == text || *end || v < 0 || v > 2147483647L)
        return false;
    *ret = v;
    return true;
}

/* Field number `want` of the line that starts with "name:" in a passwd-like file; both ids for
 * passwd. The image is hostile: resolved inside its root, lines bounded. */
static bool look_up(const char *root, const char *file, const char *name, struct ids *ret)
{
    CLEANUP(close_fd) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_file) FILE *f = NULL;
    char line[1024];
    size_t n = strlen(name);
    int fd = dir < 0 ? -1 : open_in_root(dir, file, O_RDONLY | O_NONBLOCK);

    if (fd < 0)
        return false;
    f = fdopen(fd, "r");
    if (!f) {
        (void)close(fd);
        return false;
    }
    while (fgets(line, sizeof(line), f)) {
        char *id, *gid;

        if (strncmp(line, name, n) != 0 || line[n] != ':')
            continue;
        id = strchr(line + n + 1, ':');
        gid = id ? strchr(id + 1, ':') : NULL;
        if (!id || !gid)
            continue;
        *gid++ = 0;
        gid[strcspn(gid, ":\n")] = 0;
        if (!parse_id(id + 1, &ret->uid))
            continue;
        return parse_id(gid, &ret->gid) || ((ret->gid = 0), true);
    }
    return false;
}

static int image_user(const struct image *image, struct ids *ret, struct error *err)
{
    const char *text = get_string(image->config, "User", "");
    char user[128], *group;
    struct ids found;

    if (!*text)
        return 0;
    text_format(user, sizeof(user), "%s", text);
    group = strchr(user, ':');
    if (group)
        *group++ = 0;
    if (!parse_id(user, &ret->uid)) {
        if (!look_up(image->root, "etc/passwd", user, &found))
            return error_set(err, -ENOENT, "the image's user '%s' is not in its /etc/passwd", user);
        *ret = found;
    }
    if (group && !parse_id(group, &ret->gid)) {
        if (!look_up(image->root, "etc/group", group, &found))
            return error_set(err, -ENOENT, "the image's group '%s' is not in its /etc/group",
                             group);
        ret->gid = found.uid;
    }
    return 0;
}

static json_t *extra_groups(const struct pod *p)
{
    json_t *groups = json_array(), *v;
    int64_t fs = get_int(p->manifest, "spec.securityContext.fsGroup", -1);
    size_t i;

    json_array_foreach(get(p->manifest, "spec.securityContext.supplementalGroups"), i,
                       v) if (json_is_integer(v) && json_integer_value(v) >= 0)(void)
        json_array_append(groups, v);
    if (fs >= 0)
        (void)json_array_append_new(groups, json_integer(fs));
    return groups;
}

int user_make(const struct container *c, const struct image *image, json_t **ret, struct error *err)
{
    const json_t *pod = get(c->pod->manifest, "spec.securityContext"),
                 *own = get(c->spec, "securityContext");
    struct ids ids = {0, 0};
    int r = image_user(image, &ids, err);

    if (r < 0)
        return r;
    if (get(pod, "runAsUser") || get(own, "runAsUser"))
        ids.gid = 0;
    ids.uid = get_int(own, "runAsUser", get_int(pod, "runAsUser", ids.uid));
    ids.gid = get_int(own, "runAsGroup", get_int(pod, "runAsGroup", ids.gid));
    if (get_bool(own, "runAsNonRoot", get_bool(pod, "runAsNonRoot", false)) && ids.uid == 0)
        return error_set(err, -EPERM, "runAsNonRoot is set, and the user is root");
    *ret = json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)ids.uid, "gid", (json_int_t)ids.gid,
                     "additionalGids", extra_groups(c->pod));
    return *ret ? 0 : error_errno(err, -ENOMEM, "user");
}
