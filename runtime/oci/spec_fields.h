#pragma once
/* Tables for oci_read_fields: of struct oci_spec, oci_process and oci_resources. */
#include "runtime/oci/spec.h"

extern const struct oci_field oci_spec_fields[], oci_process_fields[], oci_resources_fields[];
