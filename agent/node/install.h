#pragma once
/*
 * bermd install, bermd uninstall: the runtime on a node, step by step (tables in install.c and
 * uninstall.c). A step that fails takes back what the earlier ones did; the node is then as it was,
 * and its Event and its condition say why. Run twice, nothing changes. One that was killed is begun
 * again: nothing is ever in place by half.
 *
 * After host-root is entered every path is the host's. What is put on the host:
 *
 * - PREFIX/versions/VERSION-HASH/{berm,bermctl}: never changed; older ones go when unused
 * - PREFIX/bin/{berm,bermctl}: links, switched by rename
 * - the runtime's configuration: one block, or one file (flavour.c, toml.c)
 * - STATE/install/: lock, backup of the configuration
 */
#include "agent/cri/cri.h"
#include "agent/loop.h"
#include "agent/node/api.h"
#include "agent/node/files.h"
#include "agent/node/flavour.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct install_options {
#define STRING                                     const char *
#define BOOL                                       bool
#define UINT                                       uint64_t
#define CONFIG(type, field, key, def, value, help) type field;
#include "agent/node/install.def"
#undef CONFIG
#undef STRING
#undef BOOL
#undef UINT
};

struct install {
    struct install_options o;
    struct loop loop;
    struct node_api api;
    struct cri cri;
    const struct flavour *flavour;
    int source_fd[2]; /* the programs to install, in the order of install_programs */
    int lock_fd;
    /* The runtime. */
    char config[PATH_MAX], target[PATH_MAX], socket[PATH_MAX], binary[PATH_MAX];
    int major, minor; /* of containerd; 0: not known */
    /* What was done, for undoing it. */
    char version[96], version_dir[PATH_MAX], previous[PATH_MAX] /* version that the links named */;
    bool new_version, new_links;
    bool changed, restarted, labelled, new_state, locked;
    struct host_change change;
    char made[4][PATH_MAX]; /* folders */
    size_t n_made;
};

struct install_step {
    const char *name;
    const char *reason; /* of Event and condition if it fails */
    int (*run)(struct install *in, struct error *err);
    void (*undo)(struct install *in);
};

#define INSTALL_PROGRAMS 2
extern const char *const install_programs[INSTALL_PROGRAMS];

int install_main(int argc, char **argv);
int uninstall_main(int argc, char **argv);

/* Shared by both. Run all steps; after a failure, undo those that were run, last first. Returns
 * the failed step, or NULL. */
const struct install_step *install_run(struct install *in, const struct install_step *steps,
                                       size_t n, struct error *err);
int install_begin(struct install *in, int argc, char **argv, const char *what, struct error *err);
void install_end(struct install *in);
/* Makes the folder (and those above) and notes it, to be removed if it all fails. */
int install_mkdir(struct install *in, const char *path, struct error *err);

/* runtime.c: which runtime, and what it says of itself. */
int runtime_find(struct install *in, struct error *err);
/* The handler's program as the running runtime has it: 1 served (program "" if it can't be told),
 * 0 not served, negative: it doesn't answer. */
int runtime_serves(struct install *in, char *ret_program, size_t size, struct error *err);
/* Whether it lists the handler of itself, as it does since containerd 2.0: 1 or 0, or negative. */
int runtime_lists_handler(struct install *in, struct error *err);
int runtime_count_sandboxes(struct install *in, size_t *ret, struct error *err);
/* Restarts (or reloads) it and waits until it answers with the handler there or not there. */
int runtime_restart(struct install *in, struct error *err);
int runtime_wait(struct install *in, bool served, struct error *err);

/* reports.c: waits until the node reports the handler, where nodes do. */
int node_reports(struct install *in, struct error *err);

/* programs.c */
int programs_put(struct install *in, struct error *err);
void programs_undo(struct install *in);
/* Removes versions that no sandbox was made with; the one before this one stays until the next
 * run. */
int programs_collect(struct install *in, struct error *err);

/* handler.c: the handler in the configuration. */
int handler_put(struct install *in, struct error *err);
int handler_remove(struct install *in, struct error *err);
void handler_undo(struct install *in); /* and restarts the runtime if it had been */

/* drain.c: one look at the pods whose sandboxes are of our handler: who is there is evicted. */
int drain_round(struct install *in, struct error *err);
