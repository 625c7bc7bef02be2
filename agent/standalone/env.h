#pragma once
/* Environment and arguments of a container: image defaults, env, envFrom, $(NAME) expansion. */
#include "agent/standalone/image.h"
#include "agent/standalone/pod.h"

/* JSON array of "NAME=VALUE". -ENOENT if a ConfigMap or Secret isn't there. */
int env_make(const struct container *c, const struct image *image, json_t **ret, struct error *err);
/* Replaces $(NAME) by its value in env, $$ by $; unknown names stay. NULL if memory is short. */
json_t *env_expand(const char *text, const json_t *env);
