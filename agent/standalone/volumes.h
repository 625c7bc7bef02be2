#pragma once
/* A pod's volumes, POD/volumes/NAME. */
#include "agent/schema.h"
#include "agent/standalone/pod.h"

/* Host path of a volume. */
void volume_path(const struct pod *p, const json_t *volume, char *ret, size_t size);
/* -ENOENT if its ConfigMap or Secret isn't there (yet). */
int volume_make(const struct pod *p, const json_t *volume, struct error *err);
void volume_unmount(const struct pod *p, const json_t *volume);
