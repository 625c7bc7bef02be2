/* An OCI config.json as a hostile bundle would have it. */
#include "runtime/oci/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct oci_spec spec;

    if (oci_spec_parse((const char *)data, size, "config.json", &spec, &err) == 0)
        oci_spec_free(&spec);
    return 0;
}
