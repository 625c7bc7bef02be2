#include "agent/standalone/unpack.h"

#include "agent/standalone/tree.h"
#include "common/cleanup.h"
#include "common/hashmap.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 65536, ENTRIES_MAX = 4000000 };
#define UNPACKED_MAX (64ULL << 30)
#define WHITEOUT     ".wh."
#define OPAQUE       ".wh..wh..opq"

/* Paths that this layer made: an opaque mark hides what lower layers made, wherever it stands. */
struct made {
    struct hash_node node;
    char path[];
};

struct layer {
    int fd;
    EVP_MD_CTX *md;
    uint64_t size, entries, unpacked;
    struct hashmap made;
    uint8_t chunk[CHUNK];
};

int digest_check(const char *digest, struct error *err)
{
    const char *hex = digest + 7;

    if (strncmp(digest, "sha256:", 7) != 0 || strlen(hex) != 64 ||
        strspn(hex, "0123456789abcdef") != 64)
        return error_set(err, -EINVAL, "digest '%.80s' is not sha256:<64 hex digits>", digest);
    return 0;
}

static void to_hex(const uint8_t raw[32], char ret_hex[65])
{
    for (int i = 0; i < 32; i++)
        (void)snprintf(ret_hex + 2 * i, 3, "%02x", raw[i]);
}

int digest_of(const void *data, size_t size, char ret_hex[65])
{
    uint8_t raw[32];

    if (EVP_Digest(data, size, raw, NULL, EVP_sha256(), NULL) != 1)
        return -EIO;
    to_hex(raw, ret_hex);
    return 0;
}

static la_ssize_t read_chunk(struct archive *a, void *ctx, const void **ret)
{
    struct layer *l = ctx;
    ssize_t n;

    do
        n = read(l->fd, l->chunk, sizeof(l->chunk));
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(a, errno, "read layer");
        return -1;
    }
    l->size += (uint64_t)n;
    (void)EVP_DigestUpdate(l->md, l->chunk, (size_t)n);
    *ret = l->chunk;
    return n;
}

static int remember(struct layer *l, const char *path)
{
    size_t n = strlen(path) + 1;
    struct made *m = malloc(sizeof(*m) + n);
    int r;

    if (!m)
        return -ENOMEM;
    memcpy(m->path, path, n);
    r = hashmap_add(&l->made, &m->node, hash_string(path));
    if (r < 0)
        free(m);
    return r;
}

static bool made_here(const struct layer *l, const char *path)
{
    struct hash_node *n = hashmap_first(&l->made, hash_string(path));

    for (; n; n = hashmap_next_same(n))
        if (strcmp(hash_entry(n, struct made, node)->path, path) == 0)
            return true;
    return false;
}

/* "./a//b/" -> "a/b"; false for what leaves the directory. */
static bool clean_path(const char *in, char *out, size_t size)
{
    size_t n = 0;

    while (*in == '/')
        in++;
    while (*in) {
        size_t part = strcspn(in, "/");

        if (part == 2 && strncmp(in, "..", 2) == 0)
            return false;
        if (part && !(part == 1 && *in == '.')) {
            if (n + part + 2 > size)
                return false;
            if (n)
                out[n++] = '/';
            memcpy(out + n, in, part);
            n += part;
        }
        in += part;
        while (*in == '/')
            in++;
    }
    out[n] = 0;
    return true;
}

static int open_parent(const char *path, const char **ret_base)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');

    if (!slash) {
        *ret_base = path;
        return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    *ret_base = slash + 1;
    return open_beneath(AT_FDCWD, parent, O_PATH | O_DIRECTORY);
}

static int hide_children(struct layer *l, const char *dir, struct error *err)
{
    CLEANUP(close_dir) DIR *d = NULL;
    int fd = open_beneath(AT_FDCWD, *dir ? dir : ".", O_RDONLY | O_DIRECTORY);
    struct dirent *e;
    char path[8192];
    int r = 0;

    if (fd < 0)
        return 0;
    d = fdopendir(fd);
    if (!d) {
        (void)close(fd);
        return -ENOMEM;
    }
    while (r == 0 && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", e->d_name);
        if (!made_here(l, path))
            r = tree_remove(fd, e->d_name, err);
    }
    return r;
}

/* 1 if the entry was a whiteout and has been done. */
static int apply_whiteout(struct layer *l, const char *path, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char dir[4096] = "";
    int r;

    if (strncmp(base, WHITEOUT, strlen(WHITEOUT)) != 0)
        return 0;
    if (slash)
        (void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    if (strcmp(base, OPAQUE) == 0) {
        r = hide_children(l, dir, err);
        return r < 0 ? r : 1;
    }
    fd = open_parent(path, &base);
    base += strlen(WHITEOUT);
    if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return error_set(err, -EBADMSG, "bad whiteout '%.100s'", path);
    r = fd < 0 ? 0 : tree_remove(fd, base, err);
    return r < 0 ? r : 1;
}

static int copy_data(struct layer *l, struct archive *in, struct archive *out, struct error *err)
{
    const void *data;
    size_t size;
    la_int64_t offset;
    int r;

    for (;;) {
        r = archive_read_data_block(in, &data, &size, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r < ARCHIVE_WARN)
            return error_set(err, -EBADMSG, "%s", archive_error_string(in));
        l->unpacked += size;
        if (l->unpacked > UNPACKED_MAX)
            return error_set(err, -E2BIG, "larger than %llu bytes unpacked", UNPACKED_MAX);
        if (archive_write_data_block(out, data, size, offset) < ARCHIVE_WARN)
            return error_set(err, -EIO, "%s", archive_error_string(out));
    }
}

/* What stands where the entry goes is replaced, unless both are directories. A type change from a
 * lower layer would otherwise be an error of libarchive's. */
static int make_room(const char *path, struct archive_entry *entry, struct error *err)
{
    CLEANUP(close_fd) int fd = -1;
    const char *base;
    struct stat st;

    fd = open_parent(path, &base);
    if (fd < 0 || fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISDIR(st.st_mode) && archive_entry_filetype(entry) == AE_IFDIR)
        return 0;
    return tree_remove(fd, base, err);
}

static int unpack_entry(struct layer *l, struct archive *in, struct archive *out,
                        struct archive_entry *entry, struct error *err)
{
    const char *raw = archive_entry_pathname(entry);
    char path[4096];
    int r;

    if (!raw || !clean_path(raw, path, sizeof(path)))
        return error_set(err, -EBADMSG, "path '%.100s' leaves the image", raw ? raw : "?");
    if (!*path)
        return 0;
    if (++l->entries > ENTRIES_MAX)
        return error_set(err, -E2BIG, "more than %d files", ENTRIES_MAX);
    r = apply_whiteout(l, path, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = make_room(path, entry, err);
    if (r == 0)
        r = remember(l, path);
    if (r < 0)
        return r;
    archive_entry_set_pathname(entry, path);
    if (archive_entry_hardlink(entry)) {
        char target[4096];

        if (!clean_path(archive_entry_hardlink(entry), target, sizeof(target)))
            return error_set(err, -EBADMSG, "hard link '%.100s' leaves the image", path);
        archive_entry_set_hardlink(entry, target);
    }
    if (archive_write_header(out, entry) < ARCHIVE_WARN)
        return error_set(err, -EIO, "'%.200s': %s", path, archive_error_string(out));
    return archive_entry_size(entry) > 0 ? copy_data(l, in, out, err) : 0;
}

static int unpack_all(struct layer *l, struct archive *in, struct archive *out, struct error *err)
{
    struct archive_entry *entry;
    int r;

    if (archive_read_open(in, l, NULL, read_chunk, NULL) < ARCHIVE_WARN)
        return error_set(err, -EBADMSG, "%s", archive_error_string(in));
    for (;;) {
        r = archive_read_next_header(in, &entry);
        if (r == ARCHIVE_EOF)
            break;
        if (r < ARCHIVE_WARN)
            return error_set(err, -EBADMSG, "%s", archive_error_string(in));
        r = unpack_entry(l, in, out, entry, err);
        if (r < 0)
            return r;
    }
    if (archive_write_close(out) < ARCHIVE_WARN)
        return error_set(err, -EIO, "%s", archive_error_string(out));
    return 0;
}

static int finish_digest(struct layer *l, const char *digest, uint64_t size, struct error *err)
{
    uint8_t raw[32];
    char hex[65];
    const void *rest;

    /* Padding after the end of the archive belongs to the blob, too. */
    while (read_chunk(NULL, l, &rest) > 0)
        continue;
    if (EVP_DigestFinal_ex(l->md, raw, NULL) != 1)
        return error_set(err, -EIO, "sha256");
    to_hex(raw, hex);
    if (strcmp(hex, digest + 7) != 0 || l->size != size)
        return error_set(err, -EBADMSG, "content is sha256:%s of %llu bytes, expected %s of %llu",
                         hex, (unsigned long long)l->size, digest, (unsigned long long)size);
    return 0;
}

static void free_made(struct hashmap *m)
{
    struct hash_node *n = hashmap_next(m, NULL);

    while (n) {
        struct hash_node *next = hashmap_next(m, n);

        free(hash_entry(n, struct made, node));
        n = next;
    }
    hashmap_fini(m);
}

int unpack_layer(int fd, const char *digest, uint64_t size, struct error *err)
{
    static const int flags = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                             ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                             ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                             ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
    struct layer *l = calloc(1, sizeof(*l));
    struct archive *in = archive_read_new(), *out = archive_write_disk_new();
    struct error inner = ERROR_INIT;
    int r = -ENOMEM, r2;

    if (l)
        l->md = EVP_MD_CTX_new();
    if (l && in && out && l->md && EVP_DigestInit_ex(l->md, EVP_sha256(), NULL) == 1) {
        l->fd = fd;
        (void)archive_read_support_filter_gzip(in);
        (void)archive_read_support_filter_zstd(in);
        (void)archive_read_support_format_tar(in);
        (void)archive_read_support_format_empty(in);
        (void)archive_write_disk_set_options(out, flags);
        r = unpack_all(l, in, out, &inner);
        /* A wrong digest explains whatever else went wrong: say that first. */
        r2 = finish_digest(l, digest, size, err);
        if (r2 < 0)
            r = r2;
        else if (r < 0)
            r = error_set(err, r, "unpack: %s", inner.msg);
    } else {
        r = error_errno(err, -ENOMEM, "unpack");
    }
    (void)archive_read_free(in);
    (void)archive_write_free(out);
    if (l) {
        EVP_MD_CTX_free(l->md);
        free_made(&l->made);
    }
    free(l);
    return r;
}
