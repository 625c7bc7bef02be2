#pragma once
/* Internal to net/: route netlink dumps for the sentry itself. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

/* Calls fn for each message of type `answer` in the dump of `question`; fn returns 0 or an error
 * that ends it. attrs has the last attribute of each type below n_attrs. */
typedef int net_dump_fn(void *arg, const void *header, struct rtattr **attrs);
enum { NET_DUMP_ATTRS = 64 };
int net_dump(int question, int answer, int family, size_t header_size, net_dump_fn *fn, void *arg);
