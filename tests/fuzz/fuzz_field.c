/* Options and JSON into a struct. An input that begins with '{' is JSON and parsed strictly, any other an option
 * string. What was parsed prints, and the print parses strictly into the same. */

#include "base/optstr.h"
#include "fuzz.h"
#include "sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(Error) err     = { 0 };
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(Json) json  = optstr_parse(text, "path", &err);
    if (!json || json->kind != JSON_OBJECT) {
        error_clear(&err);
        return 0;
    }
    Sample sample;
    fields_init(sample_properties, &sample);
    bool ok = fields_parse(sample_properties, &sample, json, *text != '{', NULL, &err);
    fuzz_check_error(ok, &err);
    g_autoptr(Json) print = fields_print(sample_properties, &sample);
    if (ok && g_utf8_validate(text, -1, NULL)) {
        Sample again;
        fields_init(sample_properties, &again);
        g_assert(fields_parse(sample_properties, &again, print, false, NULL, &err));
        g_autoptr(Json) second = fields_print(sample_properties, &again);
        g_assert(json_equal(print, second));
        fields_clear(sample_properties, &again);
    }
    fields_clear(sample_properties, &sample);
    return 0;
}
