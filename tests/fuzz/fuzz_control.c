/*
 * Messages of the control socket, both ways: answers as the runtime reads them from a sentry that
 * may be hostile, and the parts of requests of which the sentry makes structures: process, mounts,
 * seccomp profile.
 */
#include "runtime/oci/control.h"
#include "runtime/sentry/container_spec.h"
#include "runtime/sentry/control/seccomp_profile.h"
#include "runtime/sentry/syscalls/seccomp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_request(json_t *json)
{
    struct error err = ERROR_INIT;
    struct process_spec process;
    struct tree_spec tree;
    void *filter = NULL;

    if (process_spec_parse(json_object_get(json, "process"), &process, &err) == 0) {
        cred_put(process_spec_cred(&process));
        process_spec_fini(&process);
    }
    if (tree_spec_parse(json, &tree, &err) == 0)
        tree_spec_fini(&tree);
    if (seccomp_profile_compile(json_object_get(json, "seccomp"), &filter, &err) == 0 && filter) {
        (void)seccomp_allows_local(filter);
        seccomp_put(filter);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    json_t *json = NULL;

    if (control_parse((const char *)data, size, &json, &err) == 0)
        json_decref(json);
    json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (json)
        read_request(json);
    json_decref(json);
    return 0;
}
