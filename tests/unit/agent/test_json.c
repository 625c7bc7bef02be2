#include "agent/json.h"

#include <criterion/criterion.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_t *o = json_loads(text, 0, NULL);

    cr_assert_not_null(o);
    return o;
}

Test(json, fields_are_found_by_path)
{
    json_t *o =
        parse("{\"spec\": {\"a\": {\"b\": \"x\"}, \"n\": 7, \"yes\": true, \"list\": [1]}}");

    cr_assert_str_eq(get_string(o, "spec.a.b", ""), "x");
    cr_assert_eq(get_int(o, "spec.n", 0), 7);
    cr_assert(get_bool(o, "spec.yes", false));
    cr_assert_eq(json_array_size(get(o, "spec.list")), 1);
    json_decref(o);
}

Test(json, what_is_missing_null_or_of_another_type_gives_the_default)
{
    json_t *o = parse("{\"spec\": {\"null\": null, \"text\": \"7\", \"n\": 7, \"object\": {}}}");

    cr_assert_null(get(o, "spec.none.deeper"));
    cr_assert_null(get(o, "spec.null"));
    cr_assert_null(get(o, "spec.text.deeper"));
    cr_assert_null(get(NULL, "spec"));
    cr_assert_str_eq(get_string(o, "spec.n", "default"), "default");
    cr_assert_eq(get_int(o, "spec.text", -1), -1);
    cr_assert(get_bool(o, "spec.object", true));
    json_decref(o);
}
