#pragma once
/*
 * YAML as JSON trees: a stream of documents becomes json_t (core schema: null, bool, int, float,
 * str; strings that look like nothing else stay strings; "yes" and "no" are strings). Input is
 * hostile: limits below, no alias that reaches itself, no growth by aliases, duplicate keys are
 * errors. JSON is YAML, too.
 */
#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

enum {
    YAML_DEPTH_MAX = 64,
    YAML_LINE_MAX = 1 << 20,    /* bytes of one line, and of one scalar */
    YAML_NODES_MAX = 16000000,  /* of one stream */
    YAML_ALIASED_MAX = 100000,  /* nodes that aliases add to it */
    YAML_TRACKED_MAX = 1000000, /* nodes of one document whose line is remembered */
    YAML_DOCS_MAX = 100000,
};

struct yaml_lines;
struct yaml_doc {
    json_t *root;             /* never NULL; empty documents are left out */
    size_t line;              /* where it starts, from 1 */
    struct yaml_lines *lines; /* see yaml_doc_line */
};

/*
 * Parses all documents of text. name is for messages: "FILE:LINE: what". -EINVAL for what isn't
 * acceptable YAML, -E2BIG beyond a limit, -ENOMEM; then nothing is returned, also not of the
 * documents before the bad one: a file counts as a whole.
 */
int yaml_load_all(const char *text, size_t size, const char *name, struct yaml_doc **ret_docs,
                  size_t *ret_n, struct error *err);
void yaml_docs_free(struct yaml_doc *docs, size_t n);

/* Line of the field at path ("spec.egress[0].to[1]"), or of its nearest parent that is there. */
size_t yaml_doc_line(const struct yaml_doc *doc, const char *path);
