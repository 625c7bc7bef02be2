#pragma once
/*
 * The broker's wire protocol: SOCK_SEQPACKET, one request packet (a head, then data), one reply. A
 * request may carry the socket that it is about; the reply to BROKER_SOCKET carries a new one.
 * Both ends are forks of one program. The sentry may be compromised: the broker trusts no field.
 */
#include <stdint.h>

enum broker_op {
    BROKER_SOCKET, /* family, type, protocol -> a socket */
    BROKER_OPTION, /* level, name, data: the value; with a socket. A filter's value is its program
                    */
    BROKER_BIND,   /* data: the address; with a socket */
    BROKER_OP_COUNT
};

enum {
    BROKER_DATA_MAX = 32768,    /* a filter of 4096 instructions */
    BROKER_RING_MAX = 16 << 20, /* bytes of one ring of a packet socket */
};

struct broker_request {
    uint32_t op;
    int32_t family, type, protocol; /* BROKER_OPTION: level, name, unused */
};

struct broker_reply {
    int32_t result; /* 0 or -errno */
};
