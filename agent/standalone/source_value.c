#include "agent/standalone/source_value.h"

#include "agent/standalone/runner.h"
#include "common/cleanup.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

static int decode_base64(const char *text, char **ret, size_t *ret_size)
{
    size_t n = strlen(text), padding = 0;
    CLEANUP(free_ptr) char *out = malloc(n / 4 * 3 + 4);
    int got;

    if (!out)
        return -ENOMEM;
    while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
        padding++;
    got = n % 4 || n > (1 << 24)
              ? -1
              : EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    if (got < 0 || (size_t)got < padding)
        return -EINVAL;
    *ret_size = (size_t)got - padding;
    out[*ret_size] = 0;
    *ret = TAKE_PTR(out);
    return 0;
}

/* Plain text members win over encoded ones, as with stringData. */
static int value_of(const json_t *object, bool secret, const char *key, char **ret_data,
                    size_t *ret_size)
{
    const char *plain = json_string_value(
        json_object_get(json_object_get(object, secret ? "stringData" : "data"), key));
    const char *encoded = json_string_value(
        json_object_get(json_object_get(object, secret ? "data" : "binaryData"), key));

    if (plain) {
        *ret_data = strdup(plain);
        *ret_size = strlen(plain);
        return *ret_data ? 0 : -ENOMEM;
    }
    return encoded ? decode_base64(encoded, ret_data, ret_size) : -ENOENT;
}

const json_t *source_object(const struct pod *p, bool secret, const char *name)
{
    const struct object *o =
        objects_get(p->runner->objects, secret ? OBJECT_SECRET : OBJECT_CONFIG_MAP, p->ns, name);

    return o ? o->json : NULL;
}

int source_value(const struct pod *p, bool secret, const char *name, const char *key,
                 char **ret_data, size_t *ret_size, struct error *err)
{
    const char *kind = secret ? "Secret" : "ConfigMap";
    const json_t *object = source_object(p, secret, name);
    int r;

    if (!object)
        return error_set(err, -ENOENT, "%s '%s/%s' is not there", kind, p->ns, name);
    r = value_of(object, secret, key, ret_data, ret_size);
    if (r == -ENOENT)
        return error_set(err, r, "%s '%s/%s' has no key '%s'", kind, p->ns, name, key);
    return r < 0 ? error_errno(err, r, "%s '%s/%s' key '%s'", kind, p->ns, name, key) : 0;
}
