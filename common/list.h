#pragma once
/* Intrusive circular doubly linked list. An unlinked node points at itself. No locking. */
#include "common/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert(struct list *prev, struct list *next, struct list *n)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}

/* Adds n as the last of head. */
static inline void list_append(struct list *head, struct list *n)
{
    list_insert(head->prev, head, n);
}

/* Adds n as the first of head. */
static inline void list_prepend(struct list *head, struct list *n)
{
    list_insert(head, head->next, n);
}

/* Unlinks n; safe on a node that is not linked (initialised). */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

#define list_entry(p, t, m)    container_of(p, t, m)
#define list_first(head, t, m) (list_empty(head) ? NULL : list_entry((head)->next, t, m))
#define list_for_each_entry(pos, head, m)                                                          \
    for ((pos) = list_entry((head)->next, __typeof__(*(pos)), m); &(pos)->m != (head);             \
         (pos) = list_entry((pos)->m.next, __typeof__(*(pos)), m))
#define list_for_each_entry_safe(pos, tmp, head, m)                                                \
    for ((pos) = list_entry((head)->next, __typeof__(*(pos)), m),                                  \
        (tmp) = list_entry((pos)->m.next, __typeof__(*(pos)), m);                                  \
         &(pos)->m != (head);                                                                      \
         (pos) = (tmp), (tmp) = list_entry((tmp)->m.next, __typeof__(*(tmp)), m))
