#pragma once
/*
 * Image layers: a tar (plain, gzip or zstd) is unpacked over what earlier layers left, with OCI
 * whiteouts, while its bytes are hashed. Layers are hostile: no path leaves the directory, and
 * what is unpacked counts only once the digest has been found right.
 */
#include "common/error.h"

#include <stdint.h>

/* "sha256:<64 hex>"; anything else is refused, so that a digest is also a safe file name. */
int digest_check(const char *digest, struct error *err);
/* Digest of a buffer. */
int digest_of(const void *data, size_t size, char ret_hex[65]);

/* Unpacks fd into the working directory (which the caller has changed to: run in a process of its
 * own). -EBADMSG if the digest differs, -E2BIG over the limits; then the directory's content is to
 * be thrown away. */
int unpack_layer(int fd, const char *digest, uint64_t size, struct error *err);
