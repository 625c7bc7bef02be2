/* Control messages: hostile headers, cutting, padding. */
#include "runtime/sentry/net/socket.h"

#include <criterion/criterion.h>
#include <string.h>

static struct sockmsg message(void *data, size_t size)
{
    return (struct sockmsg){.control = data, .control_size = size};
}

Test(control, walks_what_is_well_formed)
{
    char data[CMSG_SPACE(4) + CMSG_SPACE(1)] = {0};
    struct cmsghdr a = {.cmsg_len = CMSG_LEN(4), .cmsg_level = 1, .cmsg_type = 2};
    struct cmsghdr b = {.cmsg_len = CMSG_LEN(1), .cmsg_level = 3, .cmsg_type = 4};
    struct sockmsg m = message(data, sizeof(data));
    struct control c;
    size_t at = 0;
    int r;

    memcpy(data, &a, sizeof(a));
    memcpy(data + CMSG_SPACE(4), &b, sizeof(b));
    cr_assert(control_next(&m, &at, &c, &r));
    cr_assert(c.level == 1 && c.type == 2 && c.size == 4);
    cr_assert(control_next(&m, &at, &c, &r));
    cr_assert(c.level == 3 && c.type == 4 && c.size == 1);
    cr_assert(!control_next(&m, &at, &c, &r));
    cr_assert_eq(r, 0);
}

Test(control, refuses_lengths_that_lie)
{
    static const size_t lengths[] = {0,    1,        sizeof(struct cmsghdr) - 1,
                                     1000, SIZE_MAX, SIZE_MAX - 7};

    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        char data[64] = {0};
        struct cmsghdr h = {.cmsg_len = lengths[i]};
        struct sockmsg m = message(data, sizeof(data));
        struct control c;
        size_t at = 0;
        int r;

        memcpy(data, &h, sizeof(h));
        cr_assert(!control_next(&m, &at, &c, &r), "length %zu", lengths[i]);
        cr_assert_eq(r, -EINVAL);
    }
}

Test(control, last_one_may_lack_its_padding)
{
    char data[CMSG_LEN(1)] = {0};
    struct cmsghdr h = {.cmsg_len = CMSG_LEN(1)};
    struct sockmsg m = message(data, sizeof(data));
    struct control c;
    size_t at = 0;
    int r;

    memcpy(data, &h, sizeof(h));
    cr_assert(control_next(&m, &at, &c, &r));
    cr_assert(!control_next(&m, &at, &c, &r));
    cr_assert_eq(r, 0);
}

Test(control, puts_cut_and_flag)
{
    char data[CMSG_SPACE(12)];
    struct sockmsg m = {.control = data};
    const char value[12] = "0123456789a";

    m.control_max = sizeof(struct cmsghdr) - 1;
    control_put(&m, 1, 1, value, sizeof(value));
    cr_assert(m.control_size == 0 && (m.flags & MSG_CTRUNC));
    m = (struct sockmsg){.control = data, .control_max = CMSG_LEN(5)};
    control_put(&m, 1, 1, value, sizeof(value));
    cr_assert(m.control_size == CMSG_LEN(5) && (m.flags & MSG_CTRUNC));
    cr_assert_eq(((struct cmsghdr *)(void *)data)->cmsg_len, CMSG_LEN(5));
    m = (struct sockmsg){.control = data, .control_max = sizeof(data)};
    memset(data, 0xff, sizeof(data));
    control_put(&m, 1, 1, value, sizeof(value));
    cr_assert(m.control_size == sizeof(data) && !m.flags);
    for (size_t i = CMSG_LEN(12); i < sizeof(data); i++)
        cr_assert_eq(data[i], 0, "no stale bytes in the padding");
}
