#pragma once
/* Names of the two switches' positions. */
#include "bpf/include/types.h"

const char *mode_name(enum berm_mode mode); /* "none", "sandboxed", "all" */
/* Also "off" and "on". -EINVAL for anything else. */
int mode_parse(const char *text, enum berm_mode *ret);
