#include "tests/bpf/frames.h"

#include <string.h>

static uint8_t *grow(struct frame *f, size_t size)
{
    uint8_t *at = f->data + f->size;

    memset(at, 0, size);
    f->size += size;
    return at;
}

static void put16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

void frame_ether(struct frame *f, const uint8_t dst[6], const uint8_t src[6], uint16_t type)
{
    uint8_t *at;

    memset(f, 0, sizeof(*f));
    f->next = -1;
    at = grow(f, 14);
    memcpy(at, dst, 6);
    memcpy(at + 6, src, 6);
    put16(at + 12, type);
}

void frame_ip(struct frame *f, int family, const uint8_t src[16], const uint8_t dst[16], int hops)
{
    uint8_t *at;

    f->ip = f->size;
    f->family = family;
    at = grow(f, family == 4 ? 20 : 40);
    if (family == 4) {
        at[0] = 0x45;
        at[8] = (uint8_t)hops;
        memcpy(at + 12, src + 12, 4);
        memcpy(at + 16, dst + 12, 4);
        f->next = (int)f->ip + 9;
    } else {
        at[0] = 0x60;
        at[7] = (uint8_t)hops;
        memcpy(at + 8, src, 16);
        memcpy(at + 24, dst, 16);
        f->next = (int)f->ip + 6;
    }
}

void frame_extension(struct frame *f, uint8_t type, size_t size, uint8_t byte2)
{
    uint8_t *at;

    f->data[f->next] = type;
    f->next = (int)f->size;
    at = grow(f, size);
    at[1] = (uint8_t)(size / 8 - 1);
    at[2] = byte2;
}

void frame_fragment(struct frame *f, unsigned offset, int more, uint32_t id)
{
    if (f->family == 4) {
        put16(f->data + f->ip + 4, id & 0xffff);
        put16(f->data + f->ip + 6, offset / 8 | (more ? 0x2000u : 0));
        return;
    }
    frame_extension(f, 44, 8, 0);
    f->data[f->next + 1] = 0;
    put16(f->data + f->next + 2, offset | (more ? 1u : 0));
    put16(f->data + f->next + 4, id >> 16);
    put16(f->data + f->next + 6, id & 0xffff);
}

void frame_options(struct frame *f, const uint8_t *options, size_t size)
{
    memcpy(grow(f, size), options, size);
    f->data[f->ip] = (uint8_t)(0x45 + size / 4);
}

void frame_l4(struct frame *f, uint8_t protocol, uint16_t sport, uint16_t dport, uint8_t flags,
              size_t size)
{
    size_t whole = protocol == 6 ? 20 : protocol == 132 ? 12 : 8;
    size_t start = f->size;
    uint8_t *at = grow(f, whole);

    put16(at, sport);
    put16(at + 2, dport);
    if (protocol == 17)
        put16(at + 4, (unsigned)whole);
    if (protocol == 6) {
        at[12] = 5 << 4;
        at[13] = flags;
    }
    f->data[f->next] = protocol;
    if (size < whole)
        f->size = start + size;
}

void frame_icmp(struct frame *f, uint8_t type, uint16_t id)
{
    uint8_t *at = grow(f, 8);

    at[0] = type;
    put16(at + 4, id);
    f->data[f->next] = f->family == 4 ? 1 : 58;
}

void frame_bytes(struct frame *f, const void *data, size_t size)
{
    memcpy(grow(f, size), data, size);
}

void frame_end(struct frame *f)
{
    size_t size = f->size - f->ip;

    if (!f->ip)
        return;
    if (f->family == 4)
        put16(f->data + f->ip + 2, (unsigned)size);
    else
        put16(f->data + f->ip + 4, (unsigned)(size - 40));
}

void frame_checksum(struct frame *f)
{
    uint32_t sum = 0;
    size_t size;

    if (!f->ip || f->family != 4)
        return;
    size = (size_t)(f->data[f->ip] & 15) * 4;
    f->data[f->ip + 10] = f->data[f->ip + 11] = 0;
    for (size_t i = 0; i < size; i += 2)
        sum += (uint32_t)f->data[f->ip + i] << 8 | f->data[f->ip + i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    f->data[f->ip + 10] = (uint8_t)(~sum >> 8);
    f->data[f->ip + 11] = (uint8_t)~sum;
}
