#pragma once
/* Questions about everything at once, for sweeps: the kernel sums up or compares
 * (bpf/include/audit.h).
 */
#include "agent/enforce/internal.h"
#include "bpf/include/audit.h"

/* tally.c: a map as a whole */
void tally_open(struct enforce *e);
void tally_close(struct enforce *e);
void tally_look(struct enforce *e); /* what the kernel counts, for what follows in this sweep */
void tally_add(struct berm_tally *t, const void *key, size_t key_size, const void *value,
               size_t value_size);
/* false: its entries are not exactly those that were added, or the kernel can't tell at once. */
bool tally_matches(const struct enforce *e, enum enforce_map map, size_t key_size,
                   size_t value_size, const struct berm_tally *want);
/* false: not that many entries, or the kernel can't tell at once. */
bool tally_has(const struct enforce *e, enum enforce_map map, uint64_t n);
/* Number of entries of a hash map that were taken out of it. */
int tally_remove_foreign(struct enforce *e, enum enforce_map map, size_t key_size,
                         bool (*is_ours)(const struct enforce *e, const void *key));

/* counts.c: look before the agent itself changes rules' maps, settle after that. */
void counts_open(struct enforce *e);
void counts_close(struct enforce *e);
void counts_look(struct enforce *e);
void counts_settle(struct enforce *e);

/* watch.c: one question about all links. Programs of ours are made known as they are loaded. */
void watch_open(struct enforce *e);
void watch_close(struct enforce *e);
void watch_program(struct enforce *e, uint32_t id, bool storage); /* its cgroup's counts, too */
void watch_storage(struct enforce *e, enum berm_engine engine, int map);
/* false: some link is not as we have it, or the kernel can't say. */
bool watch_intact(const struct enforce *e);
