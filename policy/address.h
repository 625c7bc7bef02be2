#pragma once
/*
 * Addresses, CIDRs and protocol names as text. IPv4 is always held as ::ffff:a.b.c.d; text in the
 * form ::ffff:1.2.3.4 is refused, as the API server does for policies.
 */
#include "policy/rules.h"

#define ADDRESS_TEXT_MAX 64

/* Parses an IPv4 or IPv6 address without zone or leading zeros; false if it isn't one. */
bool address_parse(const char *text, uint8_t ret_addr[16]);
/* Also ::ffff:a.b.c.d, for the IPv4 address that a program reaches by it: as peer of a question. */
bool address_parse_mapped(const char *text, uint8_t ret_addr[16]);
bool address_is_v4(const uint8_t addr[16]);
/* Writes "10.0.0.1" or "fd00::1" and returns text. */
const char *address_format(const uint8_t addr[16], char text[ADDRESS_TEXT_MAX]);
/* Parses "10.0.0.0/8"; on failure *ret_why says what is wrong with it (static text). Host bits set
 * are an error. The entry's `except` becomes false. */
bool cidr_parse(const char *text, struct policy_cidr *ret_cidr, const char **ret_why);
/* IPv4 entries are written as such ("10.0.0.0/8"). */
const char *cidr_format(const struct policy_cidr *c, char text[ADDRESS_TEXT_MAX]);
bool cidr_is_v4(const struct policy_cidr *c);
/* By bits alone: "::/0" covers all of IPv4's ::ffff:0:0/96, though it does not mean it. */
bool cidr_covers(const struct policy_cidr *outer, const struct policy_cidr *inner);
/* "TCP", "udp", "ICMP", "132"...: protocol number 0..255, or -1. */
int protocol_parse(const char *text);
const char *protocol_name(int protocol); /* "TCP"; NULL if it has no name here */
bool protocol_has_ports(int protocol);   /* TCP, UDP, SCTP */
