#pragma once
/* Named network namespaces: bind mounts of /proc/self/ns/net, as `ip netns` makes them. */
#include "common/error.h"

/* Makes a namespace and mounts it at path; replaces what an interrupted run left there. */
int netns_create(const char *path, struct error *err);
/* Unmounts and removes; fine if absent. The namespace lives on while processes are in it. */
void netns_remove(const char *path);
/* Opens path; -ENOENT also if the file is there but no namespace is mounted on it. */
int netns_open(const char *path, int *ret_fd, struct error *err);

/* Moves the calling (only) thread into fd and back. What is opened in between (netlink sockets)
 * stays there; /proc/sys/net is that of the namespace in between. */
struct netns_scope {
    int home_fd;
};
int netns_enter(struct netns_scope *s, int fd, struct error *err);
void netns_leave(struct netns_scope *s); /* aborts if the way back fails: nothing sane follows */
