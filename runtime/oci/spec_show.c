/* The members of config.json that this runtime knows, from the tables by which it reads them. */
#include "runtime/oci/spec_fields.h"

#include <stdio.h>

static const char *effect(const struct oci_field *f)
{
    if (f->kind == OCI_REFUSED)
        return "refused";
    return f->why ? "no effect" : "honoured";
}

static void show(int fd, const char *prefix, const struct oci_field *fields)
{
    for (const struct oci_field *f = fields; f->name; f++) {
        bool list = f->kind == OCI_ARRAY || f->kind == OCI_STRINGS || f->kind == OCI_INTS;
        bool leaf = !f->fields || f->why;
        char name[128];

        (void)snprintf(name, sizeof(name), "%s%s%s%s", prefix, f->name, list ? "[]" : "",
                       leaf ? "" : ".");
        if (leaf)
            (void)dprintf(fd, "%-9s %s%s%s\n", effect(f), name, f->why ? ": " : "",
                          f->why ? f->why : "");
        else
            show(fd, name, f->fields);
    }
}

void oci_spec_show(int fd)
{
    show(fd, "", oci_spec_fields);
}
