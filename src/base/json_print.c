/* JSON printer. The one-line form has blanks after ',' and ':', as scripts that grep QMP output expect. */

#include "base/json.h"

#include <math.h>
#include <string.h>

static void print_string(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    while (*text) {
        const char *bad;
        g_utf8_validate(text, -1, &bad);
        for (; text < bad; text++) {
            switch (*text) {
            case '"': g_string_append(out, "\\\""); break;
            case '\\': g_string_append(out, "\\\\"); break;
            case '\b': g_string_append(out, "\\b"); break;
            case '\f': g_string_append(out, "\\f"); break;
            case '\n': g_string_append(out, "\\n"); break;
            case '\r': g_string_append(out, "\\r"); break;
            case '\t': g_string_append(out, "\\t"); break;
            default:
                if ((unsigned char)*text < 0x20 || *text == 0x7F) {
                    g_string_append_printf(out, "\\u%04x", *text);
                } else {
                    g_string_append_c(out, *text);
                }
            }
        }
        if (*text) {
            g_string_append(out, "\xEF\xBF\xBD"); /* U+FFFD for a byte that is no UTF-8: a host file name */
            text++;
        }
    }
    g_string_append_c(out, '"');
}

/* The shortest text that reads back as the same double, and as a double. */
static void print_double(GString *out, double value)
{
    if (!isfinite(value)) {
        g_string_append(out, "null");
        return;
    }
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    for (int digits = 15; digits <= 17; digits++) {
        char format[8];
        g_snprintf(format, sizeof format, "%%.%dg", digits);
        g_ascii_formatd(text, sizeof text, format, value);
        if (g_ascii_strtod(text, NULL) == value) {
            break;
        }
    }
    g_string_append(out, text);
    if (!strpbrk(text, ".e")) {
        g_string_append(out, ".0");
    }
}

static void new_line(GString *out, unsigned depth)
{
    g_string_append_printf(out, "\n%*s", (int)(depth * 4), "");
}

static void print_value(GString *out, const Json *value, bool pretty, unsigned depth)
{
    switch (value->kind) {
    case JSON_NULL: g_string_append(out, "null"); return;
    case JSON_BOOL: g_string_append(out, value->boolean ? "true" : "false"); return;
    case JSON_INT: g_string_append_printf(out, "%" G_GINT64_FORMAT, value->integer); return;
    case JSON_UINT: g_string_append_printf(out, "%" G_GUINT64_FORMAT, value->uinteger); return;
    case JSON_DOUBLE: print_double(out, value->number); return;
    case JSON_STRING: print_string(out, value->string); return;
    case JSON_LIST:
    case JSON_OBJECT: break;
    }
    bool object = value->kind == JSON_OBJECT;
    g_string_append_c(out, object ? '{' : '[');
    for (size_t i = 0; i < value->n; i++) {
        if (i > 0) {
            g_string_append(out, pretty ? "," : ", ");
        }
        if (pretty) {
            new_line(out, depth + 1);
        }
        if (object) {
            print_string(out, value->keys[i]);
            g_string_append(out, ": ");
        }
        print_value(out, value->items[i], pretty, depth + 1);
    }
    if (pretty && value->n > 0) {
        new_line(out, depth);
    }
    g_string_append_c(out, object ? '}' : ']');
}

void json_print_to(GString *out, const Json *value, bool pretty)
{
    print_value(out, value, pretty, 0);
}

char *json_print(const Json *value, bool pretty)
{
    GString *out = g_string_new(NULL);
    json_print_to(out, value, pretty);
    return g_string_free(out, FALSE);
}
