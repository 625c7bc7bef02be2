#include "agent/cri/protobuf.h"

#include "common/cleanup.h"

#include <string.h>

enum wire { VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 };

struct pb pb_message(const void *data, size_t size)
{
    return (struct pb){.at = data, .end = (const uint8_t *)data + size};
}

static bool fail(struct pb *m)
{
    m->broken = true;
    m->at = m->end;
    return false;
}

static bool take_varint(struct pb *m, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t byte = *m->at++;

        *ret |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return fail(m);
}

static bool skip(struct pb *m, size_t size, struct pb *ret)
{
    if ((size_t)(m->end - m->at) < size)
        return fail(m);
    *ret = pb_message(m->at, size);
    m->at += size;
    return true;
}

bool pb_next(struct pb *m, struct pb_field *ret)
{
    uint64_t tag, size;

    *ret = (struct pb_field){0};
    if (m->at >= m->end || !take_varint(m, &tag))
        return false;
    ret->number = (uint32_t)(tag >> 3);
    switch ((enum wire)(tag & 7)) {
    case VARINT:
        return take_varint(m, &ret->value);
    case BYTES:
        return take_varint(m, &size) &&
               (size <= SIZE_MAX / 2 ? skip(m, size, &ret->data) : fail(m));
    case FIXED64:
        return skip(m, 8, &ret->data);
    case FIXED32:
        return skip(m, 4, &ret->data);
    case GROUP:
    case GROUP_END:
        break;
    }
    return fail(m);
}

const char *pb_text(const struct pb *data, char *ret, size_t size)
{
    size_t n = MIN((size_t)(data->end - data->at), size - 1);

    for (size_t i = 0; i < n; i++)
        ret[i] = data->at[i] < ' ' || data->at[i] == 0x7f ? '?' : (char)data->at[i];
    ret[n] = 0;
    return ret;
}

bool pb_is(const struct pb *data, const char *text)
{
    size_t n = strlen(text);

    return (size_t)(data->end - data->at) == n && (n == 0 || memcmp(data->at, text, n) == 0);
}

bool pb_entry(const struct pb *data, struct pb *ret_key, struct pb *ret_value)
{
    struct pb m = *data;
    struct pb_field f;

    *ret_key = *ret_value = (struct pb){0};
    while (pb_next(&m, &f)) {
        if (f.number == 1)
            *ret_key = f.data;
        else if (f.number == 2)
            *ret_value = f.data;
    }
    return !m.broken && ret_key->at;
}
