#include "agent/services/services.h"
#include "policy/address.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct services s;
static unsigned changes;

static void note_change(void *ctx)
{
    (void)ctx;
    changes++;
}

static void set_up(void)
{
    services_init(&s);
    s.changed = note_change;
    changes = 0;
}

static void tear_down(void)
{
    services_fini(&s);
}

static int apply(int (*fn)(struct services *, const json_t *, struct error *), const char *text)
{
    json_t *o = json_loads(text, 0, NULL);
    struct error err = ERROR_INIT;
    int r;

    cr_assert_not_null(o, "%s", text);
    r = fn(&s, o, &err);
    if (r < 0)
        cr_assert(*err.msg && err.code == r);
    json_decref(o);
    return r;
}

static const struct service_front *front(const char *addr, int protocol, uint16_t port)
{
    uint8_t a[16] = {0};

    if (addr)
        cr_assert(address_parse(addr, a));
    return services_find(&s, a, (uint8_t)protocol, port);
}

static int add_backend(void *ctx, const struct service_backend *b)
{
    char text[ADDRESS_TEXT_MAX];
    size_t n = strlen(ctx);

    (void)snprintf((char *)ctx + n, 400 - n, "%s:%u%s ", address_format(b->addr, text), b->port,
                   b->ready ? "" : "!");
    return 0;
}

static const char *backends(const struct service_front *f)
{
    static char text[400];

    text[0] = 0;
    cr_assert_not_null(f);
    (void)services_each_backend(&s, f, add_backend, text);
    return text;
}

#define SERVICE                                                                                    \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.96.0.5\","  \
    "\"clusterIPs\":[\"10.96.0.5\",\"fd00::5\"],\"externalIPs\":[\"192.0.2.9\"],\"ports\":["       \
    "{\"name\":\"http\",\"port\":80,\"nodePort\":30080,\"targetPort\":8080},"                      \
    "{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\"}]},"                                       \
    "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"198.51.100.1\"},{\"hostname\":\"x\"},"   \
    "{\"ip\":\"198.51.100.2\",\"ipMode\":\"Proxy\"}]}}}"
#define SLICE(name, addresses)                                                                     \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name                                          \
    "\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},\"addressType\":\"IPv4\","            \
    "\"endpoints\":[" addresses "],\"ports\":[{\"name\":\"http\",\"port\":8080},"                  \
    "{\"name\":\"dns\",\"port\":5353,\"protocol\":\"UDP\"}]}"

TestSuite(services, .init = set_up, .fini = tear_down);

Test(services, fronts_of_every_kind)
{
    cr_assert_eq(apply(services_apply, SERVICE), 0);
    cr_assert_eq(s.fronts.count, 9);
    cr_assert_eq(front("10.96.0.5", IPPROTO_TCP, 80)->type, SERVICE_CLUSTER_IP);
    cr_assert_eq(front("fd00::5", IPPROTO_UDP, 53)->type, SERVICE_CLUSTER_IP);
    cr_assert_eq(front("192.0.2.9", IPPROTO_TCP, 80)->type, SERVICE_EXTERNAL_IP);
    cr_assert_eq(front("198.51.100.1", IPPROTO_TCP, 80)->type, SERVICE_LOAD_BALANCER);
    cr_assert_eq(front(NULL, IPPROTO_TCP, 30080)->type, SERVICE_NODE_PORT);
    cr_assert_null(front("198.51.100.2", IPPROTO_TCP, 80), "traffic mode Proxy");
    cr_assert_null(front("10.96.0.5", IPPROTO_UDP, 80));
    cr_assert_null(front("10.96.0.5", IPPROTO_TCP, 81));
    cr_assert_str_eq(service_name(front("10.96.0.5", IPPROTO_TCP, 80)->service), "web");
    cr_assert_str_eq(service_namespace(front("10.96.0.5", IPPROTO_TCP, 80)->service), "d");
    cr_assert_eq(changes, 1);
    cr_assert_eq(apply(services_apply, SERVICE), 0);
    cr_assert_eq(changes, 1, "nothing changed");
    services_remove(&s, "d", "web");
    cr_assert_eq(s.fronts.count, 0);
    cr_assert_eq(s.port_names.count, 0);
}

Test(services, backends_by_name_of_port_and_family)
{
    /* The slice comes first: watches of two collections are in no order. */
    cr_assert_eq(
        apply(services_apply_slice,
              SLICE("web-1", "{\"addresses\":[\"10.1.0.1\"]},"
                             "{\"addresses\":[\"10.1.0.2\"],\"conditions\":{\"ready\":false}},"
                             "{\"addresses\":[\"10.1.0.3\"],\"conditions\":{\"ready\":false,"
                             "\"serving\":true,\"terminating\":true}}")),
        0);
    cr_assert_eq(apply(services_apply, SERVICE), 0);
    cr_assert_str_eq(backends(front("10.96.0.5", IPPROTO_TCP, 80)),
                     "10.1.0.1:8080 10.1.0.3:8080! ");
    cr_assert_str_eq(backends(front("10.96.0.5", IPPROTO_UDP, 53)),
                     "10.1.0.1:5353 10.1.0.3:5353! ");
    cr_assert_str_eq(backends(front("fd00::5", IPPROTO_TCP, 80)), "");
    cr_assert_str_eq(backends(front(NULL, IPPROTO_TCP, 30080)), "10.1.0.1:8080 10.1.0.3:8080! ");
    cr_assert_eq(apply(services_apply_slice, SLICE("web-2", "{\"addresses\":[\"10.1.0.9\"]}")), 0);
    cr_assert_eq(apply(services_apply_slice, SLICE("web-1", "")), 0);
    cr_assert_str_eq(backends(front("10.96.0.5", IPPROTO_TCP, 80)), "10.1.0.9:8080 ");
    cr_assert_eq(s.n_backends, 2);
    services_remove_slice(&s, "d", "web-2");
    cr_assert_str_eq(backends(front("10.96.0.5", IPPROTO_TCP, 80)), "");
    services_remove(&s, "d", "web");
    services_remove_slice(&s, "d", "web-1");
    cr_assert_eq(s.services.count + s.slices.count + s.port_names.count + s.n_backends, 0);
}

Test(services, headless_and_external_names_have_no_front)
{
    cr_assert_eq(apply(services_apply, SERVICE), 0);
    cr_assert_eq(
        apply(services_apply,
              "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{"
              "\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"],\"ports\":[{\"port\":80}]}}"),
        0);
    cr_assert_eq(s.fronts.count, 0);
    cr_assert_eq(apply(services_apply,
                       "{\"metadata\":{\"namespace\":\"d\",\"name\":\"n\"},\"spec\":{\"type\":"
                       "\"ExternalName\",\"externalName\":\"x.example\"}}"),
                 0);
    cr_assert_eq(s.fronts.count, 0);
}

Test(services, malformed_ones_are_refused_and_change_nothing)
{
    static const char *const bad[] = {
        "{}",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"../x\"}}",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{\"clusterIPs\":[7]}}",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{\"clusterIPs\":[\"10.0.0\"]"
        "}}",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{\"clusterIPs\":[\"10.0.0."
        "1\"],"
        "\"ports\":[{\"port\":80},{\"port\":70000}]}}",
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{\"clusterIPs\":[\"10.0.0."
        "1\"],"
        "\"ports\":[{\"port\":80,\"protocol\":\"ICMP\"}]}}",
    };

    cr_assert_eq(apply(services_apply, SERVICE), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_lt(apply(services_apply, bad[i]), 0, "%s", bad[i]);
    cr_assert_lt(apply(services_apply_slice, SLICE("web-1", "{\"addresses\":[\"pod.example\"]}")),
                 0);
    cr_assert_eq(s.fronts.count, 9);
    cr_assert_eq(changes, 1);
    cr_assert_eq(s.slices.count, 0);
}
