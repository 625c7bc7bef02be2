#pragma once
/*
 * Exceptions to the guard from the agent's configuration, one a line, '#' begins a comment:
 *
 *   NAME ADDRESS PROTOCOL PORT[-PORT] all|namespaces=A,B|accounts=NS/NAME,.. [on-request]
 *
 * ADDRESS must be guarded as such, PROTOCOL is tcp, udp or sctp. With on-request a pod must also
 * name it in its annotation dev.berm.guard-exceptions; the annotation alone opens nothing.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXCEPTION_NAME_MAX = 64, EXCEPTION_FOR_MAX = 512, EXCEPTIONS_MAX = 48 };

struct enforce_exception {
    char name[EXCEPTION_NAME_MAX];
    uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t protocol; /* IPPROTO_* */
    uint16_t from, to;
    bool on_request, all;
    char namespaces[EXCEPTION_FOR_MAX], accounts[EXCEPTION_FOR_MAX]; /* ",a,b,", "" none */
    unsigned line;
};

struct enforce_exceptions {
    struct enforce_exception list[EXCEPTIONS_MAX];
    size_t n;
};

/* All of the text or nothing: -EINVAL with the line that is wrong, `ret` untouched. Refused as
 * well: an address that is not guarded, two entries of one name, two that overlap. */
int enforce_exceptions_parse(const char *text, struct enforce_exceptions *ret, struct error *err);
/* Does entry i hold for such a pod? `asked` is its annotation's value or NULL. */
bool enforce_exception_holds(const struct enforce_exception *x, const char *ns, const char *account,
                             const char *asked);
