#pragma once
/* Namespaces given by path (config-linux.md, "Namespaces"). */
struct error;
struct oci_spec;

/* Each path that can be opened must be a namespace of its type: -EINVAL, with a message that names
 * member and path. One that is gone is not looked at: the sandbox has its own. */
int namespaces_check(const struct oci_spec *spec, struct error *err);
