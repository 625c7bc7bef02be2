#pragma once
/* What `do` shows of this machine's other file systems. */
#include <jansson.h>

/* Appends what binds `path` to the same place. mode: "ro", "rw". */
void mounts_bind(json_t *mounts, const char *path, const char *mode);
/* File systems that hold files and answer, read-only; the kernel's own and container images' are
 * left out. */
void host_mounts_add(json_t *mounts);
