/* IPC namespaces as objects (ipcns.h). */
#include "runtime/sentry/fs/ipc/ipcns.h"

#include "runtime/sentry/task/pid.h"

#include <stdlib.h>

struct ipcns *ipcns_new(void)
{
    struct ipcns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    ref_init(&ns->ref);
    ns->ino = namespace_new_inode();
    return ns;
}

struct ipcns *ipcns_get(struct ipcns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void ipcns_put(struct ipcns *ns)
{
    if (!ns || !ref_put(&ns->ref))
        return;
    if (ns->shm)
        ns->shm_free(ns->shm);
    if (ns->sem)
        ns->sem_free(ns->sem);
    if (ns->msg)
        ns->msg_free(ns->msg);
    if (ns->mqueue)
        ns->mqueue_free(ns->mqueue);
    free(ns);
}
