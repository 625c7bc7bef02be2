#include "tests/bpf/mutate.h"

#include <stdio.h>
#include <string.h>

static uint64_t state;

static uint32_t rnd(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

void mutate_seed(uint64_t seed)
{
    state = seed * 2 + 1;
}

static const char *const targets[] = {
    "169.254.169.254", "169.254.170.2", "168.63.129.16",      "169.254.2.9",
    "100.100.100.200", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    "fe80::a9fe:a9fe", "::a9fe:a9fe",   "fd00:42::42",        "10.77.2.2",
    "fd77:2::2",       "ff02::1",
};

void mutate_base(const struct judge *j, struct frame *f)
{
    static const uint8_t protocols[] = {6, 17, 1, 58, 132, 4, 41, 47, 50, 51, 200};
    const struct lab_host *h = &j->lab.hosts[LAB_POD];
    const char *target = targets[rnd(ARRAY_SIZE(targets))];
    int family = strchr(target, ':') ? 6 : 4;
    uint8_t local[16], remote[16], protocol = protocols[rnd(ARRAY_SIZE(protocols))];
    static const uint16_t ports[] = {80, 53, 123, 67, 68, 3260, 443, 546, 547, 4789};

    lab_address(family == 4 ? h->v4 : h->v6, local);
    lab_address(target, remote);
    frame_ether(f, h->gateway_mac, h->mac, family == 4 ? 0x0800 : 0x86dd);
    frame_ip(f, family, local, remote, rnd(2) ? 255 : 64);
    for (uint32_t i = rnd(3); family == 6 && i; i--)
        frame_extension(f, (uint8_t)(rnd(4) ? 60 : 0), 8 + 8 * rnd(3), 0);
    if (!rnd(4))
        frame_fragment(f, rnd(3) * 8 * rnd(200), (int)rnd(2), rnd(4));
    if (protocol == 1 || protocol == 58)
        frame_icmp(f, (uint8_t)(rnd(2) ? rnd(256) : 128 + rnd(16)), (uint16_t)rnd(4));
    else
        frame_l4(f, protocol, ports[rnd(ARRAY_SIZE(ports))], ports[rnd(ARRAY_SIZE(ports))],
                 (uint8_t)rnd(256), 64);
    frame_bytes(f, "0123456789abcdef0123456789abcdef", rnd(33));
    frame_end(f);
}

void mutate(struct frame *f)
{
    static const uint8_t metadata[4] = {169, 254, 169, 254};
    static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0842};

    for (uint32_t i = rnd(5); i; i--) {
        size_t at = 12 + rnd((uint32_t)f->size - 12);

        switch (rnd(8)) {
        case 0:
        case 1:
            f->data[at] = (uint8_t)rnd(256);
            break;
        case 2:
            f->data[at] ^= (uint8_t)(1u << rnd(8));
            break;
        case 3:
            if (at + 4 <= f->size)
                memcpy(f->data + at, metadata, 4);
            break;
        case 4:
            f->size = 15 + rnd((uint32_t)f->size - 14);
            break;
        case 5:
            f->data[12] = (uint8_t)(types[rnd(6)] >> 8);
            f->data[13] = (uint8_t)types[rnd(6)];
            break;
        case 6: /* an IPv4 header length, with what lies behind moved */
            f->data[14] = (uint8_t)(0x40 | rnd(16));
            break;
        case 7:
            if (f->size + 8 < FRAME_MAX && at + 8 < f->size) {
                memmove(f->data + at + 4, f->data + at, f->size - at);
                f->size += 4;
            }
            break;
        }
    }
}

void mutate_fail(const struct frame *f, uint64_t seed, const char *what)
{
    char hex[2 * 160 + 1] = "";

    for (size_t i = 0; i < f->size && i < 160; i++)
        snprintf(hex + 2 * i, 3, "%02x", f->data[i]);
    tap_ok(false, "seed %llu: %s: %s", (unsigned long long)seed, what, hex);
}

bool mutate_is_link_control(const struct frame *f)
{
    unsigned type = (unsigned)f->data[12] << 8 | f->data[13];
    size_t at = 54;
    uint8_t next = f->data[20];

    if (type == 0x0806)
        return true;
    if (type != 0x86dd || f->size < 58)
        return false;
    for (int i = 0; i < 8 && (next == 0 || next == 60 || next == 44) && at + 8 <= f->size; i++) {
        size_t size = next == 44 ? 8 : ((size_t)f->data[at + 1] + 1) * 8;

        next = f->data[at];
        at += size;
    }
    return next == 58 && at < f->size && f->data[at] >= 130 && f->data[at] <= 143;
}
