#include "agent/modes.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    enum berm_mode mode;
} names[] = {
    {"none", BERM_MODE_NONE}, {"sandboxed", BERM_MODE_SANDBOXED},
    {"all", BERM_MODE_ALL},   {"off", BERM_MODE_NONE},
    {"on", BERM_MODE_ALL},
};

const char *mode_name(enum berm_mode mode)
{
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].mode == mode)
            return names[i].name;
    return "?";
}

int mode_parse(const char *text, enum berm_mode *ret)
{
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].name, text) == 0) {
            *ret = names[i].mode;
            return 0;
        }
    return -EINVAL;
}
