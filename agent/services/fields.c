#include "agent/json.h"
#include "agent/schema.h"
#include "agent/services/internal.h"
#include "policy/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- names of ports */

struct port_name *port_name_get(struct services *s, const char *text)
{
    uint64_t hash = hash_string(text);
    struct port_name *p;
    size_t size = strlen(text) + 1;

    for (struct hash_node *n = hashmap_first(&s->port_names, hash); n; n = hashmap_next_same(n)) {
        p = hash_entry(n, struct port_name, node);
        if (strcmp(p->text, text) == 0) {
            p->refs++;
            return p;
        }
    }
    p = calloc(1, sizeof(*p) + size);
    if (!p || hashmap_add(&s->port_names, &p->node, hash) < 0) {
        free(p);
        return NULL;
    }
    memcpy(p->text, text, size);
    p->refs = 1;
    return p;
}

void port_name_put(struct services *s, struct port_name *p)
{
    if (--p->refs)
        return;
    (void)hashmap_remove(&s->port_names, &p->node);
    free(p);
}

/* -- fields */

int service_read_protocol(const json_t *port, uint8_t *ret, struct error *err)
{
    const char *text = get_string(port, "protocol", "TCP");
    int number = protocol_parse(text);

    if (number < 0 || !protocol_has_ports(number))
        return error_set(err, -EINVAL, "protocol '%.20s' has no ports", text);
    *ret = (uint8_t)number;
    return 0;
}

int service_read_port(const json_t *port, const char *key, uint16_t *ret, struct error *err)
{
    json_int_t number = json_integer_value(json_object_get(port, key));

    if (number < 0 || number > 65535)
        return error_set(err, -EINVAL, "%s %lld is out of range", key, (long long)number);
    *ret = (uint16_t)number;
    return 0;
}

int service_read_meta(const json_t *object, const char **ns, const char **name, struct error *err)
{
    const json_t *m = json_object_get(object, "metadata");

    *ns = get_string(m, "namespace", "");
    *name = get_string(m, "name", "");
    if (!name_is_label(*ns) || !name_is_subdomain(*name))
        return error_set(err, -EINVAL, "an object has no proper name");
    return 0;
}
