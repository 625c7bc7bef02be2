#pragma once
/*
 * Volumes of ConfigMaps and Secrets. As with a kubelet, a reader sees one version of the object,
 * whole: files are below VOLUME/..VERSION, VOLUME/..data is a link to it that is replaced by
 * rename, and VOLUME/KEY a link to ..data/KEY.
 * (kubernetes.io/docs/concepts/configuration/configmap/)
 */
#include "agent/schema.h"
#include "agent/standalone/pod.h"

/* Fills `dir`, which exists. -ENOENT if the object isn't there and isn't optional. */
int source_volume_make(const struct pod *p, const json_t *volume, const char *dir,
                       struct error *err);
/* Writes the object's present version if it differs from what is there; a missing object changes
 * nothing. */
int source_volume_refresh(const struct pod *p, const json_t *volume, const char *dir,
                          struct error *err);
