/* Which directions have their blocks found by length: those with many blocks of few lengths. */
#include "policy/backends/bpf/internal.h"

#include <string.h>

enum { MANY = 64, LENGTHS = 128 };

struct lengths {
    bool used[BPF_FAMILIES][LENGTHS];
    size_t n_blocks;
};

/* Blocks that are shorter than the IPv4 part's prefix may hold both families. */
static void note(struct lengths *l, const struct bpf_peer *block)
{
    static const struct berm_addr mapped = {.b = {[10] = 0xff, 0xff}};
    unsigned bits = block->prefix < 96 ? block->prefix : 96;
    bool four = !memcmp(&block->addr, &mapped, bits / 8) &&
                !((block->addr.b[bits / 8] ^ mapped.b[bits / 8]) & (uint8_t)(0xff00 >> bits % 8));

    l->n_blocks++;
    if (four)
        l->used[BPF_V4][block->prefix] = true;
    if (!four || block->prefix < 96)
        l->used[BPF_V6][block->prefix] = true;
}

/* Longest first; false: too many. */
static bool pack(const bool used[LENGTHS], __u32 *ret)
{
    int n = 0;

    *ret = 0;
    for (unsigned length = LENGTHS; length-- > 0;) {
        if (!used[length])
            continue;
        if (n == BERM_LENGTHS_MAX)
            return false;
        *ret |= (length + 1) << (8 * n++);
    }
    return true;
}

void bpf_lengths_choose(struct bpf_tables *t)
{
    struct lengths all[POLICY_DIRECTION_MAX] = {0};

    for (size_t i = 0; i < t->n_peers; i++) {
        if (t->peers[i].prefix < LENGTHS)
            note(&all[t->peers[i].direction], &t->peers[i]);
    }
    for (int d = 0; d < POLICY_DIRECTION_MAX; d++) {
        __u32 *lengths = t->lengths[d];

        if (all[d].n_blocks < MANY || !pack(all[d].used[BPF_V4], &lengths[BPF_V4]) ||
            !pack(all[d].used[BPF_V6], &lengths[BPF_V6]))
            memset(lengths, 0, sizeof(t->lengths[d]));
    }
}
