/* YAML from a manifest file: any bytes. */
#include "common/yaml.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct yaml_doc *docs;
    size_t n;

    if (yaml_load_all((const char *)data, size, "fuzz", &docs, &n, &err) < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        (void)yaml_doc_line(&docs[i], "spec.egress[0].to[1]");
    yaml_docs_free(docs, n);
    return 0;
}
