#pragma once
/*
 * The container runtimes that a node may have, as rows: where each keeps its configuration, how a
 * handler is put there, and what has to be done for it to be read.
 */
#include <stdbool.h>
#include <stddef.h>

enum { FLAVOUR_UNITS_MAX = 5 };

enum flavour_place {
    PLACE_FILE,     /* a block at the end of the configuration itself */
    PLACE_TEMPLATE, /* of a template from which the runtime's configuration is made at its start */
    PLACE_DROP_IN,  /* a file of its own, in a folder that is always read */
};

enum flavour_format { FORMAT_CONTAINERD, FORMAT_CRIO };

struct flavour {
    const char *name;
    const char *socket;    /* of CRI */
    const char *mark;      /* a path that is there where this is what runs */
    const char *config;    /* the runtime's own file, "" if there is none to look at */
    const char *target;    /* what is written; NULL: the configuration itself */
    const char *target_v3; /* instead, where containerd is 2.0 or later; NULL: the same */
    const char *preamble;  /* begins a target that isn't there yet; NULL: none */
    enum flavour_place place;
    enum flavour_format format;
    const char *binaries[4];
    const char *units[FLAVOUR_UNITS_MAX]; /* of systemd: that which is active is restarted */
    const char *unit_verb;                /* NULL: reads changes by itself */
};

extern const struct flavour flavours[];
extern const size_t n_flavours;
/* By name; NULL if there is none of it. */
const struct flavour *flavour_find(const char *name);
/* What this host has: the one whose socket is there, else the one whose mark is. NULL: none. */
const struct flavour *flavour_detect(void);
