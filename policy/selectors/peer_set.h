#pragma once
/*
 * Peer sets: "pods with these labels in these namespaces", shared by every rule that says the same.
 * A set knows who uses it, so that a change of its members dirties exactly the pods whose rules
 * hold it; and it hangs in an index, so that a changed pod meets only the sets that it may belong
 * to.
 */
#include "policy/compiler/cidr_set.h"
#include "policy/model/objects.h"

/* Members by the number that a named port has on them: one list of addresses for each number. */
struct port_group {
    struct policy_ports port;
    struct cidr_list addresses; /* merged */
};
struct port_groups {
    struct port_groups *next;
    struct string *name;
    uint8_t protocol; /* 0: any */
    struct port_group *at;
    size_t n;
};

struct peer_set {
    struct hash_node node; /* by key */
    char *key;
    uint32_t refs;
    bool denies; /* used by rules that deny: a namespace not known yet counts as a member */
    bool stale;  /* changed since its addresses were last read: all who use it are dirty already */
    bool cached;
    struct namespace *ns; /* pods of this one only; NULL: of those that ns_sel matches */
    struct selector ns_sel, sel;
    struct string *port_name;   /* only pods with such a named port; NULL: all */
    struct label *watched;      /* the label it hangs on, if any */
    struct list watch_link;     /* in watched->watchers, ns->sets or engine.wide_sets */
    struct cidr_list addresses; /* of the members, merged; if cached */
    struct port_groups *ports;  /* as asked for since the last touch */
    struct policy **users;
    size_t n_users, capacity;
};

/* The set for a peer (takes over both selectors, leaves them empty), with `user` among its users.
 * NULL if memory is short. ns NULL: by ns_sel. */
struct peer_set *peer_set_get(struct engine *e, struct namespace *ns, struct selector *ns_sel,
                              struct selector *sel, struct string *port_name, bool denies,
                              struct policy *user);
/* Takes one use back. */
void peer_set_put(struct engine *e, struct peer_set *s, struct policy *user);
bool peer_set_matches(const struct engine *e, const struct peer_set *s, const struct pod *p);
bool peer_set_matches_namespace(const struct engine *e, const struct peer_set *s,
                                const struct namespace *ns);
/* Members changed: forget the addresses, dirty whoever uses it. */
void peer_set_touch(struct engine *e, struct peer_set *s);
/* Addresses of all members, merged; NULL if memory is short. */
const struct cidr_list *peer_set_addresses(struct engine *e, struct peer_set *s);
/* Members by the port number of a name, sorted by port; NULL if memory is short. */
const struct port_groups *peer_set_ports(struct engine *e, struct peer_set *s, struct string *name,
                                         uint8_t protocol);
/* Calls fn for each member until it returns non-zero, and returns that. */
int peer_set_each(const struct engine *e, const struct peer_set *s,
                  int (*fn)(const struct pod *p, void *arg), void *arg);
/* Touches the sets whose membership or addresses differ between two versions of one pod. */
void peer_sets_pod_changed(struct engine *e, const struct pod *old, const struct pod *new);
