/*
 * Hostile API objects: a stream of YAML (or JSON) documents is applied to one engine, each in the
 * kind that it claims or in all; then everything dirty is compiled and judged.
 */
#include "common/yaml.h"
#include "policy/engine.h"
#include "policy/evaluate.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compile_all(struct engine *e)
{
    static const uint8_t peer[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};
    struct engine_update u;

    while (engine_next_dirty(e, &u, NULL) > 0) {
        for (int dir = 0; u.rules && dir < POLICY_DIRECTION_MAX; dir++) {
            struct policy_decision d = policy_eval(u.rules, dir, peer, 6, 80);

            if (d.verdict == POLICY_PASS)
                abort();
        }
        engine_update_fini(&u);
    }
}

static void apply(struct engine *e, const json_t *o)
{
    enum engine_kind kind;

    if (engine_kind_of(o, &kind) == 0) {
        (void)engine_apply(e, kind, o, NULL);
        return;
    }
    for (int k = 0; k < ENGINE_KIND_MAX; k++)
        (void)engine_apply(e, k, o, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine *e = engine_new(NULL);
    struct yaml_doc *docs;
    size_t n;

    if (e && yaml_load_all((const char *)data, size, "fuzz", &docs, &n, NULL) == 0) {
        for (size_t i = 0; i < n; i++) {
            apply(e, docs[i].root);
            compile_all(e);
        }
        yaml_docs_free(docs, n);
    }
    engine_free(e);
    return 0;
}
