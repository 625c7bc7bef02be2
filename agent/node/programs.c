/*
 * Programs in folders by version and content. A folder that is there is never written to; one
 * becomes visible by rename, complete. The stable path is a link: containerd's configuration need
 * not change at an upgrade, and each sandbox goes on with the program that made it
 * (runtime/cli/program.c).
 */
#include "agent/node/install.h"
#include "agent/node/used.h"
#include "agent/schema.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

const char *const install_programs[INSTALL_PROGRAMS] = {"berm", "bermctl"};

static int digest(int fd, char ret[17], struct error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sum[EVP_MAX_MD_SIZE], data[65536];
    off_t at = 0;
    ssize_t n = 0;
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);

    while (ok && (n = pread(fd, data, sizeof(data), at)) > 0) {
        ok = EVP_DigestUpdate(ctx, data, (size_t)n);
        at += n;
    }
    ok = ok && n == 0 && EVP_DigestFinal_ex(ctx, sum, NULL);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return error_set(err, -EIO, "the program can't be read");
    for (int i = 0; i < 8; i++)
        text_format(ret + 2 * (size_t)i, 3, "%02x", sum[i]);
    return 0;
}

static int write_version(struct install *in, struct error *err)
{
    char fresh[PATH_MAX], path[PATH_MAX + 16];
    int r;

    text_format(fresh, sizeof(fresh), "%s.new", in->version_dir);
    r = host_remove_tree(fresh, err);
    if (r == 0 && mkdir(fresh, 0755) < 0)
        r = error_errno(err, -errno, "create '%s'", fresh);
    for (size_t i = 0; r == 0 && i < INSTALL_PROGRAMS; i++) {
        text_format(path, sizeof(path), "%s/%s", fresh, install_programs[i]);
        r = host_copy_program(in->source_fd[i], path, err);
    }
    if (r == 0 && rename(fresh, in->version_dir) < 0)
        r = error_errno(err, -errno, "create '%s'", in->version_dir);
    if (r < 0) {
        (void)host_remove_tree(fresh, NULL);
        return r;
    }
    in->new_version = true;
    return 0;
}

/* That it is there is not enough: another libc, another machine, noexec. */
static int try_version(struct install *in, struct error *err)
{
    CLEANUP(buf_fini) struct buf out = BUF_INIT;
    char path[PATH_MAX + 16];
    const char *argv[] = {path, "--version", NULL};
    int status, r;

    text_format(path, sizeof(path), "%s/berm", in->version_dir);
    r = host_run(argv, 20, &out, &status, err);
    if (r < 0)
        return r;
    if (status != 0)
        return error_set(err, -ENOEXEC, "'%s --version' fails on this host (status %d): %.200s",
                         path, status, out.data);
    return 0;
}

static int link_to(struct install *in, const char *version, const char *program, struct error *err)
{
    char target[PATH_MAX], path[PATH_MAX], fresh[PATH_MAX + 8];

    text_format(target, sizeof(target), "../versions/%s/%s", version, program);
    text_format(path, sizeof(path), "%s/bin/%s", in->o.prefix, program);
    text_format(fresh, sizeof(fresh), "%s.new", path);
    (void)unlink(fresh);
    if (symlink(target, fresh) < 0)
        return error_errno(err, -errno, "link '%s'", fresh);
    if (rename(fresh, path) < 0) {
        int r = -errno;

        (void)unlink(fresh);
        return error_errno(err, r, "link '%s'", path);
    }
    return 0;
}

/* The version that the links name, "" if there is none. */
static void read_previous(struct install *in)
{
    char path[PATH_MAX], target[PATH_MAX], *name, *slash;
    ssize_t n;

    text_format(path, sizeof(path), "%s/bin/berm", in->o.prefix);
    n = readlink(path, target, sizeof(target) - 1);
    in->previous[0] = 0;
    if (n <= 0)
        return;
    target[n] = 0;
    name = strncmp(target, "../versions/", 12) == 0 ? target + 12 : NULL;
    slash = name ? strchr(name, '/') : NULL;
    if (!slash)
        return;
    *slash = 0;
    text_format(in->previous, sizeof(in->previous), "%s", name);
}

static bool names(struct install *in, const char *program)
{
    char path[PATH_MAX], want[PATH_MAX], have[PATH_MAX];
    ssize_t n;

    text_format(path, sizeof(path), "%s/bin/%s", in->o.prefix, program);
    text_format(want, sizeof(want), "../versions/%s/%s", in->version, program);
    n = readlink(path, have, sizeof(have) - 1);
    have[MAX(n, 0)] = 0;
    return strcmp(have, want) == 0;
}

/* Each by itself: a run may have been killed between two. */
static int switch_links(struct install *in, struct error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < INSTALL_PROGRAMS; i++) {
        if (names(in, install_programs[i]))
            continue;
        in->new_links = true;
        r = link_to(in, in->version, install_programs[i], err);
    }
    return r;
}

int programs_put(struct install *in, struct error *err)
{
    char sum[17], path[PATH_MAX];
    int r = digest(in->source_fd[0], sum, err);

    if (r < 0)
        return r;
    text_format(in->version, sizeof(in->version), "%s-%s", BERM_VERSION, sum);
    text_format(in->version_dir, sizeof(in->version_dir), "%s/versions/%s", in->o.prefix,
                in->version);
    text_format(path, sizeof(path), "%s/versions", in->o.prefix);
    if ((r = install_mkdir(in, path, err)) < 0)
        return r;
    text_format(path, sizeof(path), "%s/bin", in->o.prefix);
    if ((r = install_mkdir(in, path, err)) < 0)
        return r;
    read_previous(in);
    if (access(in->version_dir, F_OK) < 0 && (r = write_version(in, err)) < 0)
        return r;
    if ((r = try_version(in, err)) == 0)
        r = switch_links(in, err);
    if (r == 0)
        log_info("programs: %s%s", in->version_dir, in->new_version ? "" : " (was there)");
    return r;
}

void programs_undo(struct install *in)
{
    char path[PATH_MAX];

    for (size_t i = 0; in->new_links && i < INSTALL_PROGRAMS; i++) {
        text_format(path, sizeof(path), "%s/bin/%s", in->o.prefix, install_programs[i]);
        if (!*in->previous)
            (void)unlink(path);
        else if (link_to(in, in->previous, install_programs[i], NULL) < 0)
            log_error("'%s' still names version %s", path, in->version);
    }
    if (in->new_version)
        (void)host_remove_tree(in->version_dir, NULL);
    in->new_links = in->new_version = false;
}

/* The version before this one stays for now: with it a sandbox may just be being made whose state
 * is not there yet. */
int programs_collect(struct install *in, struct error *err)
{
    CLEANUP(close_dir) DIR *dir = NULL;
    char path[PATH_MAX];
    struct dirent *d;
    int used, r = 0;

    text_format(path, sizeof(path), "%s/versions", in->o.prefix);
    dir = opendir(path);
    while (r == 0 && dir && (d = readdir(dir))) {
        if (d->d_name[0] == '.' || strcmp(d->d_name, in->version) == 0 ||
            strcmp(d->d_name, in->previous) == 0)
            continue;
        text_format(path, sizeof(path), "%s/versions/%s", in->o.prefix, d->d_name);
        used = used_program(in->o.root, path);
        if (used < 0)
            return error_errno(err, used, "look through '%s'", in->o.root);
        log_info("programs: %s is %s", path, used ? "in use" : "not used any more");
        r = used ? 0 : host_remove_tree(path, err);
    }
    return r;
}
