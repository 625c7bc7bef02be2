/*
 * Control messages (cmsg(3)) in sentry memory. Layout and rounding are those of the x86-64 ABI,
 * which is the host's, so the macros of the C library serve. Sizes come from the guest: every step
 * is checked against what is left.
 */
#include "runtime/guard.h"
#include "runtime/sentry/net/socket.h"

#include <string.h>

bool control_next(const struct sockmsg *m, size_t *at, struct control *ret, int *ret_error)
{
    struct cmsghdr h;

    *ret_error = 0;
    if (*at >= m->control_size || m->control_size - *at < sizeof(h))
        return false;
    memcpy(&h, m->control + *at, sizeof(h));
    if (GUARDED(MESSAGE_SIZES) && (h.cmsg_len < sizeof(h) || h.cmsg_len > m->control_size - *at)) {
        *ret_error = -EINVAL;
        return false;
    }
    ret->level = h.cmsg_level;
    ret->type = h.cmsg_type;
    ret->data = m->control + *at + CMSG_LEN(0);
    ret->size = h.cmsg_len - CMSG_LEN(0);
    *at += CMSG_ALIGN(h.cmsg_len);
    return true;
}

void control_put(struct sockmsg *m, int level, int type, const void *data, size_t size)
{
    struct cmsghdr h = {.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
    size_t room = m->control_max - m->control_size, space = CMSG_SPACE(size);

    if (room < sizeof(h)) {
        m->flags |= MSG_CTRUNC;
        return;
    }
    if (room < h.cmsg_len) {
        m->flags |= MSG_CTRUNC;
        h.cmsg_len = room;
    }
    memcpy(m->control + m->control_size, &h, sizeof(h));
    memcpy(m->control + m->control_size + CMSG_LEN(0), data, h.cmsg_len - CMSG_LEN(0));
    if (space > h.cmsg_len && room > h.cmsg_len) /* no stale sentry bytes in the padding */
        memset(m->control + m->control_size + h.cmsg_len, 0, MIN(space, room) - h.cmsg_len);
    m->control_size += MIN(space, room);
}
