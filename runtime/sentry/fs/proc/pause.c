/*
 * Number 1 of a pid namespace that a pod's containers share: the built-in pause, which is no task
 * (sentry.h). What ps and programs that ask who their init is read of it; the rest is not there.
 */
#include "common/buf.h"
#include "runtime/sentry/fs/proc/proc_internal.h"

#include <sys/stat.h>

static SHOW(show_cmdline)
{
    (void)t, (void)n;
    return buf_append(out, "/pause", sizeof("/pause"));
}

static SHOW(show_comm)
{
    (void)t, (void)n;
    return buf_puts(out, "pause\n");
}

static SHOW(show_stat)
{
    (void)t, (void)n;
    return buf_puts(out,
                    "1 (pause) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 0 0 0 "
                    "18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 "
                    "0\n");
}

static SHOW(show_statm)
{
    (void)t, (void)n;
    return buf_puts(out, "0 0 0 0 0 0 0\n");
}

static SHOW(show_status)
{
    (void)t, (void)n;
    return buf_puts(out, "Name:\tpause\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t1\nNgid:\t0\n"
                         "Pid:\t1\nPPid:\t0\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n"
                         "FDSize:\t64\nGroups:\t\nNStgid:\t1\nNSpid:\t1\nNSpgid:\t1\nNSsid:\t1\n"
                         "Threads:\t1\n");
}

#define R(file, f)                                                                                 \
    {                                                                                              \
        .name = (file), .mode = S_IFREG | 0444, .show = (f)                                        \
    }
static const struct pseudo_entry rows[] = {
    R("cmdline", show_cmdline), R("comm", show_comm),     R("stat", show_stat),
    R("statm", show_statm),     R("status", show_status), {0},
};

const struct pseudo_entry proc_pause_row = {.mode = S_IFDIR | 0555, .entries = rows};
