/* /sys/class/net: the interfaces of the reader's network namespace, as net/ knows them. */
#include "runtime/sentry/fs/sys/sys.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/net/proc.h"
#include "runtime/sentry/task/task.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

/* The interface with that index or (index 0) name. 0 or -ENOENT. */
static int find(struct task *t, int index, const char *name, struct net_interface *ret)
{
    CLEANUP(free_ptr) struct net_interface *rows = NULL;
    size_t n = 0;
    int r = t->ns && t->ns->net ? net_interfaces(t->ns->net, &rows, &n) : -ENOENT;

    for (size_t i = 0; r == 0 && i < n; i++)
        if (index ? rows[i].index == index : strcmp(rows[i].name, name) == 0) {
            *ret = rows[i];
            return 0;
        }
    return -ENOENT;
}

/* What a file shows of an interface. */
enum field {
    F_ADDR_LEN = 1,
    F_ADDRESS,
    F_BROADCAST,
    F_CARRIER,
    F_FLAGS,
    F_INDEX,
    F_MTU,
    F_OPERSTATE,
    F_QUEUE,
    F_TYPE,
    F_STATS /* and following: a counter */
};

static int show_bytes(struct buf *out, const uint8_t *a, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        (void)buf_printf(out, "%s%02x", i ? ":" : "", a[i]);
    return buf_puts(out, "\n");
}

static const char *operstate(int state)
{
    static const char *const names[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                        "testing", "dormant",    "up"};

    return state >= 0 && state < (int)ARRAY_SIZE(names) ? names[state] : "unknown";
}

static int show_field(struct buf *out, const struct net_interface *i, unsigned field)
{
    switch (field) {
    case F_ADDR_LEN:
        return buf_printf(out, "%u\n", i->address_size);
    case F_ADDRESS:
        return show_bytes(out, i->address, i->address_size);
    case F_BROADCAST:
        return show_bytes(out, i->broadcast, i->address_size);
    case F_CARRIER:
        return i->flags & IFF_UP ? buf_printf(out, "%d\n", i->carrier) : -EINVAL;
    case F_FLAGS:
        return buf_printf(out, "0x%x\n", i->flags & ~(unsigned)(IFF_RUNNING | 0x10000 | 0x40000));
    case F_INDEX:
        return buf_printf(out, "%d\n", i->index);
    case F_MTU:
        return buf_printf(out, "%d\n", i->mtu);
    case F_OPERSTATE:
        return buf_printf(out, "%s\n", operstate(i->operstate));
    case F_QUEUE:
        return buf_printf(out, "%u\n", i->tx_queue_len);
    case F_TYPE:
        return buf_printf(out, "%d\n", i->type);
    default:
        return buf_printf(out, "%lu\n",
                          field - F_STATS < i->n_stats ? i->stats[field - F_STATS] : 0UL);
    }
}

/* A name and its field; order of the counters as in struct rtnl_link_stats64. */
struct file_row {
    const char *name;
    unsigned field;
};
static const struct file_row files[] = {
    {"addr_len", F_ADDR_LEN},  {"address", F_ADDRESS}, {"broadcast", F_BROADCAST},
    {"carrier", F_CARRIER},    {"flags", F_FLAGS},     {"ifindex", F_INDEX},
    {"iflink", F_INDEX},       {"mtu", F_MTU},         {"operstate", F_OPERSTATE},
    {"tx_queue_len", F_QUEUE}, {"type", F_TYPE},       {0}};
static const struct file_row counters[] = {{"rx_packets", F_STATS},
                                           {"tx_packets", F_STATS + 1},
                                           {"rx_bytes", F_STATS + 2},
                                           {"tx_bytes", F_STATS + 3},
                                           {"rx_errors", F_STATS + 4},
                                           {"tx_errors", F_STATS + 5},
                                           {"rx_dropped", F_STATS + 6},
                                           {"tx_dropped", F_STATS + 7},
                                           {"multicast", F_STATS + 8},
                                           {"collisions", F_STATS + 9},
                                           {0}};

/* The node's number: interface in the upper half, field in the lower. */
#define INDEX(n) ((int)((n)->number >> 32))

static int show(struct task *t, struct pseudo_node *n, struct buf *out)
{
    struct net_interface i;

    if (find(t, INDEX(n), NULL, &i) < 0)
        return -ENODEV;
    return show_field(out, &i, (unsigned)n->number);
}

static const struct pseudo_entry file_node = {.mode = S_IFREG | 0444, .show = show};

typedef bool (*emit_fn)(void *arg, const char *name, unsigned type, uint64_t ino, int64_t next_pos);

static int lookup_row(const struct file_row *rows, const struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    for (; rows->name; rows++)
        if (strcmp(rows->name, name) == 0) {
            *ret = (struct pseudo_found){.row = &file_node,
                                         .number = (uint64_t)INDEX(dir) << 32 | rows->field};
            return 0;
        }
    return -ENOENT;
}

static int64_t iterate_rows(const struct file_row *rows, int64_t from, emit_fn emit, void *arg)
{
    int64_t i;

    for (i = 0; rows[i].name; i++)
        if (i >= from && !emit(arg, rows[i].name, DT_REG, 0, i + 1))
            break;
    return i;
}

static int lookup_counter(struct task *t, struct pseudo_node *dir, const char *name,
                          struct pseudo_found *ret)
{
    (void)t;
    return lookup_row(counters, dir, name, ret);
}

static int iterate_counters(struct task *t, struct pseudo_node *dir, int64_t *pos, emit_fn emit,
                            void *arg)
{
    (void)t;
    (void)dir;
    (void)iterate_rows(counters, *pos, emit, arg);
    return 0;
}

static const struct pseudo_dynamic counter_files = {.lookup = lookup_counter,
                                                    .iterate = iterate_counters};
static const struct pseudo_entry statistics_node = {.mode = S_IFDIR | 0555,
                                                    .dynamic = &counter_files};

static int lookup_file(struct task *t, struct pseudo_node *dir, const char *name,
                       struct pseudo_found *ret)
{
    (void)t;
    if (strcmp(name, "statistics") == 0) {
        *ret = (struct pseudo_found){.row = &statistics_node, .number = dir->number};
        return 0;
    }
    return lookup_row(files, dir, name, ret);
}

static int iterate_files(struct task *t, struct pseudo_node *dir, int64_t *pos, emit_fn emit,
                         void *arg)
{
    int64_t end = (int64_t)ARRAY_SIZE(files) - 1;

    (void)t;
    (void)dir;
    if (*pos <= end && iterate_rows(files, *pos, emit, arg) == end)
        (void)emit(arg, "statistics", DT_DIR, 0, end + 1);
    return 0;
}

static const struct pseudo_dynamic interface_files = {.lookup = lookup_file,
                                                      .iterate = iterate_files};
static const struct pseudo_entry interface_node = {.mode = S_IFDIR | 0555,
                                                   .dynamic = &interface_files};

static int lookup_net(struct task *t, struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    struct net_interface i;

    (void)dir;
    if (find(t, 0, name, &i) < 0)
        return -ENOENT;
    *ret = (struct pseudo_found){.row = &interface_node, .number = (uint64_t)i.index << 32};
    return 0;
}

static int iterate_net(struct task *t, struct pseudo_node *dir, int64_t *pos, emit_fn emit,
                       void *arg)
{
    CLEANUP(free_ptr) struct net_interface *rows = NULL;
    size_t n = 0;

    (void)dir;
    if (!t->ns || !t->ns->net || net_interfaces(t->ns->net, &rows, &n) < 0)
        return 0;
    for (size_t i = (size_t)*pos; i < n; i++)
        if (!emit(arg, rows[i].name, DT_DIR, 0, (int64_t)i + 1))
            break;
    return 0;
}

const struct pseudo_dynamic sys_net_dirs = {.lookup = lookup_net, .iterate = iterate_net};
