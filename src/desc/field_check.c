/* Fields: is a table well made? For tests that walk everything that is registered. */

#include "desc/field.h"
#include "desc/field_private.h"

#include <string.h>

static bool G_GNUC_PRINTF(3, 4) fault(const Field *field, Error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    return error_set(err, "field '%s': %s", field->name ? field->name : "?", what);
}

static bool check_table(const Field *table, size_t size, bool state, GHashTable *names, Error *err);

static bool check_nested(const Field *table, size_t size, bool state, Error *err)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    return check_table(table, size, state, names, err);
}

static unsigned count_names(const Field *field)
{
    unsigned n = 0;
    while (field->names[n]) {
        n++;
    }
    return n;
}

static bool check_integer(const Field *field, bool state, Error *err)
{
    static const uint8_t sizes[] = {
        [FIELD_U8] = 1, [FIELD_U16] = 2, [FIELD_U32] = 4, [FIELD_U64] = 8,
        [FIELD_I8] = 1, [FIELD_I16] = 2, [FIELD_I32] = 4, [FIELD_I64] = 8,
    };
    g_auto(Error) range = { 0 };
    if (field->size != sizes[field->kind]) {
        return fault(field, err, "its size is not its type's");
    }
    if (field->names &&
        (field->initial < 0 || field->initial >= count_names(field) || !*field->names[field->initial])) {
        return fault(field, err, "its default has no name");
    }
    /* Saved state starts from what reset gives, not from a default. */
    if (!state && !field->text && !field->read_only && !field->has_offset && !field->required &&
        !field_check_int(field, field->initial, &range)) {
        return fault(field, err, "its default %s", range.text);
    }
    return true;
}

static bool check_list(const Field *field, bool state, Error *err)
{
    if (!field->sub == !field->element) {
        return fault(field, err, "a list has either .sub or .element");
    }
    if (!field_element_is_pointer(field) && !field->element_size) {
        return fault(field, err, "a list without .element_size");
    }
    return !field->sub || check_nested(field->sub, field->element_size, state, err) ||
           error_prefix(err, "field '%s': ", field->name);
}

static bool check_field(const Field *field, bool state, Error *err)
{
    if (field->custom) {
        return (field->custom->type_name && field->custom->parse && field->custom->print) ||
               fault(field, err, "its custom type is incomplete");
    }
    if (!state && (field->kind == FIELD_BYTES || field->count != 1)) {
        return fault(field, err, "arrays are for saved state only");
    }
    if (field->names && !field_is_integer(field)) {
        return fault(field, err, "names are for integers");
    }
    switch (field->kind) {
    case FIELD_CUSTOM: return fault(field, err, "no custom type");
    case FIELD_LIST: return check_list(field, state, err);
    case FIELD_STRUCT:
        return field->sub
                   ? check_nested(field->sub, field->size, state, err) || error_prefix(err, "field '%s': ", field->name)
                   : fault(field, err, "a type that nothing describes");
    default: return !field_is_integer(field) || check_integer(field, state, err);
    }
}

static bool check_name(const Field *field, GHashTable *names, Error *err)
{
    size_t len = field->name ? strlen(field->name) : 0;
    if (!len || len > 255 || strpbrk(field->name, " ,=")) {
        return fault(field, err, "not a name");
    }
    if (!g_hash_table_add(names, (gpointer)field->name) ||
        (field->alias && !g_hash_table_add(names, (gpointer)field->alias))) {
        return fault(field, err, "a name that another field has");
    }
    return true;
}

static bool check_table(const Field *table, size_t size, bool state, GHashTable *names, Error *err)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        size_t end = field->offset + (size_t)field->size * field->count;
        if (!field->count || end > size || field->has_offset > size) {
            return fault(field, err, "lies outside its struct");
        }
        if (field->kind == FIELD_FLAT) {
            if (!check_table(field->sub, field->size, state, names, err)) {
                return false;
            }
        } else if (!check_name(field, names, err) || !check_field(field, state, err)) {
            return false;
        }
    }
    return true;
}

bool fields_check(const Field *table, size_t size, bool state, Error *err)
{
    if (!check_nested(table, size, state, err)) {
        return false;
    }
    if (!state) {
        /* Defaults written as text abort when they do not parse. */
        g_autofree void *object = g_malloc0(size);
        fields_init(table, object);
        fields_clear(table, object);
    }
    return true;
}
