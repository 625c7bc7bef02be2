#pragma once
/* Which user a container runs as: securityContext over the image's User over root. */
#include "agent/standalone/image.h"
#include "agent/standalone/pod.h"

/* OCI "user" object. Names are looked up in the image's own /etc/passwd and /etc/group. */
int user_make(const struct container *c, const struct image *image, json_t **ret,
              struct error *err);
