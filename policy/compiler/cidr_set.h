#pragma once
/*
 * Sets of addresses as few CIDRs: contained entries dropped, neighbours merged, exceptions kept as
 * exceptions. IPv4 and IPv6 never merge, and an IPv6 entry that spans ::ffff:0:0/96 (such as ::/0)
 * gets that as an exception: it does not mean IPv4.
 */
#include "policy/rules.h"

struct cidr_list {
    struct policy_cidr *at;
    size_t n, capacity;
};

void cidr_list_fini(struct cidr_list *l);
int cidr_list_add(struct cidr_list *l, const struct policy_cidr *c); /* 0 or -ENOMEM */
int cidr_list_add_address(struct cidr_list *l, const uint8_t addr[16]);
/* Sorts and merges; `except` is of no account. */
void cidr_list_merge(struct cidr_list *l);

/* What both of two merged lists hold, merged. 0 or -ENOMEM. */
int cidr_list_intersect(const struct cidr_list *a, const struct cidr_list *b,
                        struct cidr_list *ret);

/* What rules.h asks of a rule's cidrs: one group is one rule. */
struct cidr_group {
    struct policy_cidr *cidrs;
    size_t n_cidrs, n_includes;
};
void cidr_groups_free(struct cidr_group *g, size_t n);

/* A block with its exceptions. */
struct cidr_block {
    struct policy_cidr include;
    struct cidr_list excepts;
};
struct cidr_set {
    struct cidr_list plain;
    struct cidr_block *blocks;
    size_t n_blocks, capacity;
};

void cidr_set_fini(struct cidr_set *s);
/* Adds `include` less the excepts. 0 or -ENOMEM. */
int cidr_set_add_block(struct cidr_set *s, const struct policy_cidr *include,
                       const struct policy_cidr *excepts, size_t n);
/* The union of all as groups (the set is used up). *ret_any: it is every address. */
int cidr_set_groups(struct cidr_set *s, struct cidr_group **ret, size_t *ret_n, bool *ret_any);
