#pragma once
/*
 * How the agent asks whether all is as it wrote it: sums and comparisons that the kernel makes.
 * None of it is in a map that outlives the process.
 */
#include "bpf/include/types.h"

/* Words of an entry into one number; what one writes and another reads back must come to the same.
 */
static inline __u64 berm_digest(__u64 h, const void *data, __u32 size)
{
    const __u8 *p = (const __u8 *)data;
    __u64 word;
    __u32 rest;

    for (; size >= 8; p += 8, size -= 8) {
        __builtin_memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    if (size >= 4) {
        __builtin_memcpy(&rest, p, 4);
        h = (h ^ rest) * 0x9e3779b97f4a7c15ULL;
    }
    return h ^ h >> 32;
}

/* Whose entries are summed up: */
struct berm_tally_keys {
    __u32 n_ifaces, n_sources, n_spaces, pad;
    __u32 ifaces[BERM_IFACES_MAX];
    struct berm_addr sources[BERM_SOURCES_MAX];
    __u64 spaces[BERM_NETNS_MAX];
};

/* A map as a whole: how many entries, and the sum of what each comes to. */
struct berm_tally {
    __u64 n, sum;
};
struct berm_tallies {                                            /* of one engine's */
    struct berm_tally ifaces, sources, spaces, exceptions, rows; /* rows: only n */
};

/* Our links as the kernel has them: how many, and the sum of what each comes to. */
enum { BERM_WATCH_PROGRAMS = 64, BERM_WATCH_LINKS = 1 << 15 };
struct berm_watch {
    __u64 links, sum;
};
static inline __u64 berm_watch_mix(__u32 link_id, __u32 program_id, __u32 place)
{
    __u64 h = ((__u64)link_id << 32 | program_id) + place * 0x9e3779b97f4a7c15ULL;

    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ h >> 27) * 0x94d049bb133111ebULL;
    return h ^ h >> 31;
}

/* Entries of the rules' maps. */
struct berm_counts {
    __u64 hosts, cidrs, ports;
};

/* Some of those entries with what they must hold, to be compared in the kernel. */
enum { BERM_CHECKS_MAX = 1024 };
enum berm_check_map { BERM_CHECK_HOSTS, BERM_CHECK_CIDRS, BERM_CHECK_PORTS };
struct berm_check {
    union {
        struct berm_host_key host;
        struct berm_cidr_key cidr;
        struct berm_port_key port;
    };
    union {
        struct berm_class class;
        struct berm_verdict verdict;
    };
    __u32 map;     /* enum berm_check_map */
    __u32 differs; /* the answer */
};
struct berm_checks {
    __u32 n, differing;
    struct berm_check list[BERM_CHECKS_MAX];
};
