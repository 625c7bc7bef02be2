#pragma once
/* Frames by parts: each call appends a header; frame_end fills in lengths and protocols. */
#include <stddef.h>
#include <stdint.h>

enum { FRAME_MAX = 2048 };

struct frame {
    uint8_t data[FRAME_MAX];
    size_t size;
    size_t ip; /* offset of the IP header, 0 none */
    int family;
    int next; /* offset of the byte that names the next header; -1 none */
};

void frame_ether(struct frame *f, const uint8_t dst[6], const uint8_t src[6], uint16_t type);
/* Addresses in 16-byte form; the ether type must say the same family. */
void frame_ip(struct frame *f, int family, const uint8_t src[16], const uint8_t dst[16], int hops);
/* IPv6: an extension header of that type and size (multiple of 8), body zero but `byte2`. */
void frame_extension(struct frame *f, uint8_t type, size_t size, uint8_t byte2);
/* Marks the packet as a fragment (IPv4: in the header; IPv6: a fragment header). */
void frame_fragment(struct frame *f, unsigned offset, int more, uint32_t id);
void frame_options(struct frame *f, const uint8_t *options, size_t size); /* IPv4 */
/* The L4 header, cut to `size` bytes if that is shorter; flags: TCP's. */
void frame_l4(struct frame *f, uint8_t protocol, uint16_t sport, uint16_t dport, uint8_t flags,
              size_t size);
void frame_icmp(struct frame *f, uint8_t type, uint16_t id);
void frame_bytes(struct frame *f, const void *data, size_t size);
void frame_end(struct frame *f);
void frame_checksum(struct frame *f); /* IPv4: of the header, after frame_end */
