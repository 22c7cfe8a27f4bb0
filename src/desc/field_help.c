/* Fields: the words of help. */

#include "desc/field.h"
#include "desc/field_private.h"

#include <string.h>

/* Column where the words begin. */
#define HELP_COLUMN 25

static const char *join_names(const Field *field, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0]   = 0;
    for (unsigned i = 0; field->names[i]; i++) {
        if (*field->names[i] && used < size) {
            used += (size_t)g_snprintf(buffer + used, size - used, "%s%s", used ? "/" : "", field->names[i]);
        }
    }
    return buffer;
}

const char *field_type_name(const Field *field, char *buffer, size_t size)
{
    static const char *const kinds[] = {
        [FIELD_END] = "",        [FIELD_BOOL] = "bool",     [FIELD_U8] = "uint8",      [FIELD_U16] = "uint16",
        [FIELD_U32] = "uint32",  [FIELD_U64] = "uint64",    [FIELD_I8] = "int8",       [FIELD_I16] = "int16",
        [FIELD_I32] = "int32",   [FIELD_I64] = "int64",     [FIELD_DOUBLE] = "number", [FIELD_STRING] = "str",
        [FIELD_JSON] = "any",    [FIELD_STRUCT] = "object", [FIELD_LIST] = "list",     [FIELD_BYTES] = "bytes",
        [FIELD_FLAT] = "object",
    };
    if (field->custom) {
        return field->custom->type_name;
    }
    if (field->names == on_off_auto_names) {
        return "on/off/auto";
    }
    if (field->names) {
        return join_names(field, buffer, size);
    }
    if (field->size_unit) {
        return "size";
    }
    if (field->kind == FIELD_LIST) {
        char inner[128];
        g_snprintf(buffer, size, "list<%s>",
                   field->sub ? "object" : field_type_name(field->element, inner, sizeof inner));
        return buffer;
    }
    return kinds[field->kind];
}

static void append_line(GPtrArray *lines, const Field *field, const char *prefix)
{
    char             buffer[256];
    GString         *line = g_string_new(NULL);
    g_autofree char *text = field_default_text(field);
    g_string_append_printf(line, "  %s%s=<%s>", prefix, field->name, field_type_name(field, buffer, sizeof buffer));
    if (field->help || text || field->required) {
        g_string_append_printf(line, "%*s - %s", MAX(HELP_COLUMN - (int)line->len, 0), "",
                               field->help ? field->help : "");
    }
    if (field->required) {
        g_string_append_printf(line, "%s(required)", field->help ? " " : "");
    } else if (text && *text) {
        g_string_append_printf(line, "%s(default: %s)", field->help ? " " : "", text);
    }
    g_string_append_c(line, '\n');
    g_ptr_array_add(lines, g_string_free(line, FALSE));
}

static void collect_lines(GPtrArray *lines, const Field *table, const char *prefix)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            collect_lines(lines, field->sub, prefix);
        } else if (field->read_only || field->unsupported) {
            continue;
        } else if (field->kind == FIELD_STRUCT && !field->custom) {
            g_autofree char *inner = g_strdup_printf("%s%s.", prefix, field->name);
            collect_lines(lines, field->sub, inner);
        } else {
            append_line(lines, field, prefix);
        }
    }
}

static int compare_lines(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void fields_print_help(const Field *table, GString *out)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    collect_lines(lines, table, "");
    g_ptr_array_sort(lines, compare_lines);
    for (guint i = 0; i < lines->len; i++) {
        g_string_append(out, lines->pdata[i]);
    }
}
