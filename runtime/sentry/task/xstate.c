#include "runtime/sentry/task/xstate.h"

#include "runtime/platform/platform.h"

#include <string.h>

enum {
    FX_BYTES = 512,
    SW_OFF = 464,    /* of a signal frame: magic, size, features */
    SW_FEATURES = 8, /* within */
    MAGIC2_BYTES = 4,
    MAGIC1 = 0x46505853,
};

/* Debuggers look for the mask of features where a frame has the software's bytes. */
size_t xstate_of_frame(uint8_t *frame)
{
    uint32_t magic;
    uint64_t features;

    memcpy(&magic, frame + SW_OFF, sizeof(magic));
    if (magic != MAGIC1)
        return FX_BYTES;
    memcpy(&features, frame + SW_OFF + SW_FEATURES, sizeof(features));
    memset(frame + SW_OFF, 0, FX_BYTES - SW_OFF);
    memcpy(frame + SW_OFF, &features, sizeof(features));
    return plat_fp_size() - MAGIC2_BYTES;
}
