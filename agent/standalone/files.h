#pragma once
/* What a pod finds besides its image: /etc/hosts, /etc/hostname, /etc/resolv.conf, and volumes. */
#include "agent/schema.h"
#include "agent/standalone/pod.h"

/* Makes POD/etc and POD/volumes. -ENOENT if a ConfigMap or Secret isn't there (yet). */
int pod_files_make(const struct pod *p, struct error *err);
void pod_files_unmount(const struct pod *p);
/* Host path of a volume. */
void volume_path(const struct pod *p, const json_t *volume, char *ret, size_t size);
/* Value of a key of a ConfigMap or Secret, decoded; free it. -ENOENT if it isn't there. */
int source_value(const struct pod *p, bool secret, const char *name, const char *key,
                 char **ret_data, size_t *ret_size, struct error *err);
const char *pod_hostname(const struct pod *p);
