#pragma once
/* A process by number and start time: numbers are reused, the pair is not. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Start time in clock ticks since boot (field 22 of /proc/PID/stat); 0 if there is no such process
 * or it is a zombie. */
uint64_t procid_start(pid_t pid);
