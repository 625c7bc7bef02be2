#pragma once
/* Frames by hand from the pod's device to the node's, by a packet socket. */
#include "tests/bpf/frames.h"
#include "tests/bypass/bypass.h"

struct virtio_net_hdr;

/* IP header in place, as an honest frame would begin. source NULL: the pod's own address. */
void craft_begin(const struct bypass *b, struct frame *f, const char *source, const char *to);
/* A whole UDP packet from there to there, as what a tunnel carries. */
void craft_udp(const struct bypass *b, struct frame *f, const char *source, const char *to);
/* Fills in lengths and sends. 0 or -errno. */
int craft_put(struct frame *f);
/* The same, with the work that the sender leaves to the kernel. */
int craft_put_offload(struct frame *f, const struct virtio_net_hdr *work);
