#pragma once
/* Frames from the pod of a judge, to addresses of every kind, and what may be wrong with them. */
#include "tests/bpf/judge.h"

#include <stdint.h>

void mutate_seed(uint64_t seed);
void mutate_base(const struct judge *j, struct frame *f); /* sound */
void mutate(struct frame *f);                             /* none to four changes */
/* A failed test that shows the frame. */
void mutate_fail(const struct frame *f, uint64_t seed, const char *what);
/* What may leave a pod that is denied everything: ARP, neighbour discovery, MLD. */
bool mutate_is_link_control(const struct frame *f);
