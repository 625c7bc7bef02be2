#pragma once
/* What a pod finds besides its image: /etc/hosts, /etc/hostname, /etc/resolv.conf, and volumes. */
#include "agent/schema.h"
#include "agent/standalone/pod.h"

/* Makes POD/etc and POD/volumes. -ENOENT if a ConfigMap or Secret isn't there (yet). */
int pod_files_make(const struct pod *p, struct error *err);
void pod_files_unmount(const struct pod *p);
/* Brings its volumes of ConfigMaps and Secrets to their present versions. */
int pod_files_refresh(const struct pod *p, struct error *err);
const char *pod_hostname(const struct pod *p);
