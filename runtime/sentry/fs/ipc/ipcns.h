#pragma once
/* IPC namespaces: where SysV objects and message queues live (ipc_namespaces(7)). */
#include "runtime/sentry/lock.h"
#include "runtime/sentry/ref.h"

#include <stdint.h>

struct ipcns {
    struct ref ref;
    uint64_t ino;
    struct mutex lock;
    void *shm, *sem, *msg, *mqueue; /* tables of the implementations; NULL until first used */
    void (*shm_free)(void *table), (*sem_free)(void *table), (*msg_free)(void *table),
        (*mqueue_free)(void *table); /* set with the tables */
};

struct ipcns *ipcns_new(void); /* NULL: out of memory */
struct ipcns *ipcns_get(struct ipcns *ns);
void ipcns_put(struct ipcns *ns);
