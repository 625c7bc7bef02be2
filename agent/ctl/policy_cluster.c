/* The cluster of `bermctl policy test`: documents are turned into API objects, as the engine gets
 * them from everywhere else, and one engine lives through all of them. */
#include "agent/ctl/policy_cluster.h"

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/yaml.h"
#include "policy/address.h"
#include "policy/guard.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 30)

/* -- reading ---------------------------------------------------------------------------- */

static int read_json(const char *file, const char *text, size_t size, json_t **ret,
                     struct error *err)
{
    json_error_t je;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &je);

    if (!root)
        return error_set(err, -EINVAL, "%s:%d: %s", file, je.line, je.text);
    if (json_is_array(root)) {
        *ret = root;
        return 0;
    }
    *ret = json_pack("[o]", root);
    return *ret ? 0 : error_set(err, -ENOMEM, "%s: out of memory", file);
}

static int read_yaml(const char *file, const char *text, size_t size, json_t **ret,
                     struct error *err)
{
    json_t *all = json_array();
    struct yaml_doc *docs;
    size_t n;
    int r = yaml_load_all(text, size, file, &docs, &n, err);

    if (r < 0) {
        json_decref(all);
        return r;
    }
    for (size_t i = 0; i < n; i++) {
        if (json_is_array(docs[i].root))
            (void)json_array_extend(all, docs[i].root);
        else
            (void)json_array_append(all, docs[i].root);
    }
    yaml_docs_free(docs, n);
    *ret = all;
    return 0;
}

int cluster_read(const char *file, json_t **ret_docs, struct error *err)
{
    CLEANUP(free_ptr) char *text = NULL;
    size_t size, i = 0;
    int r = file_read_all(AT_FDCWD, strcmp(file, "-") ? file : "/dev/stdin", FILE_MAX, &text, &size,
                          err);

    if (r < 0)
        return r;
    while (i < size && isspace((unsigned char)text[i]))
        i++;
    if (i < size && (text[i] == '{' || text[i] == '['))
        return read_json(file, text, size, ret_docs, err);
    return read_yaml(file, text, size, ret_docs, err);
}

int cluster_init(struct cluster *c, const char *file, struct error *err)
{
    struct engine_config config = {.node = NULL, .implicit_namespaces = true};

    *c = (struct cluster){.file = file, .engine = engine_new(&config)};
    return c->engine ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void cluster_fini(struct cluster *c)
{
    engine_free(c->engine);
    c->engine = NULL;
}

/* -- objects ---------------------------------------------------------------------------- */

static void complain(struct cluster *c, size_t doc, const char *list, size_t index,
                     const char *what)
{
    fprintf(stderr, "%s: document %zu: %s[%zu]: %s\n", c->file, doc + 1, list, index, what);
}

static void apply(struct cluster *c, size_t doc, const char *list, size_t index,
                  enum engine_kind kind, const json_t *object)
{
    struct error err = ERROR_INIT;
    int r = object ? engine_apply(c->engine, kind, object, &err)
                   : error_set(&err, -EINVAL, "not an object that can be read");

    if (r == 0)
        return;
    c->refused += r < 0;
    complain(c, doc, list, index, err.msg);
}

static json_t *or_null(const json_t *v)
{
    return v ? json_incref((json_t *)(uintptr_t)v) : json_null();
}

static const json_t *field(const json_t *o, const char *name)
{
    return json_object_get(o, name);
}

static json_t *make_namespace(const char *name, const json_t *labels)
{
    return json_pack("{s:{s:s,s:o}}", "metadata", "name", name, "labels", or_null(labels));
}

static json_t *make_ports(const json_t *ports)
{
    json_t *all, *one;
    const json_t *p;
    size_t i;

    if (!json_is_array(ports))
        return or_null(ports);
    all = json_array();
    json_array_foreach(ports, i, p)
    {
        const json_t *number = field(p, "port") ? field(p, "port") : field(p, "containerPort");

        one = json_pack("{s:o,s:o,s:o}", "name", or_null(field(p, "name")), "containerPort",
                        or_null(number), "protocol", or_null(field(p, "protocol")));
        (void)json_array_append_new(all, one);
    }
    return all;
}

static json_t *make_ips(const json_t *ips)
{
    json_t *all = json_array();
    const json_t *ip;
    size_t i;

    if (json_is_string(ips))
        (void)json_array_append_new(all, json_pack("{s:o}", "ip", or_null(ips)));
    json_array_foreach(ips, i, ip)(void)
        json_array_append_new(all, json_pack("{s:o}", "ip", or_null(ip)));
    return all;
}

static json_t *make_pod(const json_t *p)
{
    json_t *meta = json_pack("{s:o,s:o,s:o,s:o}", "name", or_null(field(p, "name")), "namespace",
                             or_null(field(p, "ns")), "labels", or_null(field(p, "labels")), "uid",
                             or_null(field(p, "uid")));

    if (json_is_true(field(p, "terminating")))
        (void)json_object_set_new(meta, "deletionTimestamp", json_string("now"));
    return json_pack("{s:o,s:{s:o,s:o,s:[{s:o}]},s:{s:o,s:o}}", "metadata", meta, "spec",
                     "nodeName", or_null(field(p, "node")), "hostNetwork",
                     or_null(field(p, "hostNetwork")), "containers", "ports",
                     make_ports(field(p, "ports")), "status", "phase", or_null(field(p, "phase")),
                     "podIPs", make_ips(field(p, "ips")));
}

static json_t *make_node(const json_t *n)
{
    json_t *addresses = json_array();
    const json_t *ip;
    size_t i;

    json_array_foreach(field(n, "ips"), i, ip)(void)
        json_array_append_new(addresses, json_pack("{s:o}", "address", or_null(ip)));
    return json_pack("{s:{s:o,s:o},s:{s:o}}", "metadata", "name", or_null(field(n, "name")),
                     "labels", or_null(field(n, "labels")), "status", "addresses", addresses);
}

/* -- playing ---------------------------------------------------------------------------- */

static void imply_namespace(struct cluster *c, const char *name, const json_t *given)
{
    json_t *o;

    if (!name || json_object_get(given, name) || !(o = make_namespace(name, NULL)))
        return;
    (void)engine_apply(c->engine, ENGINE_NAMESPACE, o, NULL);
    json_decref(o);
}

struct names {
    char **at;
    size_t n;
};

static int keep_name(const struct engine_pod *pod, void *arg)
{
    struct names *names = arg;
    char **at;

    if (names->n && strcmp(names->at[names->n - 1], pod->ns) == 0)
        return 0;
    if (!(at = reallocarray(names->at, names->n + 1, sizeof(*at))))
        return -ENOMEM;
    names->at = at;
    at[names->n] = strdup(pod->ns);
    return at[names->n++] ? 0 : -ENOMEM;
}

/* Namespaces that only a pod's presence proves: without labels, not "about to end". */
static void imply_namespaces(struct cluster *c, const json_t *doc, const json_t *given)
{
    struct names names = {0};
    const json_t *pod;
    size_t i;

    if (field(doc, "pods")) {
        json_array_foreach(field(doc, "pods"), i, pod)
            imply_namespace(c, json_string_value(field(pod, "ns")), given);
        return;
    }
    (void)engine_each_local(c->engine, keep_name, &names);
    for (i = 0; i < names.n; i++) {
        imply_namespace(c, names.at[i], given);
        free(names.at[i]);
    }
    free(names.at);
}

static void play_namespaces(struct cluster *c, size_t doc_index, const json_t *doc)
{
    const json_t *given = field(doc, "namespaces"), *labels;
    const char *name;
    size_t i = 0;

    if (!given)
        return;
    engine_relist_begin(c->engine, ENGINE_NAMESPACE);
    json_object_foreach((json_t *)(uintptr_t)given, name, labels)
    {
        json_t *o = make_namespace(name, labels);

        apply(c, doc_index, "namespaces", i++, ENGINE_NAMESPACE, o);
        json_decref(o);
    }
    imply_namespaces(c, doc, given);
    engine_relist_end(c->engine, ENGINE_NAMESPACE);
}

static void play_list(struct cluster *c, size_t doc_index, const json_t *doc, const char *list,
                      enum engine_kind kind, json_t *(*make)(const json_t *))
{
    const json_t *o;
    size_t i;

    if (!field(doc, list))
        return;
    engine_relist_begin(c->engine, kind);
    json_array_foreach(field(doc, list), i, o)
    {
        json_t *made = json_is_object(o) ? make(o) : NULL;

        apply(c, doc_index, list, i, kind, made);
        json_decref(made);
    }
    engine_relist_end(c->engine, kind);
}

static void play_policies(struct cluster *c, size_t doc_index, const json_t *doc)
{
    const json_t *o;
    size_t i;

    if (!field(doc, "policies"))
        return;
    engine_relist_begin(c->engine, ENGINE_NETWORK_POLICY);
    engine_relist_begin(c->engine, ENGINE_CLUSTER_NETWORK_POLICY);
    json_array_foreach(field(doc, "policies"), i, o)
    {
        enum engine_kind kind = ENGINE_NETWORK_POLICY;
        const char *name = json_string_value(field(o, "kind"));

        if (name && engine_kind_of(o, &kind) < 0) {
            complain(c, doc_index, "policies", i, "not a policy of a kind and version known here");
            c->refused++;
            continue;
        }
        apply(c, doc_index, "policies", i, kind, o);
    }
    engine_relist_end(c->engine, ENGINE_NETWORK_POLICY);
    engine_relist_end(c->engine, ENGINE_CLUSTER_NETWORK_POLICY);
}

/* A plain manifest: adds or replaces that one object; kinds without a say in policy are skipped. */
static void play_object(struct cluster *c, size_t doc_index, const json_t *o)
{
    const json_t *item;
    enum engine_kind kind;
    size_t i;

    if (engine_kind_of(o, &kind) == 0) {
        apply(c, doc_index, "object", 0, kind, o);
        return;
    }
    json_array_foreach(field(o, "items"), i, item) play_object(c, doc_index, item);
}

void cluster_play(struct cluster *c, size_t index, const json_t *doc)
{
    if (!json_is_object(doc)) {
        complain(c, index, "document", index, "not an object");
        c->refused++;
        return;
    }
    if (field(doc, "kind")) {
        play_object(c, index, doc);
        return;
    }
    if (field(doc, "guard"))
        c->guard = json_is_true(field(doc, "guard"));
    play_namespaces(c, index, doc);
    play_list(c, index, doc, "nodes", ENGINE_NODE, make_node);
    play_list(c, index, doc, "pods", ENGINE_POD, make_pod);
    play_policies(c, index, doc);
}

/* -- probing ---------------------------------------------------------------------------- */

/* "ns/pod", a pod of the default namespace, or an address; buf holds the split text. */
static bool parse_end(const char *text, char buf[512], struct engine_end *end)
{
    char *slash;

    *end = (struct engine_end){0};
    if (address_parse_mapped(text, end->addr))
        return true;
    if (snprintf(buf, 512, "%s%s", strchr(text, '/') ? "" : "default/", text) >= 512)
        return false;
    slash = strchr(buf, '/');
    *slash = 0;
    end->ns = buf;
    end->name = slash + 1;
    return true;
}

static bool guarded_source(const struct cluster *c, const struct engine_end *src)
{
    struct engine_pod pod;

    if (src->ns)
        return engine_find_pod(c->engine, src->ns, src->name, &pod) && !pod.host_network;
    return engine_find_address(c->engine, src->addr, &pod);
}

static void column(char *out, size_t size, const char *rule)
{
    (void)snprintf(out, size, "%s", rule);
    for (; *out; out++)
        if (*out == ' ')
            *out = ':';
}

int cluster_probe(struct cluster *c, const struct probe *p, struct probe_result *ret,
                  struct error *err)
{
    char src_text[512], dst_text[512];
    struct guard_decision guard;
    struct engine_end src, dst;
    struct engine_verdict v;
    int r;

    if (!parse_end(p->src, src_text, &src) || !parse_end(p->dst, dst_text, &dst))
        return error_set(err, -EINVAL, "neither ns/pod nor an address");
    if ((r = engine_explain(c->engine, &src, &dst, p->protocol, p->port, p->family, &v, err)) < 0)
        return r;
    ret->allow = v.allow;
    column(ret->egress, sizeof(ret->egress), v.side[POLICY_EGRESS].rule);
    column(ret->ingress, sizeof(ret->ingress), v.side[POLICY_INGRESS].rule);
    if (!c->guard || !guarded_source(c, &src))
        return 0;
    guard = guard_eval(v.dst, p->protocol, p->port);
    if (guard.action == GUARD_DENY) {
        ret->allow = false;
        (void)snprintf(ret->egress, sizeof(ret->egress), "guard:%s", guard.row->name);
    }
    return 0;
}
