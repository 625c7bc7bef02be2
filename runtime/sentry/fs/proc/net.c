/* /proc/PID/net: the tables of the process's network namespace, made by net/. */
#include "runtime/sentry/fs/proc/proc_internal.h"
#include "runtime/sentry/net/netns.h"
#include "runtime/sentry/net/proc.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static struct netns *netns_of(struct task *t, struct pseudo_node *n)
{
    CLEANUP(proc_target_fini) struct proc_target w = {0};
    struct netns *ns = NULL;

    if (proc_target(t, n, false, &w) < 0)
        return NULL;
    mutex_lock(&g_tasks_lock);
    if (w.task->ns && w.task->ns->net)
        ns = netns_get(w.task->ns->net);
    mutex_unlock(&g_tasks_lock);
    return ns;
}

static SHOW(show_net)
{
    struct netns *ns = netns_of(t, n);
    int r;

    if (!ns)
        return -EINVAL;
    r = net_proc_show_ns(ns, net_proc_names[n->number & 0xffffffff], out);
    netns_put(ns);
    return r;
}

static const struct pseudo_entry net_row = {.mode = S_IFREG | 0444, .show = show_net};

static int lookup_net(struct task *t, struct pseudo_node *dir, const char *name,
                      struct pseudo_found *ret)
{
    (void)t;
    for (unsigned i = 0; net_proc_names[i]; i++)
        if (strcmp(net_proc_names[i], name) == 0) {
            *ret = (struct pseudo_found){
                .row = &net_row, .inherit = true, .number = PROC_KIND(dir) | i};
            return 0;
        }
    return -ENOENT;
}

static int iterate_net(struct task *t, struct pseudo_node *dir, int64_t *pos,
                       bool (*emit)(void *arg, const char *name, unsigned type, uint64_t ino,
                                    int64_t next_pos),
                       void *arg)
{
    (void)t;
    (void)dir;
    for (int64_t i = 0; net_proc_names[i]; i++)
        if (i >= *pos && !emit(arg, net_proc_names[i], DT_REG, 0, i + 1))
            break;
    return 0;
}

static bool net_valid(struct task *t, struct pseudo_node *n)
{
    (void)t;
    (void)n;
    return true;
}

const struct pseudo_dynamic proc_net_files = {lookup_net, iterate_net, net_valid};
