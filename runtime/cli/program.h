#pragma once
/* Which program serves which sandbox. */
#include "runtime/cli/cli.h"
#include "runtime/oci/state.h"

/* The path of this program, all links followed; "" if it can't be told. */
void program_self(char *ret, size_t size);
/* Runs the whole command by the program that the state records, and does not return then. 0: this
 * is it, or there is none to hand over to. To be called before anything was done that can't be done
 * twice (standard input read, say). */
int program_hand_over(const struct cli *cli, const struct state *s, struct error *err);
