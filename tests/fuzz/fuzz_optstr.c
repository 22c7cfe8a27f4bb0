/* Option strings. The first line of the input is the implied key (empty for none), the rest the option. */

#include "fuzz.h"

#include "base/optstr.h"

#include <string.h>

/* Leaves of option strings are strings; JSON may bring anything. */
static void check_leaves(const Json *value, bool strings_only)
{
    if (value->kind == JSON_OBJECT || value->kind == JSON_LIST) {
        for (size_t i = 0; i < value->n; i++) {
            check_leaves(value->items[i], strings_only);
        }
    } else if (strings_only) {
        g_assert(value->kind == JSON_STRING);
    }
}

/* Any value survives being escaped. */
static void check_escape(const char *text)
{
    g_auto(Error) err         = { 0 };
    g_autoptr(GString) option = g_string_new("key=");
    optstr_append_escaped(option, text);
    g_autoptr(Json) value = optstr_parse(option->str, NULL, &err);
    fuzz_check_error(value != NULL, &err);
    if (value) {
        g_assert(g_strcmp0(json_get_string(value, "key"), text) == 0);
    } else {
        g_assert(!g_utf8_validate(text, -1, NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(Error) err     = { 0 };
    g_autofree char *text = g_strndup((const char *)data, size);
    char            *line = strchr(text, '\n');
    char            *rest = line ? line + 1 : text;
    const char      *key  = NULL;
    if (line) {
        *line = '\0';
        key   = *text ? text : NULL;
    }
    g_autoptr(Json) value = optstr_parse(rest, key, &err);
    fuzz_check_error(value != NULL, &err);
    if (value) {
        g_assert(value->kind == JSON_OBJECT);
        check_leaves(value, *rest != '{');
        g_autofree char *print = json_print(value, false);
        g_assert(print[0] == '{');
    }
    check_escape(rest);
    return 0;
}
