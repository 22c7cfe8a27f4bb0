/* Numbers, sizes, booleans, UUIDs, patterns and nearest names. Lines of the input are the texts; the first is
 * matched against the others. */

#include "fuzz.h"

#include "base/text.h"

#include <string.h>

static void check_numbers(const char *text)
{
    g_auto(Error) err = { 0 };
    uint64_t bytes, value;
    int64_t  number;
    bool     flag;
    uint8_t  uuid[16];

    bool ok = text_parse_size(text, 1, &bytes, &err);
    fuzz_check_error(ok, &err);
    if (ok) {
        /* In units of MiB a plain number means more, and nothing means less. */
        uint64_t mega;
        if (text_parse_size(text, MiB, &mega, &err)) {
            g_assert(mega >= bytes);
        }
        error_clear(&err);
        g_autofree char *shown = text_format_size(bytes);
        g_assert(*shown);
    }
    ok = text_parse_uint(text, 1000, &value, &err);
    fuzz_check_error(ok, &err);
    g_assert(!ok || value <= 1000);
    ok = text_parse_uint(text, UINT64_MAX, &value, &err);
    fuzz_check_error(ok, &err);
    if (ok) {
        g_autofree char *shown = g_strdup_printf("%" G_GUINT64_FORMAT, value);
        uint64_t         again;
        g_assert(text_parse_uint(shown, UINT64_MAX, &again, &err) && again == value);
    }
    ok = text_parse_int(text, -5, 300, &number, &err);
    fuzz_check_error(ok, &err);
    g_assert(!ok || (number >= -5 && number <= 300));
    ok = text_parse_int(text, INT64_MIN, INT64_MAX, &number, &err);
    fuzz_check_error(ok, &err);
    if (ok) {
        g_autofree char *shown = g_strdup_printf("%" G_GINT64_FORMAT, number);
        int64_t          again;
        g_assert(text_parse_int(shown, INT64_MIN, INT64_MAX, &again, &err) && again == number);
    }
    ok = text_parse_bool(text, &flag, &err);
    fuzz_check_error(ok, &err);
    ok = text_parse_uuid(text, uuid, &err);
    fuzz_check_error(ok, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, MIN(size, 512));
    g_auto(GStrv) lines   = g_strsplit(text, "\n", 16);
    NameMatch match       = { .word = lines[0] ? lines[0] : "" };
    char      buffer[128];
    for (char **line = lines; *line; line++) {
        check_numbers(*line);
        text_match_name(&match, *line);
        bool hit = text_glob(lines[0], *line);
        g_assert(hit || strcmp(lines[0], *line) != 0 || strpbrk(lines[0], "*?"));
    }
    g_assert(strlen(text_did_you_mean(&match, buffer)) < sizeof buffer);
    return 0;
}
