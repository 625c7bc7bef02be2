#pragma once
/*
 * Who we are to the API server and where it is: from a pod's service account, or from a kubeconfig
 * file. What other programs would have to be run for (exec, auth-provider) and what isn't supported
 * (proxy-url, tls-server-name, passwords) is refused by name. Secrets are never logged.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

#define KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

struct kube_blob {
    char *data;
    size_t size;
};

struct kube_auth {
    char *server; /* "https://10.0.0.1:6443", without a slash at the end */
    char *ca_file, *token_file, *cert_file, *key_file;
    char *token; /* as it stands in a kubeconfig */
    struct kube_blob ca, cert, key;
    const char *unix_socket; /* NULL: TCP; borrowed */
    bool insecure;
};

/* From KUBERNETES_SERVICE_HOST/PORT and the files in dir (KUBE_SERVICE_ACCOUNT). */
int kube_auth_in_cluster(struct kube_auth *a, const char *dir, struct error *err);
/* From the current context of a kubeconfig file; relative paths are relative to it. */
int kube_auth_kubeconfig(struct kube_auth *a, const char *path, struct error *err);
void kube_auth_fini(struct kube_auth *a);
/* Reads what stands in files into memory, once: for short-lived programs that leave this root. */
int kube_auth_freeze(struct kube_auth *a, struct error *err);
/* The bearer token as it is now: the file is read every time, it rotates. *ret NULL: none; free. */
int kube_auth_token(const struct kube_auth *a, char **ret, struct error *err);
