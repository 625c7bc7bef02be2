#pragma once
/* Inside of plane C: one batch of nftables messages, and what goes into it. */
#include "agent/enforce/internal.h"

#include <libmnl/libmnl.h>

struct nftnl_rule;

struct nft_batch {
    struct mnl_nlmsg_batch *batch;
    char *buffer;
    const char *table;
    struct nlmsghdr *last;
    uint32_t seq;
    uint32_t sets; /* ids given so far */
    bool failed;   /* out of memory: nothing is sent */
};

enum nft_set { NFT_DEVICES, NFT_BRIDGES, NFT_PODS4, NFT_PODS6, NFT_SETS };

/* Header of the next message; nft_put_end after its payload. */
struct nlmsghdr *nft_put(struct nft_batch *b, uint16_t type, uint16_t flags);
void nft_put_end(struct nft_batch *b);
/* A named set; then its elements, n of `size` bytes each. */
void nft_add_set(struct nft_batch *b, const char *name, uint32_t type, uint32_t size);
void nft_add_elements(struct nft_batch *b, const char *name, const void *data, size_t n,
                      size_t size);
void nft_add_rule(struct nft_batch *b, struct nftnl_rule *rule); /* takes the rule */
void nft_add_chain(struct nft_batch *b, const char *name, int hook,
                   int priority); /* hook < 0: none */

/* nft_rules.c: chains, sets and rules of the guard; the sets of pods are left empty. */
void nft_guard(struct nft_batch *b, const struct enforce_exceptions *exceptions);
/* The set of pods that exception i holds for, by their addresses of its family. */
void nft_exempt_name(size_t i, char *name, size_t size);
bool nft_is_v4(const uint8_t addr[16]);
const char *nft_set_name(enum nft_set set);
