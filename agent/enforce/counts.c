/*
 * Has anybody added entries to rules, or taken some away? The maps' sizes are asked for by a
 * program (bpf/counts.bpf.c), before and after whatever is done here. Then all entries are compared
 * at once, as they are otherwise in turn. A kernel without such questions (before 6.6) leaves that
 * out.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"
#include "counts.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

void counts_open(struct enforce *e)
{
    struct error err = ERROR_INIT;

    e->counts = counts_bpf__open();
    if (!e->counts)
        return;
    if (load_share_maps(e, e->counts->obj, &err) < 0 || counts_bpf__load(e->counts) < 0)
        counts_close(e);
}

void counts_close(struct enforce *e)
{
    counts_bpf__destroy(e->counts);
    e->counts = NULL;
}

static bool ask(const struct enforce *e, struct berm_counts *ret)
{
    if (!e->counts || sys_run(bpf_program__fd(e->counts->progs.count_rules)) < 0)
        return false;
    *ret = e->counts->bss->counts;
    return true;
}

void counts_look(struct enforce *e)
{
    struct berm_counts now;

    if (e->counted && ask(e, &now) && memcmp(&now, &e->expected, sizeof(now)) != 0)
        e->rules_touched = true;
}

void counts_settle(struct enforce *e)
{
    e->counted = ask(e, &e->expected);
}
