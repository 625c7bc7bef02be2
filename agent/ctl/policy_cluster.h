#pragma once
/*
 * A small cluster from a file: either documents of the test format ({"namespaces", "pods",
 * "policies", "nodes", "guard", "probes"}), each the full state of the kinds that it names, or
 * plain Kubernetes manifests. JSON or YAML.
 */
#include "common/error.h"
#include "policy/engine.h"

#include <jansson.h>

struct cluster {
    struct engine *engine;
    const char *file;
    bool guard;
    size_t refused; /* objects that could not be applied at all; each was reported on stderr */
};

/* All documents of a file as one JSON array (free with json_decref). */
int cluster_read(const char *file, json_t **ret_docs, struct error *err);
int cluster_init(struct cluster *c, const char *file, struct error *err);
void cluster_fini(struct cluster *c);
/* Brings the cluster to the state that one document describes. */
void cluster_play(struct cluster *c, size_t index, const json_t *doc);

struct probe {
    const char *src, *dst; /* "ns/pod" or an address, as given */
    const char *protocol_text;
    int protocol, port, family;
};

struct probe_result {
    bool allow;
    char egress[660], ingress[660]; /* columns: no spaces */
};
/* Judges one probe, guard included. Negative: it can't be judged (no such pod...). */
int cluster_probe(struct cluster *c, const struct probe *p, struct probe_result *ret,
                  struct error *err);
