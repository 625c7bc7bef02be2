#include "agent/kube/auth.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, TOKEN_MAX = 64 << 10 };

void kube_auth_fini(struct kube_auth *a)
{
    char **strings[] = {&a->server, &a->ca_file, &a->token_file, &a->cert_file, &a->key_file,
                        &a->token,  &a->ca.data, &a->cert.data,  &a->key.data};

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        free_ptr(strings[i]);
}

int kube_auth_in_cluster(struct kube_auth *a, const char *dir, struct error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    bool v6 = host && strchr(host, ':');

    *a = (struct kube_auth){0};
    if (!host || !*host || !port || !*port)
        return error_set(err, -ENOENT,
                         "not in a cluster: KUBERNETES_SERVICE_HOST is not set; outside of one use "
                         "--kubeconfig FILE, or --standalone DIR");
    if (asprintf(&a->server, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) < 0 ||
        asprintf(&a->ca_file, "%s/ca.crt", dir) < 0 ||
        asprintf(&a->token_file, "%s/token", dir) < 0)
        return error_errno(err, -ENOMEM, "service account");
    if (access(a->token_file, R_OK) < 0)
        return error_errno(err, -errno, "read service account token '%s'", a->token_file);
    return 0;
}

/* A token goes into a header line: nothing but printable characters. */
static int token_check(char *token, struct error *err)
{
    size_t n = strlen(token);

    while (n && isspace((unsigned char)token[n - 1]))
        token[--n] = 0;
    for (size_t i = 0; i < n; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return error_set(err, -EBADMSG,
                             "the bearer token has a character that can't be in one");
    return n ? 0 : error_set(err, -EBADMSG, "the bearer token is empty");
}

int kube_auth_token(const struct kube_auth *a, char **ret, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    int r;

    *ret = NULL;
    if (a->token_file) {
        r = file_read_all(AT_FDCWD, a->token_file, TOKEN_MAX, &text, NULL, err);
        if (r < 0)
            return r;
    } else if (a->token) {
        text = strdup(a->token);
        if (!text)
            return error_errno(err, -ENOMEM, "token");
    } else {
        return 0;
    }
    r = token_check(text, err);
    if (r == 0)
        *ret = TAKE_PTR(text);
    return r;
}

/* -- kubeconfig -------------------------------------------------------------------------- */

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;

    return p ? (int)(p - digits) : -1;
}

static int base64_decode(const char *text, struct kube_blob *ret)
{
    size_t n = strlen(text), out = 0;
    char *data = malloc(n + 1);
    unsigned bits = 0, have = 0;

    if (!data)
        return -ENOMEM;
    for (; *text && *text != '='; text++) {
        int v = base64_value(*text);

        if (isspace((unsigned char)*text))
            continue;
        if (v < 0) {
            free(data);
            return -EINVAL;
        }
        bits = bits << 6 | (unsigned)v;
        if ((have += 6) >= 8)
            data[out++] = (char)(bits >> (have -= 8) & 0xff);
    }
    *ret = (struct kube_blob){data, out};
    return 0;
}

static const json_t *find_named(const json_t *root, const char *list, const char *name,
                                const char *what)
{
    json_t *v;
    size_t i;

    json_array_foreach(json_object_get(root, list), i, v)
    {
        const char *n = json_string_value(json_object_get(v, "name"));

        if (n && strcmp(n, name) == 0)
            return json_object_get(v, what);
    }
    return NULL;
}

static int take_path(const json_t *o, const char *key, const char *dir, char **ret)
{
    const char *v = json_string_value(json_object_get(o, key));

    if (!v || !*v)
        return 0;
    if (*v == '/')
        *ret = strdup(v);
    else if (asprintf(ret, "%s/%s", dir, v) < 0)
        *ret = NULL;
    return *ret ? 0 : -ENOMEM;
}

struct part {
    const char *data_key, *file_key;
    size_t blob, file; /* offsets in struct kube_auth */
};
#define PART(data_key, file_key, field)                                                            \
    {                                                                                              \
        data_key, file_key, offsetof(struct kube_auth, field),                                     \
            offsetof(struct kube_auth, field##_file)                                               \
    }
static const struct part cluster_parts[] = {
    PART("certificate-authority-data", "certificate-authority", ca)};
static const struct part user_parts[] = {
    PART("client-certificate-data", "client-certificate", cert),
    PART("client-key-data", "client-key", key)};

static int take_parts(struct kube_auth *a, const json_t *o, const struct part *parts, size_t n,
                      const char *dir, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *data = json_string_value(json_object_get(o, parts[i].data_key));
        int r = data ? base64_decode(data, (void *)((char *)a + parts[i].blob))
                     : take_path(o, parts[i].file_key, dir, (void *)((char *)a + parts[i].file));

        if (r < 0)
            return error_errno(err, r, "%s", data ? parts[i].data_key : parts[i].file_key);
    }
    return 0;
}

static int refuse(const json_t *o, const char *const *keys, struct error *err)
{
    for (; *keys; keys++)
        if (json_object_get(o, *keys))
            return error_set(err, -EOPNOTSUPP, "'%s' is not supported", *keys);
    return 0;
}

static int take_cluster(struct kube_auth *a, const json_t *cluster, const char *dir,
                        struct error *err)
{
    static const char *const refused[] = {"proxy-url", "tls-server-name", NULL};
    const char *server = json_string_value(json_object_get(cluster, "server"));
    size_t n;
    int r = refuse(cluster, refused, err);

    if (r < 0)
        return r;
    if (!server || (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0))
        return error_set(err, -EINVAL, "server: no http(s) address");
    a->server = strdup(server);
    if (!a->server)
        return error_errno(err, -ENOMEM, "server");
    for (n = strlen(a->server); n && a->server[n - 1] == '/'; n--)
        a->server[n - 1] = 0;
    a->insecure = json_is_true(json_object_get(cluster, "insecure-skip-tls-verify"));
    return take_parts(a, cluster, cluster_parts, ARRAY_SIZE(cluster_parts), dir, err);
}

static int take_user(struct kube_auth *a, const json_t *user, const char *dir, struct error *err)
{
    static const char *const refused[] = {"exec", "auth-provider", "username", "password", "as",
                                          NULL};
    const char *token = json_string_value(json_object_get(user, "token"));
    int r = refuse(user, refused, err);

    if (r < 0)
        return r;
    if (take_path(user, "tokenFile", dir, &a->token_file) < 0 ||
        (token && !(a->token = strdup(token))))
        return error_errno(err, -ENOMEM, "token");
    return take_parts(a, user, user_parts, ARRAY_SIZE(user_parts), dir, err);
}

static int take_config(struct kube_auth *a, const json_t *root, const char *dir, struct error *err)
{
    const char *name = json_string_value(json_object_get(root, "current-context"));
    const json_t *context, *cluster, *user;
    const char *cluster_name, *user_name;
    int r;

    context = name ? find_named(root, "contexts", name, "context") : NULL;
    if (!context)
        return error_set(err, -EINVAL, "current-context names no context");
    cluster_name = json_string_value(json_object_get(context, "cluster"));
    user_name = json_string_value(json_object_get(context, "user"));
    cluster = cluster_name ? find_named(root, "clusters", cluster_name, "cluster") : NULL;
    user = user_name ? find_named(root, "users", user_name, "user") : NULL;
    if (!cluster)
        return error_set(err, -EINVAL, "context '%.80s' names no cluster", name);
    if (user_name && !user)
        return error_set(err, -EINVAL, "context '%.80s' names user '%.80s', which isn't there",
                         name, user_name);
    if ((r = take_cluster(a, cluster, dir, err)) < 0)
        return error_wrap(err, "cluster '%.80s'", cluster_name);
    if (user && (r = take_user(a, user, dir, err)) < 0)
        return error_wrap(err, "user '%.80s'", user_name);
    return 0;
}

int kube_auth_kubeconfig(struct kube_auth *a, const char *path, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    CLEANUP(free_ptr) char *dir = strdup(path);
    struct yaml_doc *docs = NULL;
    size_t size, n = 0;
    char *slash;
    int r;

    *a = (struct kube_auth){0};
    if (!dir)
        return error_errno(err, -ENOMEM, "kubeconfig");
    slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    r = file_read_all(AT_FDCWD, path, FILE_MAX, &text, &size, err);
    if (r < 0 || (r = yaml_load_all(text, size, path, &docs, &n, err)) < 0)
        return error_wrap(err, "kubeconfig");
    r = n == 1 ? take_config(a, docs[0].root, slash ? dir : ".", err)
               : error_set(err, -EINVAL, "%zu documents where one is expected", n);
    yaml_docs_free(docs, n);
    return r < 0 ? error_wrap(err, "kubeconfig '%s'", path) : 0;
}

static int freeze_blob(char **file, struct kube_blob *b, struct error *err)
{
    int r = *file ? file_read_all(AT_FDCWD, *file, FILE_MAX, &b->data, &b->size, err) : 0;

    if (r == 0)
        free_ptr(file);
    return r;
}

int kube_auth_freeze(struct kube_auth *a, struct error *err)
{
    char *token = NULL;
    int r = kube_auth_token(a, &token, err);

    if (r < 0)
        return r;
    free(a->token);
    a->token = token;
    free_ptr(&a->token_file);
    if ((r = freeze_blob(&a->ca_file, &a->ca, err)) < 0 ||
        (r = freeze_blob(&a->cert_file, &a->cert, err)) < 0)
        return r;
    return freeze_blob(&a->key_file, &a->key, err);
}
