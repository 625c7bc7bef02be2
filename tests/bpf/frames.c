#include "tests/bpf/frames.h"
