/*
 * Plane C: a table of our own in nftables, family inet. Replaced as a whole in one transaction,
 * or only its sets of pods; watched by notifications, and put back when somebody else touches it.
 * It outlives the agent, as everything that is in force; enforce_uninstall deletes it.
 *
 * The table bears the name of the pin folder ("berm"), so that agents with folders of their own
 * do not take each other's for tampered with. Only packets of pods meet its rules: by the pod's
 * device, or by a bridge and the pod's address together. Sweeps check that it is there at all.
 */
#include "agent/enforce/nft.h"

#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH_SIZE = 4 << 20, MESSAGE_MAX = 1 << 16, ELEMENTS_MAX = 400, SOCKET_BUFFER = 8 << 20 };
enum { NAME_MAX_BYTES = 64 };

struct nft {
    struct mnl_socket *tx, *watch;
    char table[NAME_MAX_BYTES];
    bool stale; /* the sets of pods are not as they must be */
    bool dirty; /* somebody else changed the table */
};

static void table_name(const char *pin_dir, char name[NAME_MAX_BYTES])
{
    const char *slash = strrchr(pin_dir, '/');

    (void)snprintf(name, NAME_MAX_BYTES, "%.*s", NAME_MAX_BYTES - 1, slash ? slash + 1 : pin_dir);
}

static struct mnl_socket *open_socket(void)
{
    struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    int size = SOCKET_BUFFER;

    if (s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
        (void)mnl_socket_close(s);
        return NULL;
    }
    if (s) {
        (void)setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        (void)setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    }
    return s;
}

static int batch_open(struct nft_batch *b, const char *table)
{
    *b = (struct nft_batch){.table = table, .seq = 1};
    b->buffer = malloc(BATCH_SIZE + MESSAGE_MAX);
    b->batch = b->buffer ? mnl_nlmsg_batch_start(b->buffer, BATCH_SIZE) : NULL;
    if (!b->batch)
        return -ENOMEM;
    (void)nftnl_batch_begin(mnl_nlmsg_batch_current(b->batch), b->seq++);
    nft_put_end(b);
    return 0;
}

static void batch_close(struct nft_batch *b)
{
    if (b->batch)
        mnl_nlmsg_batch_stop(b->batch);
    free(b->buffer);
}

struct nlmsghdr *nft_put(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    b->last = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(b->batch), type, NFPROTO_INET, flags,
                                    b->seq++);
    return b->last;
}

void nft_put_end(struct nft_batch *b)
{
    if (!mnl_nlmsg_batch_next(b->batch))
        b->failed = true;
}

static void put_table(struct nft_batch *b, uint16_t type)
{
    struct nlmsghdr *nlh = nft_put(b, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);
    struct nftnl_table *t = nftnl_table_alloc();

    if (!t) {
        b->failed = true;
        return;
    }
    nftnl_table_set_u32(t, NFTNL_TABLE_FAMILY, NFPROTO_INET);
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, b->table);
    nftnl_table_nlmsg_build_payload(nlh, t);
    nftnl_table_free(t);
    nft_put_end(b);
}

void nft_add_chain(struct nft_batch *b, const char *name, int hook, int priority)
{
    struct nlmsghdr *nlh = nft_put(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    struct nftnl_chain *c = nftnl_chain_alloc();

    if (!c) {
        b->failed = true;
        return;
    }
    nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, b->table);
    nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name);
    if (hook >= 0) {
        nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
        nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, (uint32_t)hook);
        nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, priority);
        nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
    }
    nftnl_chain_nlmsg_build_payload(nlh, c);
    nftnl_chain_free(c);
    nft_put_end(b);
}

static struct nftnl_set *set_named(struct nft_batch *b, const char *name)
{
    struct nftnl_set *s = nftnl_set_alloc();

    if (!s) {
        b->failed = true;
        return NULL;
    }
    nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table);
    nftnl_set_set_str(s, NFTNL_SET_NAME, name);
    nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
    return s;
}

void nft_add_set(struct nft_batch *b, const char *name, uint32_t type, uint32_t size)
{
    struct nftnl_set *s = set_named(b, name);
    struct nlmsghdr *nlh;

    if (!s)
        return;
    nftnl_set_set_u32(s, NFTNL_SET_ID, ++b->sets);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, type);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, size);
    nlh = nft_put(b, NFT_MSG_NEWSET, NLM_F_CREATE);
    nftnl_set_nlmsg_build_payload(nlh, s);
    nftnl_set_free(s);
    nft_put_end(b);
}

static void put_elements(struct nft_batch *b, const char *name, const uint8_t *data, size_t n,
                         size_t size)
{
    struct nftnl_set *s = set_named(b, name);
    struct nlmsghdr *nlh;

    for (size_t i = 0; s && i < n; i++) {
        struct nftnl_set_elem *e = nftnl_set_elem_alloc();

        if (!e) {
            b->failed = true;
            break;
        }
        nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, data + i * size, (uint32_t)size);
        nftnl_set_elem_add(s, e);
    }
    if (!s)
        return;
    nlh = nft_put(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
    nftnl_set_elems_nlmsg_build_payload(nlh, s);
    nftnl_set_free(s);
    nft_put_end(b);
}

void nft_add_elements(struct nft_batch *b, const char *name, const void *data, size_t n,
                      size_t size)
{
    for (size_t at = 0; at < n; at += ELEMENTS_MAX)
        put_elements(b, name, (const uint8_t *)data + at * size, MIN(n - at, (size_t)ELEMENTS_MAX),
                     size);
}

static void flush_set(struct nft_batch *b, const char *name)
{
    struct nftnl_set *s = set_named(b, name);

    if (!s)
        return;
    nftnl_set_elems_nlmsg_build_payload(nft_put(b, NFT_MSG_DELSETELEM, 0), s);
    nftnl_set_free(s);
    nft_put_end(b);
}

void nft_add_rule(struct nft_batch *b, struct nftnl_rule *rule)
{
    if (!rule) {
        b->failed = true;
        return;
    }
    nftnl_rule_nlmsg_build_payload(nft_put(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND), rule);
    nftnl_rule_free(rule);
    nft_put_end(b);
}

/* All or nothing: the kernel answers the last message only if the whole was in order. */
static int batch_send(struct nft_batch *b, struct mnl_socket *s)
{
    struct timeval patience = {.tv_sec = 2};
    char answer[8192] __attribute__((aligned(8)));
    uint32_t last;
    ssize_t n;

    if (b->failed || !b->last)
        return -ENOMEM;
    b->last->nlmsg_flags |= NLM_F_ACK;
    last = b->last->nlmsg_seq;
    (void)nftnl_batch_end(mnl_nlmsg_batch_current(b->batch), b->seq++);
    nft_put_end(b);
    if (b->failed)
        return -ENOMEM;
    (void)setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    while (recv(mnl_socket_get_fd(s), answer, sizeof(answer), MSG_DONTWAIT) > 0)
        ; /* of a transaction that was not waited for */
    if (mnl_socket_sendto(s, mnl_nlmsg_batch_head(b->batch), mnl_nlmsg_batch_size(b->batch)) < 0)
        return -errno;
    while ((n = mnl_socket_recvfrom(s, answer, sizeof(answer))) > 0) {
        const struct nlmsghdr *nlh = (const struct nlmsghdr *)(void *)answer;
        int left = (int)n;

        for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

            if (nlh->nlmsg_type != NLMSG_ERROR)
                continue;
            if (e->error || nlh->nlmsg_seq == last)
                return e->error;
        }
    }
    return n < 0 ? -errno : -EIO;
}

/* What the sets of pods must hold. */
struct pods_view {
    uint32_t devices[BERM_IFACES_MAX], bridges[BERM_IFACES_MAX];
    uint8_t v4[BERM_PODS_MAX * BERM_ADDRS_MAX][4], v6[BERM_PODS_MAX * BERM_ADDRS_MAX][16];
    size_t n_devices, n_bridges, n_v4, n_v6;
};

static void add_index(uint32_t *list, size_t *n, int ifindex)
{
    for (size_t i = 0; i < *n; i++) {
        if (list[i] == (uint32_t)ifindex)
            return;
    }
    if (*n < BERM_IFACES_MAX)
        list[(*n)++] = (uint32_t)ifindex;
}

static void view_addresses(const struct berm_record *record, struct pods_view *v)
{
    for (uint32_t i = 0; i < record->n_addrs && i < BERM_ADDRS_MAX; i++) {
        const struct berm_addr *a = &record->addrs[i];

        if (a->d[0] == 0 && a->h[4] == 0 && a->h[5] == 0xffff)
            memcpy(v->v4[v->n_v4++], a->b + 12, 4);
        else
            memcpy(v->v6[v->n_v6++], a->b, 16);
    }
}

static void view_pods(const struct enforce *e, struct pods_view *v)
{
    enum berm_mode mode = e->guard_expected.mode;

    for (size_t i = 0; i < BERM_PODS_MAX; i++) {
        const struct pod *pod = e->slots[i];
        const struct device *device;
        bool bridged = false;

        if (!pod || mode == BERM_MODE_NONE ||
            (mode == BERM_MODE_SANDBOXED && !pod->record.sandboxed))
            continue;
        list_for_each_entry (device, &pod->devices, siblings) {
            add_index(v->devices, &v->n_devices, device->ifindex);
            if (device->master) {
                add_index(v->bridges, &v->n_bridges, device->master);
                bridged = true;
            }
        }
        if (bridged)
            view_addresses(&pod->record, v);
    }
}

/* An address that two pods claim must not make the whole transaction fail: elements may repeat. */
static int put_pods(struct nft_batch *b, const struct enforce *e, bool fresh)
{
    CLEANUP(free_ptr) struct pods_view *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    view_pods(e, v);
    for (int i = 0; !fresh && i < NFT_SETS; i++)
        flush_set(b, nft_set_name(i));
    nft_add_elements(b, nft_set_name(NFT_DEVICES), v->devices, v->n_devices, 4);
    nft_add_elements(b, nft_set_name(NFT_BRIDGES), v->bridges, v->n_bridges, 4);
    nft_add_elements(b, nft_set_name(NFT_PODS4), v->v4, v->n_v4, 4);
    nft_add_elements(b, nft_set_name(NFT_PODS6), v->v6, v->n_v6, 16);
    for (size_t i = 0; i < e->exceptions.n; i++) {
        bool four = nft_is_v4(e->exceptions.list[i].addr);
        char name[32];

        v->n_v4 = v->n_v6 = 0;
        for (size_t k = 0; k < BERM_PODS_MAX; k++) {
            if (e->slots[k] && (e->slots[k]->record.exceptions & enforce_exception_bit(i)))
                view_addresses(&e->slots[k]->record, v);
        }
        nft_exempt_name(i, name, sizeof(name));
        if (!fresh)
            flush_set(b, name);
        nft_add_elements(b, name, four ? (void *)v->v4 : (void *)v->v6, four ? v->n_v4 : v->n_v6,
                         four ? 4 : 16);
    }
    return 0;
}

static int build(struct enforce *e)
{
    struct nft_batch b;
    int r = batch_open(&b, e->nft->table);

    if (r == 0) {
        put_table(&b, NFT_MSG_NEWTABLE); /* so that there is one to delete */
        put_table(&b, NFT_MSG_DELTABLE);
        put_table(&b, NFT_MSG_NEWTABLE);
        nft_guard(&b, &e->exceptions);
        r = put_pods(&b, e, true);
    }
    if (r == 0)
        r = batch_send(&b, e->nft->tx);
    batch_close(&b);
    return r;
}

static int refill(struct enforce *e)
{
    struct nft_batch b;
    int r = batch_open(&b, e->nft->table);

    if (r == 0)
        r = put_pods(&b, e, false);
    if (r == 0)
        r = batch_send(&b, e->nft->tx);
    batch_close(&b);
    return r;
}

int nft_rebuild(struct enforce *e, struct error *err)
{
    int r = e->nft ? build(e) : 0;

    return r < 0 ? error_errno(err, r, "table %s of nftables", e->nft->table) : 0;
}

int nft_open(struct enforce *e, struct error *err)
{
    int group = NFNLGRP_NFTABLES, r;

    e->nft = calloc(1, sizeof(*e->nft));
    if (!e->nft)
        return error_set(err, -ENOMEM, "out of memory");
    table_name(e->pin_dir, e->nft->table);
    e->nft->tx = open_socket();
    e->nft->watch = open_socket();
    if (!e->nft->tx || !e->nft->watch)
        r = error_errno(err, -errno, "netlink socket of nftables");
    else if (mnl_socket_setsockopt(e->nft->watch, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) <
             0)
        r = error_errno(err, -errno, "watch nftables");
    else if ((r = build(e)) < 0)
        r = error_errno(err, r, "make table %s of nftables", e->nft->table);
    if (r < 0)
        nft_close(e);
    e->totals.nft = r == 0;
    return r;
}

void nft_close(struct enforce *e)
{
    if (!e->nft)
        return;
    if (e->nft->tx)
        (void)mnl_socket_close(e->nft->tx);
    if (e->nft->watch)
        (void)mnl_socket_close(e->nft->watch);
    free(e->nft);
    e->nft = NULL;
}

int nft_fd(const struct enforce *e)
{
    return mnl_socket_get_fd(e->nft->watch);
}

void nft_stale(struct enforce *e)
{
    if (e->nft)
        e->nft->stale = true;
}

int nft_refresh(struct enforce *e, struct error *err)
{
    int r;

    if (!e->nft || !e->nft->stale)
        return 0;
    r = refill(e);
    if (r < 0) /* the table itself may be gone */
        r = build(e);
    if (r < 0)
        return error_errno(err, r, "table %s of nftables", e->nft->table);
    e->nft->stale = false;
    return 0;
}

/* Is the message about our table, and not of our own making? */
static bool is_foreign(const struct nft *nft, const struct nlmsghdr *nlh)
{
    const struct nlattr *a;

    if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
        NFNL_MSG_TYPE(nlh->nlmsg_type) == NFT_MSG_NEWGEN ||
        nlh->nlmsg_pid == mnl_socket_get_portid(nft->tx))
        return false;
    mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
    {
        /* The first attribute of every object is the name of its table. */
        if (mnl_attr_get_type(a) == NFTA_TABLE_NAME)
            return mnl_attr_get_payload_len(a) == strlen(nft->table) + 1 &&
                   !strcmp(mnl_attr_get_str(a), nft->table);
    }
    return false;
}

static void read_watch(struct nft *nft)
{
    char buffer[32768] __attribute__((aligned(8)));
    ssize_t n;

    while ((n = recv(mnl_socket_get_fd(nft->watch), buffer, sizeof(buffer), MSG_DONTWAIT)) > 0 ||
           (n < 0 && errno == ENOBUFS)) {
        const struct nlmsghdr *nlh = (const struct nlmsghdr *)(void *)buffer;
        int left = (int)n;

        if (n < 0) { /* too much at once to know */
            nft->dirty = true;
            continue;
        }
        for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
            nft->dirty = nft->dirty || is_foreign(nft, nlh);
    }
}

static bool is_there(struct nft *nft)
{
    char buffer[4096] __attribute__((aligned(8)));
    struct nlmsghdr *nlh =
        nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETTABLE, NFPROTO_INET, NLM_F_ACK, 1);
    ssize_t n;

    (void)mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, nft->table);
    while (recv(mnl_socket_get_fd(nft->tx), buffer + 2048, 2048, MSG_DONTWAIT) > 0)
        ;
    if (mnl_socket_sendto(nft->tx, nlh, nlh->nlmsg_len) < 0)
        return true; /* not known to be gone */
    n = mnl_socket_recvfrom(nft->tx, buffer, sizeof(buffer));
    return n < (ssize_t)sizeof(*nlh) || nlh->nlmsg_type != NLMSG_ERROR ||
           ((const struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error != -ENOENT;
}

int nft_verify(struct enforce *e, bool full)
{
    struct error err = ERROR_INIT;
    int r;

    if (!e->nft)
        return 0;
    read_watch(e->nft);
    if (full && !e->nft->dirty && !is_there(e->nft))
        e->nft->dirty = true;
    if (!e->nft->dirty) {
        r = nft_refresh(e, &err);
        if (r < 0)
            incident(e, ENFORCE_REPAIR_FAILED, NULL, "%s", err.msg);
        return 0;
    }
    r = build(e);
    if (r < 0) {
        incident(e, ENFORCE_REPAIR_FAILED, NULL, "table %s of nftables: %s", e->nft->table,
                 strerror(-r));
        return 0;
    }
    e->nft->dirty = e->nft->stale = false;
    incident(e, ENFORCE_TABLE_CHANGED, NULL, "table %s of nftables was changed or deleted",
             e->nft->table);
    return 1;
}

void nft_uninstall(const char *pin_dir)
{
    struct mnl_socket *s = open_socket();
    char table[NAME_MAX_BYTES];
    struct nft_batch b;

    table_name(pin_dir, table);
    if (s && batch_open(&b, table) == 0) {
        put_table(&b, NFT_MSG_NEWTABLE);
        put_table(&b, NFT_MSG_DELTABLE);
        (void)batch_send(&b, s);
        batch_close(&b);
    }
    if (s)
        (void)mnl_socket_close(s);
}
