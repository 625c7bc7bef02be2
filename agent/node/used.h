#pragma once
/* Which of the programs on a node are in use: by what berm's containers' states say. */
#include <stddef.h>

/* Whether any state below root was made by a program in dir (an absolute path), or may have been: 1
 * or 0, or negative if that can't be told. */
int used_program(const char *root, const char *dir);

struct used_live {
    size_t n;
    char first[129]; /* id of one of them */
};
/* Containers below root whose monitor lives, whoever made them. */
int used_live(const char *root, struct used_live *ret);
