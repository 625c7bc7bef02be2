#include "agent/standalone/podspec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MAX = 2147483647, CONTAINERS_MAX = 32 };

#define NOT_HERE "there is no kubelet behind a folder of manifests"

static const struct field key_ref[] = {{.name = "name", .type = F_SUBDOMAIN, .required = true},
                                       {.name = "key", .type = F_KEY, .required = true},
                                       {.name = "optional", .type = F_BOOL},
                                       FIELD_END};
static const struct field field_ref[] = {{.name = "apiVersion", .type = F_STRING},
                                         {.name = "fieldPath", .type = F_STRING, .required = true},
                                         FIELD_END};
static const struct field value_from[] = {
    {.name = "fieldRef", .type = F_OBJECT, .sub = field_ref},
    {.name = "configMapKeyRef", .type = F_OBJECT, .sub = key_ref},
    {.name = "secretKeyRef", .type = F_OBJECT, .sub = key_ref},
    {.name = "resourceFieldRef", .type = F_REFUSED, .why = "use value or fieldRef"},
    FIELD_END};
static const struct field env_var[] = {{.name = "name", .type = F_STRING, .required = true},
                                       {.name = "value", .type = F_STRING},
                                       {.name = "valueFrom", .type = F_OBJECT, .sub = value_from},
                                       FIELD_END};
static const struct field source_ref[] = {{.name = "name", .type = F_SUBDOMAIN, .required = true},
                                          {.name = "optional", .type = F_BOOL},
                                          FIELD_END};
static const struct field env_from[] = {
    {.name = "prefix", .type = F_STRING},
    {.name = "configMapRef", .type = F_OBJECT, .sub = source_ref},
    {.name = "secretRef", .type = F_OBJECT, .sub = source_ref},
    FIELD_END};
static const struct field port[] = {
    {.name = "name", .type = F_NAME},
    {.name = "containerPort", .type = F_INT, .required = true, .min = 1, .max = 65535},
    {.name = "protocol", .type = F_STRING},
    {.name = "hostPort", .type = F_REFUSED, .why = "ports of the node are not mapped"},
    {.name = "hostIP", .type = F_REFUSED, .why = "ports of the node are not mapped"},
    FIELD_END};
static const struct field volume_mount[] = {
    {.name = "name", .type = F_NAME, .required = true},
    {.name = "mountPath", .type = F_PATH, .required = true},
    {.name = "readOnly", .type = F_BOOL},
    {.name = "mountPropagation", .type = F_REFUSED, .why = "mounts do not propagate here"},
    {.name = "subPath", .type = F_REFUSED, .why = "mount the whole volume"},
    {.name = "subPathExpr", .type = F_REFUSED, .why = "mount the whole volume"},
    FIELD_END};
static const struct field capabilities[] = {
    {.name = "add", .type = F_STRINGS}, {.name = "drop", .type = F_STRINGS}, FIELD_END};
static const struct field security_context[] = {
    {.name = "runAsUser", .type = F_INT, .max = ID_MAX},
    {.name = "runAsGroup", .type = F_INT, .max = ID_MAX},
    {.name = "runAsNonRoot", .type = F_BOOL},
    {.name = "readOnlyRootFilesystem", .type = F_BOOL},
    {.name = "allowPrivilegeEscalation", .type = F_BOOL},
    {.name = "privileged", .type = F_BOOL},
    {.name = "capabilities", .type = F_OBJECT, .sub = capabilities},
    {.name = "seccompProfile",
     .type = F_REFUSED,
     .why = "containers run under the runtime's own confinement"},
    {.name = "procMount", .type = F_REFUSED, .why = "only the default is there"},
    {.name = "appArmorProfile", .type = F_REFUSED, .why = "not set up here"},
    {.name = "seLinuxOptions", .type = F_REFUSED, .why = "not set up here"},
    FIELD_END};
static const struct field resource_list[] = {
    {.name = "limits", .type = F_ANY}, {.name = "requests", .type = F_ANY}, FIELD_END};
static const struct field container[] = {
    {.name = "name", .type = F_NAME, .required = true},
    {.name = "image", .type = F_STRING, .required = true},
    {.name = "imagePullPolicy", .type = F_STRING},
    {.name = "command", .type = F_STRINGS},
    {.name = "args", .type = F_STRINGS},
    {.name = "workingDir", .type = F_PATH},
    {.name = "env", .type = F_OBJECTS, .sub = env_var},
    {.name = "envFrom", .type = F_OBJECTS, .sub = env_from},
    {.name = "ports", .type = F_OBJECTS, .sub = port},
    {.name = "volumeMounts", .type = F_OBJECTS, .sub = volume_mount},
    {.name = "securityContext", .type = F_OBJECT, .sub = security_context},
    {.name = "resources", .type = F_OBJECT, .sub = resource_list},
    {.name = "terminationMessagePath", .type = F_STRING},
    {.name = "terminationMessagePolicy", .type = F_STRING},
    {.name = "livenessProbe", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "readinessProbe", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "startupProbe", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "lifecycle", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "volumeDevices", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "stdin", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "tty", .type = F_REFUSED, .why = NOT_HERE},
    FIELD_END};
static const struct field key_path[] = {{.name = "key", .type = F_KEY, .required = true},
                                        {.name = "path", .type = F_STRING, .required = true},
                                        {.name = "mode", .type = F_INT, .max = 0777},
                                        FIELD_END};
static const struct field empty_dir[] = {
    {.name = "medium", .type = F_STRING}, {.name = "sizeLimit", .type = F_ANY}, FIELD_END};
static const struct field config_map_volume[] = {
    {.name = "name", .type = F_SUBDOMAIN, .required = true},
    {.name = "items", .type = F_OBJECTS, .sub = key_path},
    {.name = "defaultMode", .type = F_INT, .max = 0777},
    {.name = "optional", .type = F_BOOL},
    FIELD_END};
static const struct field secret_volume[] = {
    {.name = "secretName", .type = F_SUBDOMAIN, .required = true},
    {.name = "items", .type = F_OBJECTS, .sub = key_path},
    {.name = "defaultMode", .type = F_INT, .max = 0777},
    {.name = "optional", .type = F_BOOL},
    FIELD_END};
static const struct field host_path[] = {{.name = "path", .type = F_PATH, .required = true},
                                         {.name = "type", .type = F_STRING},
                                         FIELD_END};
static const struct field volume[] = {
    {.name = "name", .type = F_NAME, .required = true},
    {.name = "emptyDir", .type = F_OBJECT, .sub = empty_dir},
    {.name = "configMap", .type = F_OBJECT, .sub = config_map_volume},
    {.name = "secret", .type = F_OBJECT, .sub = secret_volume},
    {.name = "hostPath", .type = F_OBJECT, .sub = host_path},
    {.name = "downwardAPI", .type = F_REFUSED, .why = "use env with fieldRef"},
    {.name = "projected", .type = F_REFUSED, .why = "use configMap or secret"},
    {.name = "persistentVolumeClaim", .type = F_REFUSED, .why = NOT_HERE},
    FIELD_END};
static const struct field pod_security_context[] = {
    {.name = "runAsUser", .type = F_INT, .max = ID_MAX},
    {.name = "runAsGroup", .type = F_INT, .max = ID_MAX},
    {.name = "runAsNonRoot", .type = F_BOOL},
    {.name = "supplementalGroups", .type = F_ANY},
    {.name = "fsGroup", .type = F_INT, .max = ID_MAX},
    {.name = "sysctls", .type = F_REFUSED, .why = "not set up here"},
    {.name = "seccompProfile",
     .type = F_REFUSED,
     .why = "containers run under the runtime's own confinement"},
    FIELD_END};
static const struct field pod_spec[] = {
    {.name = "containers", .type = F_OBJECTS, .required = true, .sub = container},
    {.name = "volumes", .type = F_OBJECTS, .sub = volume},
    {.name = "runtimeClassName", .type = F_SUBDOMAIN},
    {.name = "restartPolicy", .type = F_STRING},
    {.name = "activeDeadlineSeconds", .type = F_INT, .min = 1, .max = ID_MAX},
    {.name = "terminationGracePeriodSeconds", .type = F_INT, .max = 86400},
    {.name = "securityContext", .type = F_OBJECT, .sub = pod_security_context},
    {.name = "hostname", .type = F_NAME},
    {.name = "hostNetwork", .type = F_REFUSED, .why = "a pod here has a network of its own"},
    {.name = "hostPID", .type = F_REFUSED, .why = "a pod here has processes of its own"},
    {.name = "hostIPC", .type = F_REFUSED, .why = "a pod here has an IPC namespace of its own"},
    {.name = "shareProcessNamespace",
     .type = F_REFUSED,
     .why = "containers have processes of their own"},
    {.name = "initContainers", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "ephemeralContainers", .type = F_REFUSED, .why = NOT_HERE},
    {.name = "serviceAccountName", .type = F_SUBDOMAIN},
    {.name = "serviceAccount", .type = F_SUBDOMAIN},
    {.name = "automountServiceAccountToken", .type = F_BOOL},
    {.name = "enableServiceLinks", .type = F_BOOL},
    {.name = "dnsPolicy", .type = F_STRING},
    {.name = "nodeName", .type = F_SUBDOMAIN},
    {.name = "nodeSelector", .type = F_ANY},
    {.name = "tolerations", .type = F_ANY},
    {.name = "affinity", .type = F_ANY},
    {.name = "priorityClassName", .type = F_ANY},
    {.name = "imagePullSecrets", .type = F_ANY},
    FIELD_END};
static const struct field metadata[] = {
    {.name = "name", .type = F_SUBDOMAIN, .required = true},
    {.name = "namespace", .type = F_NAME},
    {.name = "labels", .type = F_MAP},
    {.name = "annotations", .type = F_MAP},
    {.name = "uid", .type = F_REFUSED, .why = "the agent gives it"},
    {.name = "creationTimestamp", .type = F_ANY},
    {.name = "generateName", .type = F_REFUSED, .why = "give a name"},
    FIELD_END};
static const struct field pod_fields[] = {
    {.name = "apiVersion", .type = F_STRING, .required = true},
    {.name = "kind", .type = F_STRING, .required = true},
    {.name = "metadata", .type = F_OBJECT, .required = true, .sub = metadata},
    {.name = "spec", .type = F_OBJECT, .required = true, .sub = pod_spec},
    {.name = "status", .type = F_ANY},
    FIELD_END};
static const struct field config_map_fields[] = {
    {.name = "apiVersion", .type = F_STRING, .required = true},
    {.name = "kind", .type = F_STRING, .required = true},
    {.name = "metadata", .type = F_OBJECT, .required = true, .sub = metadata},
    {.name = "data", .type = F_MAP},
    {.name = "binaryData", .type = F_MAP},
    {.name = "immutable", .type = F_BOOL},
    FIELD_END};
static const struct field secret_fields[] = {
    {.name = "apiVersion", .type = F_STRING, .required = true},
    {.name = "kind", .type = F_STRING, .required = true},
    {.name = "metadata", .type = F_OBJECT, .required = true, .sub = metadata},
    {.name = "type", .type = F_STRING},
    {.name = "data", .type = F_MAP},
    {.name = "stringData", .type = F_MAP},
    {.name = "immutable", .type = F_BOOL},
    FIELD_END};
static const struct field namespace_fields[] = {
    {.name = "apiVersion", .type = F_STRING, .required = true},
    {.name = "kind", .type = F_STRING, .required = true},
    {.name = "metadata", .type = F_OBJECT, .required = true, .sub = metadata},
    {.name = "spec", .type = F_ANY},
    {.name = "status", .type = F_ANY},
    FIELD_END};

bool podspec_is_sandboxed(const json_t *pod)
{
    return strcmp(get_string(pod, "spec.runtimeClassName", ""), "gvisor") == 0;
}

json_t *podspec_volume(const json_t *pod, const char *name)
{
    size_t i;
    json_t *v;

    json_array_foreach(get(pod, "spec.volumes"), i,
                       v) if (strcmp(get_string(v, "name", ""), name) == 0) return v;
    return NULL;
}

bool quantity_milli(const char *text, int64_t *ret)
{
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {
        {"", 1},     {"m", 1e-3},  {"k", 1e3},      {"M", 1e6},      {"G", 1e9},
        {"T", 1e12}, {"Ki", 1024}, {"Mi", 1048576}, {"Gi", 1 << 30}, {"Ti", 1099511627776.0}};
    char *end;
    double v;

    if (!((*text >= '0' && *text <= '9') || *text == '.'))
        return false;
    v = strtod(text, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].suffix) == 0) {
            v *= units[i].factor * 1000;
            if (!(v >= 0 && v < 9e18))
                return false;
            *ret = (int64_t)v + (v > (double)(int64_t)v);
            return true;
        }
    return false;
}

static int check_quantity(const json_t *v, const char *path, struct schema_error *e)
{
    char text[64];
    int64_t milli;

    if (!v || json_is_null(v))
        return 0;
    if (json_is_number(v))
        (void)snprintf(text, sizeof(text), "%f", json_number_value(v));
    else
        (void)snprintf(text, sizeof(text), "%s", json_string_value(v) ? json_string_value(v) : "");
    if (!json_is_number(v) && !quantity_milli(text, &milli))
        return schema_fail(e, -EINVAL, path, "'%s' is no quantity", text);
    return 0;
}

static int check_resources(const json_t *c, const char *path, struct schema_error *e)
{
    static const char *const lists[] = {"limits", "requests"};
    char sub[256];

    for (size_t i = 0; i < 2; i++) {
        const json_t *list = json_object_get(json_object_get(c, "resources"), lists[i]);
        const char *key;
        json_t *v;

        if (list && !json_is_object(list)) {
            text_format(sub, sizeof(sub), "%.200s.resources.%s", path, lists[i]);
            return schema_fail(e, -EINVAL, sub, "must be a map of quantities");
        }
        json_object_foreach((json_t *)(uintptr_t)list, key, v)
        {
            text_format(sub, sizeof(sub), "%.100s.resources.%s.%.60s", path, lists[i], key);
            if (check_quantity(v, sub, e) < 0)
                return e->err.code;
        }
    }
    return 0;
}

static int check_image(const json_t *c, const char *path, struct schema_error *e)
{
    const char *image = get_string(c, "image", "");
    char sub[256];

    text_format(sub, sizeof(sub), "%.200s.image", path);
    if (strcmp(image, "host:") == 0)
        return 0;
    if (strncmp(image, "dir:", 4) == 0 || strncmp(image, "oci:", 4) == 0)
        return path_is_clean(image + 4)
                   ? 0
                   : schema_fail(e, -EINVAL, sub,
                                 "'%.100s': the path must be absolute, without '..'", image);
    return schema_fail(e, -EINVAL, sub,
                       "'%.100s': standalone images are dir:/PATH, oci:/PATH:TAG or host:", image);
}

static int check_env(const json_t *c, const char *path, struct schema_error *e)
{
    char sub[256];
    size_t i;
    json_t *v;

    json_array_foreach(json_object_get(c, "env"), i, v)
    {
        const char *name = get_string(v, "name", "");
        const json_t *from = get(v, "valueFrom");

        text_format(sub, sizeof(sub), "%.200s.env[%zu]", path, i);
        if (!*name || strchr(name, '='))
            return schema_fail(e, -EINVAL, sub, "'%.80s' is no name of a variable", name);
        if (from && (get(v, "value") || json_object_size(from) != 1))
            return schema_fail(e, -EINVAL, sub, "needs value or exactly one source in valueFrom");
    }
    return 0;
}

static int check_mounts(const json_t *pod, const json_t *c, const char *path,
                        struct schema_error *e)
{
    char sub[256];
    size_t i;
    json_t *v;

    json_array_foreach(json_object_get(c, "volumeMounts"), i, v)
    {
        text_format(sub, sizeof(sub), "%.200s.volumeMounts[%zu].name", path, i);
        if (!podspec_volume(pod, get_string(v, "name", "")))
            return schema_fail(e, -EINVAL, sub, "there is no volume '%s'",
                               get_string(v, "name", ""));
        if (strcmp(get_string(v, "mountPath", "/"), "/") == 0) {
            text_format(sub, sizeof(sub), "%.200s.volumeMounts[%zu].mountPath", path, i);
            return schema_fail(e, -EINVAL, sub, "must not be the root");
        }
    }
    return 0;
}

static int check_privileges(const json_t *pod, const json_t *c, const char *path,
                            struct schema_error *e)
{
    char sub[256];

    text_format(sub, sizeof(sub), "%.200s.securityContext.privileged", path);
    if (get_bool(c, "securityContext.privileged", false) && podspec_is_sandboxed(pod))
        return schema_fail(e, -EINVAL, sub, "a sandboxed pod can't be privileged");
    return 0;
}

static int check_containers(const json_t *pod, struct schema_error *e)
{
    const json_t *list = get(pod, "spec.containers");
    char path[64];
    size_t i;
    json_t *c;

    if (json_array_size(list) == 0 || json_array_size(list) > CONTAINERS_MAX)
        return schema_fail(e, -EINVAL, "spec.containers", "needs 1 to %d containers",
                           CONTAINERS_MAX);
    json_array_foreach(list, i, c)
    {
        (void)snprintf(path, sizeof(path), "spec.containers[%zu]", i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(get_string(c, "name", ""),
                       get_string(json_array_get(list, k), "name", "")) == 0)
                return schema_fail(e, -EINVAL, path, "name '%s' is used twice",
                                   get_string(c, "name", ""));
        if (check_image(c, path, e) < 0 || check_env(c, path, e) < 0 ||
            check_mounts(pod, c, path, e) < 0 || check_privileges(pod, c, path, e) < 0 ||
            check_resources(c, path, e) < 0)
            return e->err.code;
    }
    return 0;
}

static int check_key_paths(const json_t *v, const char *path, struct schema_error *e)
{
    static const char *const kinds[] = {"configMap", "secret"};

    for (size_t k = 0; k < 2; k++) {
        size_t i;
        json_t *item;

        json_array_foreach(json_object_get(json_object_get(v, kinds[k]), "items"), i, item)
        {
            const char *p = get_string(item, "path", "");

            if (!path_is_beneath(p))
                return schema_fail(e, -EINVAL, path,
                                   "items: path '%.80s' must be relative, without '..'", p);
        }
    }
    return 0;
}

static int check_volumes(const json_t *pod, struct schema_error *e)
{
    char path[64];
    size_t i;
    json_t *v;

    json_array_foreach(get(pod, "spec.volumes"), i, v)
    {
        const char *medium = get_string(v, "emptyDir.medium", "");

        (void)snprintf(path, sizeof(path), "spec.volumes[%zu]", i);
        if (podspec_volume(pod, get_string(v, "name", "")) != v)
            return schema_fail(e, -EINVAL, path, "name '%s' is used twice",
                               get_string(v, "name", ""));
        if (json_object_size(v) != 2)
            return schema_fail(e, -EINVAL, path, "needs exactly one source");
        if (*medium && strcmp(medium, "Memory") != 0)
            return schema_fail(e, -EINVAL, path, "emptyDir.medium '%.40s' is unknown", medium);
        if (check_quantity(get(v, "emptyDir.sizeLimit"), path, e) < 0 ||
            check_key_paths(v, path, e) < 0)
            return e->err.code;
    }
    return 0;
}

static int check_choice(const json_t *pod, const char *path, const char *const *choices,
                        struct schema_error *e)
{
    const char *v = get_string(pod, path, NULL);

    if (!v)
        return 0;
    for (; *choices; choices++)
        if (strcmp(v, *choices) == 0)
            return 0;
    return schema_fail(e, -EINVAL, path, "'%.60s' is unknown", v);
}

int podspec_check(const json_t *pod, struct schema_error *e)
{
    static const char *const restart[] = {"Always", "OnFailure", "Never", NULL};
    static const char *const classes[] = {"gvisor", "runc", NULL};

    if (schema_check(pod, pod_fields, "", e) < 0 ||
        check_choice(pod, "spec.restartPolicy", restart, e) < 0 ||
        check_choice(pod, "spec.runtimeClassName", classes, e) < 0 || check_volumes(pod, e) < 0 ||
        check_containers(pod, e) < 0)
        return e->err.code;
    return 0;
}

int plain_object_check(const char *kind, const json_t *object, struct schema_error *e)
{
    const struct field *fields = strcmp(kind, "ConfigMap") == 0 ? config_map_fields
                                 : strcmp(kind, "Secret") == 0  ? secret_fields
                                                                : namespace_fields;
    const char *const maps[] = {"data", "binaryData", "stringData"};

    if (schema_check(object, fields, "", e) < 0)
        return e->err.code;
    for (size_t i = 0; i < 3 && fields != namespace_fields; i++) {
        const char *key;
        json_t *v;

        json_object_foreach(json_object_get(object, maps[i]), key, v) if (!name_is_key(key))
        {
            char path[128];

            (void)snprintf(path, sizeof(path), "%s.%.60s", maps[i], key);
            return schema_fail(e, -EINVAL, path, "is not a valid key");
        }
    }
    return 0;
}
