#pragma once
/*
 * Where a container's files come from: dir:/PATH, host: (this machine's root), or
 * oci:/PATH:TAG, an OCI image layout that is verified and unpacked once into a cache keyed by the
 * manifest's digest.
 */
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

struct image {
    char *root;     /* directory with the files, not to be written to */
    json_t *config; /* "config" of the image configuration (Entrypoint, Cmd, Env...), or NULL */
    bool host;
};

/* May take long, changes the working directory: run in a process of its own. */
int image_resolve(const char *image, const char *cache_dir, struct image *ret, struct error *err);
void image_fini(struct image *i);
