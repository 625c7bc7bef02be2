#include "agent/standalone/image.h"

#include "agent/standalone/podspec.h"
#include "agent/standalone/tree.h"
#include "agent/standalone/unpack.h"
#include "common/cleanup.h"
#include "common/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { JSON_MAX = 4 << 20, LAYERS_MAX = 128, NESTING_MAX = 4 };
#define MEDIA_INDEX "application/vnd.oci.image.index.v1+json"

void image_fini(struct image *i)
{
    free(i->root);
    json_decref(i->config);
    *i = (struct image){0};
}

static int load_json(int dir, const char *path, char ret_hex[65], json_t **ret, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_error_t je;
    size_t size;
    int r = file_read_all(dir, path, JSON_MAX, &text, &size, err);

    if (r < 0)
        return r;
    r = digest_of(text, size, ret_hex);
    if (r < 0)
        return error_errno(err, r, "sha256");
    *ret = json_loadb(text, size, JSON_REJECT_DUPLICATES, &je);
    return *ret ? 0 : error_set(err, -EBADMSG, "'%s' line %d: %s", path, je.line, je.text);
}

/* The blob that a descriptor names, verified. */
static int load_blob(int dir, const json_t *descriptor, json_t **ret, struct error *err)
{
    const char *digest = get_string(descriptor, "digest", "");
    char path[128], hex[65];
    int r = digest_check(digest, err);

    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "blobs/sha256/%s", digest + 7);
    r = load_json(dir, path, hex, ret, err);
    if (r < 0)
        return r;
    if (strcmp(hex, digest + 7) != 0) {
        json_decref(*ret);
        *ret = NULL;
        return error_set(err, -EBADMSG, "'%s': content is sha256:%s: wrong digest", path, hex);
    }
    return 0;
}

static bool descriptor_fits(const json_t *d, const char *tag)
{
    const json_t *platform = get(d, "platform"), *annotations = get(d, "annotations");
    const json_t *name = json_object_get(annotations, "org.opencontainers.image.ref.name");

    if (platform && (strcmp(get_string(platform, "os", "linux"), "linux") != 0 ||
                     strcmp(get_string(platform, "architecture", "amd64"), "amd64") != 0))
        return false;
    return !tag || (json_is_string(name) && strcmp(json_string_value(name), tag) == 0);
}

/* Follows index -> (index ->)* manifest. tag NULL: the first that fits this machine. */
static int find_manifest(int dir, const json_t *index, const char *tag, int depth,
                         char **ret_digest, json_t **ret, struct error *err)
{
    size_t i;
    json_t *d;

    if (depth > NESTING_MAX)
        return error_set(err, -ELOOP, "image indexes nested too deeply");
    json_array_foreach(get(index, "manifests"), i, d)
    {
        json_t *blob = NULL;
        int r;

        if (!descriptor_fits(d, tag))
            continue;
        r = load_blob(dir, d, &blob, err);
        if (r == 0 && strcmp(get_string(d, "mediaType", ""), MEDIA_INDEX) == 0) {
            r = find_manifest(dir, blob, NULL, depth + 1, ret_digest, ret, err);
            json_decref(blob);
            return r;
        }
        if (r == 0) {
            *ret = blob;
            *ret_digest = strdup(get_string(d, "digest", ""));
            r = *ret_digest ? 0 : -ENOMEM;
        }
        return r;
    }
    return error_set(err, -ENOENT, "no image%s%s for linux/amd64 in the layout",
                     tag ? " with tag " : "", tag ? tag : "");
}

static int unpack_layers(int dir, const json_t *manifest, struct error *err)
{
    const json_t *layers = get(manifest, "layers");
    size_t i;
    json_t *d;

    if (json_array_size(layers) > LAYERS_MAX)
        return error_set(err, -E2BIG, "more than %d layers", LAYERS_MAX);
    json_array_foreach(layers, i, d)
    {
        const char *digest = get_string(d, "digest", "");
        CLEANUP(close_fd) int fd = -1;
        char path[128];
        int r = digest_check(digest, err);

        if (r < 0)
            return r;
        (void)snprintf(path, sizeof(path), "blobs/sha256/%s", digest + 7);
        fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return error_errno(err, -errno, "layer %zu: open '%s'", i, path);
        r = unpack_layer(fd, digest, (uint64_t)get_int(d, "size", 0), err);
        if (r < 0)
            return error_wrap(err, "layer %zu: '%s'", i, path);
    }
    return 0;
}

/* Unpacks beside its place and renames: the cache never holds half an image. */
static int unpack_image(int dir, const json_t *manifest, const char *cache, const char *final,
                        struct error *err)
{
    char temporary[PATH_MAX];
    struct error ignored;
    int r;

    (void)snprintf(temporary, sizeof(temporary), "%s/new-%d", cache, (int)getpid());
    if (tree_remove(AT_FDCWD, temporary, err) < 0)
        return err->code;
    if (mkdir(temporary, 0755) < 0)
        return error_errno(err, -errno, "create '%s'", temporary);
    if (chdir(temporary) < 0)
        return error_errno(err, -errno, "enter '%s'", temporary);
    r = unpack_layers(dir, manifest, err);
    if (chdir("/") < 0)
        r = -errno;
    if (r == 0 && rename(temporary, final) < 0)
        r = error_errno(err, -errno, "rename to '%s'", final);
    if (r < 0)
        (void)tree_remove(AT_FDCWD, temporary, &ignored);
    return r;
}

/* One process unpacks at a time; whoever waited finds it done. */
static int cached_image(int dir, const json_t *manifest, const char *digest, const char *cache,
                        char **ret_root, struct error *err)
{
    CLEANUP(close_fd) int lock = -1;
    CLEANUP(free_ptr) char *root = NULL, *lock_path = NULL;
    int r = mkdir_parents(cache, 0700);

    if (r < 0)
        return error_errno(err, r, "create '%s'", cache);
    if (asprintf(&root, "%s/%s", cache, digest + 7) < 0 ||
        asprintf(&lock_path, "%s/lock", cache) < 0)
        return error_errno(err, -ENOMEM, "image");
    lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return error_errno(err, -errno, "lock '%s'", lock_path);
    if (access(root, F_OK) < 0)
        r = unpack_image(dir, manifest, cache, root, err);
    if (r == 0)
        *ret_root = TAKE_PTR(root);
    return r;
}

static int resolve_oci(const char *spec, const char *cache, struct image *ret, struct error *err)
{
    CLEANUP(free_ptr) char *path = strdup(spec), *digest = NULL;
    CLEANUP(close_fd) int dir = -1;
    json_t *index = NULL, *manifest = NULL, *config = NULL;
    char hex[65];
    char *tag;
    int r;

    if (!path)
        return error_errno(err, -ENOMEM, "image");
    tag = strrchr(path, ':');
    if (tag)
        *tag++ = 0;
    dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, -errno, "open image layout '%s'", path);
    r = load_json(dir, "index.json", hex, &index, err);
    if (r == 0)
        r = find_manifest(dir, index, tag && *tag ? tag : NULL, 0, &digest, &manifest, err);
    if (r == 0)
        r = load_blob(dir, get(manifest, "config"), &config, err);
    if (r == 0)
        r = cached_image(dir, manifest, digest, cache, &ret->root, err);
    if (r == 0)
        ret->config = json_incref(get(config, "config"));
    json_decref(index);
    json_decref(manifest);
    json_decref(config);
    return r < 0 ? error_wrap(err, "image layout '%s'", path) : 0;
}

int image_resolve(const char *image, const char *cache_dir, struct image *ret, struct error *err)
{
    struct stat st;

    *ret = (struct image){0};
    if (strncmp(image, "oci:", 4) == 0)
        return resolve_oci(image + 4, cache_dir, ret, err);
    ret->host = strcmp(image, "host:") == 0;
    ret->root = strdup(ret->host ? "/" : image + 4);
    if (!ret->root)
        return error_errno(err, -ENOMEM, "image");
    if (stat(ret->root, &st) < 0)
        return error_errno(err, -errno, "image '%s'", image);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, -ENOTDIR, "image '%s' is no directory", image);
    return 0;
}
