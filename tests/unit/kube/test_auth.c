#include "agent/kube/auth.h"

#include "common/fdio.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test-auth-XXXXXX";

static void set_up(void)
{
    cr_assert(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void tear_down(void)
{
    (void)unlink("config");
    (void)unlink("token");
    cr_assert_eq(chdir("/"), 0);
    (void)rmdir(dir);
}

static void put(const char *name, const char *text)
{
    cr_assert_eq(file_write_atomic(AT_FDCWD, name, text, strlen(text), 0600, NULL), 0);
}

#define CONFIG(cluster, user)                                                                      \
    "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"                  \
    "clusters: [{name: k, cluster: {" cluster "}}]\nusers: [{name: u, user: {" user "}}]\n"

static int load(struct kube_auth *a, const char *text, struct error *err)
{
    put("config", text);
    return kube_auth_kubeconfig(a, "config", err);
}

Test(auth, kubeconfig, .init = set_up, .fini = tear_down)
{
    struct kube_auth a;
    struct error err = ERROR_INIT;
    char *token;

    cr_assert_eq(load(&a,
                      CONFIG("server: 'https://h:6443/', certificate-authority-data: aGVsbG8=",
                             "tokenFile: token, client-certificate: /c, client-key-data: eA"),
                      &err),
                 0, "%s", err.msg);
    cr_assert_str_eq(a.server, "https://h:6443");
    cr_assert_eq(a.ca.size, 5);
    cr_assert_eq(memcmp(a.ca.data, "hello", 5), 0);
    cr_assert_str_eq(a.token_file, "./token");
    cr_assert_str_eq(a.cert_file, "/c");
    cr_assert_eq(a.key.size, 1);
    cr_assert(kube_auth_token(&a, &token, &err) < 0);
    put("token", "one\n");
    cr_assert_eq(kube_auth_token(&a, &token, &err), 0);
    cr_assert_str_eq(token, "one");
    free(token);
    /* Rotated. */
    put("token", "two");
    cr_assert_eq(kube_auth_token(&a, &token, &err), 0);
    cr_assert_str_eq(token, "two");
    free(token);
    /* No second header line by a token. */
    put("token", "two\r\nX-Evil: 1\n");
    cr_assert_eq(kube_auth_token(&a, &token, &err), -EBADMSG);
    cr_assert_null(token);
    kube_auth_fini(&a);
}

Test(auth, refused, .init = set_up, .fini = tear_down)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{}", "current-context"},
        {"[1]", "current-context"},
        {"current-context: c\ncontexts: 7", "current-context"},
        {CONFIG("server: 'ftp://x'", ""), "server"},
        {CONFIG("server: 5", ""), "server"},
        {CONFIG("server: 'https://x', proxy-url: y", ""), "proxy-url"},
        {CONFIG("server: 'https://x'", "exec: {command: x}"), "exec"},
        {CONFIG("server: 'https://x'", "username: x"), "username"},
        {CONFIG("server: 'https://x', certificate-authority-data: '***'", ""),
         "certificate-authority-data"},
        {"a: b\n---\nc: d\n", "2 documents"},
        {"a: [", "config"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kube_auth a;
        struct error err = ERROR_INIT;

        cr_assert_lt(load(&a, cases[i].text, &err), 0, "%s", cases[i].text);
        cr_assert(strstr(err.msg, cases[i].words), "'%s' in: %s", cases[i].words, err.msg);
        kube_auth_fini(&a);
    }
}

Test(auth, in_cluster, .init = set_up, .fini = tear_down)
{
    struct kube_auth a;
    struct error err = ERROR_INIT;

    unsetenv("KUBERNETES_SERVICE_HOST");
    cr_assert_eq(kube_auth_in_cluster(&a, dir, &err), -ENOENT);
    kube_auth_fini(&a);
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    cr_assert_eq(kube_auth_in_cluster(&a, dir, &err), -ENOENT, "no token");
    kube_auth_fini(&a);
    put("token", "x");
    cr_assert_eq(kube_auth_in_cluster(&a, dir, &err), 0, "%s", err.msg);
    cr_assert_str_eq(a.server, "https://[fd00::1]:443");
    kube_auth_fini(&a);
}
