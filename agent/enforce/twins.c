/*
 * A twin of each program on a device's hook: it jumps to the program itself, by a map of programs.
 * Loading it takes no time, for there is next to nothing to verify: so getting in front of somebody
 * who put his program before ours is quick. If it has nowhere to jump to, it drops.
 */
#include "agent/enforce/audit.h"
#include "agent/enforce/internal.h"
#include "agent/enforce/sys.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

static int load_one(int map, int kind)
{
    static const char *const names[HOOK_MAX] = {
        [HOOK_GUARD_FROM_POD] = "guard_from_pod",
        [HOOK_POLICY_FROM_POD] = "policy_from_pod",
        [HOOK_GUARD_TO_POD] = "guard_to_pod",
        [HOOK_POLICY_TO_POD] = "policy_to_pod",
    };
    enum { DROP = 2 /* TCX_DROP */ };
    const struct bpf_insn code[] = {
        {.code = BPF_LD | BPF_DW | BPF_IMM,
         .dst_reg = BPF_REG_2,
         .src_reg = BPF_PSEUDO_MAP_FD,
         .imm = map},
        {0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = kind},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_tail_call},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = DROP},
        {.code = BPF_JMP | BPF_EXIT},
    };

    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, names[kind], "GPL", code, ARRAY_SIZE(code), NULL);
}

static bool is_loaded(const struct enforce *e)
{
    return e->prog_ids[1][0] != 0;
}

int twins_load(struct enforce *e, struct error *err)
{
    if (is_loaded(e))
        return 0;
    for (uint32_t kind = 0; kind < HOOK_MAX; kind++) {
        int *fd = &e->prog_fds[1][kind];

        if (bpf_map_update_elem(e->maps[MAP_TWINS], &kind, &e->prog_fds[0][kind], BPF_ANY) < 0)
            return error_errno(err, -errno, "give a twin its program");
        if (*fd < 0)
            *fd = load_one(e->maps[MAP_TWINS], (int)kind);
        if (*fd < 0)
            return error_errno(err, *fd, "load a twin");
    }
    for (int kind = HOOK_MAX - 1; kind >= 0; kind--) { /* the first one's says that all are there */
        int r = sys_prog_id(e->prog_fds[1][kind], &e->prog_ids[1][kind]);

        if (r < 0)
            return error_errno(err, r, "look at a twin");
        watch_program(e, e->prog_ids[1][kind], false);
    }
    return 0;
}

int twins_verify(struct enforce *e)
{
    int repaired = 0;

    for (uint32_t kind = 0; is_loaded(e) && kind < HOOK_MAX; kind++) {
        uint32_t id = 0;

        if (bpf_map_lookup_elem(e->maps[MAP_TWINS], &kind, &id) == 0 && id == e->prog_ids[0][kind])
            continue;
        (void)bpf_map_update_elem(e->maps[MAP_TWINS], &kind, &e->prog_fds[0][kind], BPF_ANY);
        incident(e, ENFORCE_MAP_CHANGED, NULL, "program %u was in place of ours in map twins",
                 (unsigned)id);
        repaired++;
    }
    return repaired;
}

void twins_close(struct enforce *e)
{
    for (int kind = 0; kind < HOOK_MAX; kind++)
        close_fd(&e->prog_fds[1][kind]);
}
