/* JSON: whatever parses is printed to something that parses to the same. */

#include "fuzz.h"

#include "base/json.h"

#include <string.h>

static void check_print(const Json *value, bool pretty)
{
    g_auto(Error) err     = { 0 };
    g_autofree char *text = json_print(value, pretty);
    g_autoptr(Json) again = json_parse(text, strlen(text), &err);
    g_assert(again);
    g_autofree char *text2 = json_print(again, pretty);
    g_assert(strcmp(text, text2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(Error) err     = { 0 };
    g_autoptr(Json) value = json_parse((const char *)data, size, &err);
    fuzz_check_error(value != NULL, &err);
    if (value) {
        check_print(value, false);
        check_print(value, true);
        g_autoptr(Json) copy = json_copy(value);
        check_print(copy, false);
        if (copy->kind == JSON_LIST) {
            json_append(copy, json_new_null());
        } else if (copy->kind == JSON_OBJECT) {
            json_set(copy, "one more", json_new_null());
        }
        g_assert(!json_get(value, "no such member") || value->kind == JSON_OBJECT);
    }
    return 0;
}
