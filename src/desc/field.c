/* Fields: defaults, ownership, look-up, integers. Parsing, printing and help have files of their own. */

#include "desc/field.h"

#include "base/text.h"
#include "desc/field_private.h"

#include <stdlib.h>
#include <string.h>

const char *const on_off_auto_names[] = { "auto", "on", "off", NULL };

/* ---- Integers ---- */

WideInt field_load_int(const Field *field, const void *member)
{
    switch (field->kind) {
    case FIELD_U8: return *(const uint8_t *)member;
    case FIELD_U16: return *(const uint16_t *)member;
    case FIELD_U32: return *(const uint32_t *)member;
    case FIELD_U64: return *(const uint64_t *)member;
    case FIELD_I8: return *(const int8_t *)member;
    case FIELD_I16: return *(const int16_t *)member;
    case FIELD_I32: return *(const int32_t *)member;
    case FIELD_I64: return *(const int64_t *)member;
    default: abort();
    }
}

void field_store_int(const Field *field, void *member, WideInt value)
{
    switch (field->kind) {
    case FIELD_U8:
    case FIELD_I8: *(uint8_t *)member = (uint8_t)value; break;
    case FIELD_U16:
    case FIELD_I16: *(uint16_t *)member = (uint16_t)value; break;
    case FIELD_U32:
    case FIELD_I32: *(uint32_t *)member = (uint32_t)value; break;
    case FIELD_U64:
    case FIELD_I64: *(uint64_t *)member = (uint64_t)value; break;
    default: abort();
    }
}

void field_int_range(const Field *field, WideInt *low, WideInt *high)
{
    static const struct {
        int64_t  low;
        uint64_t high;
    } types[] = {
        [FIELD_U8] = { 0, UINT8_MAX },          [FIELD_U16] = { 0, UINT16_MAX },
        [FIELD_U32] = { 0, UINT32_MAX },        [FIELD_U64] = { 0, UINT64_MAX },
        [FIELD_I8] = { INT8_MIN, INT8_MAX },    [FIELD_I16] = { INT16_MIN, INT16_MAX },
        [FIELD_I32] = { INT32_MIN, INT32_MAX }, [FIELD_I64] = { INT64_MIN, INT64_MAX },
    };
    g_assert(field->kind >= FIELD_U8 && field->kind <= FIELD_I64);
    *low  = types[field->kind].low;
    *high = types[field->kind].high;
    if ((WideInt)field->min < (WideInt)field->max) {
        *low  = MAX(*low, (WideInt)field->min);
        *high = MIN(*high, (WideInt)field->max);
    }
}

/* Sizes are shown with their unit where that loses nothing. */
static void append_int(GString *out, const Field *field, WideInt value)
{
    if (field->size_unit && value >= (WideInt)KiB && value % (WideInt)KiB == 0) {
        g_autofree char *size = text_format_size((uint64_t)value);
        g_string_append(out, size);
    } else if (value < 0) {
        g_string_append_printf(out, "%" G_GINT64_FORMAT, (int64_t)value);
    } else {
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, (uint64_t)value);
    }
}

bool field_check_int(const Field *field, WideInt value, Error *err)
{
    WideInt low, high;
    field_int_range(field, &low, &high);
    bool in_range = value >= low && value <= high;
    if (in_range && !(field->power_of_two && value != 0 && (value & (value - 1)) != 0)) {
        return true;
    }
    g_autoptr(GString) text = g_string_new("takes ");
    if (in_range) {
        g_string_append(text, "a power of two");
    } else {
        append_int(text, field, low);
        g_string_append(text, " to ");
        append_int(text, field, high);
    }
    g_string_append(text, ", not ");
    append_int(text, field, value);
    return error_set(err, "%s", text->str);
}

int field_find_name(const Field *field, const char *name)
{
    for (int i = 0; *name && field->names[i]; i++) {
        if (!strcmp(field->names[i], name)) {
            return i;
        }
    }
    return -1;
}

/* ---- Lists ---- */

void *field_list_element(const Field *list, GPtrArray *array, guint i)
{
    return field_element_is_pointer(list) ? (void *)&array->pdata[i] : array->pdata[i];
}

gpointer field_element_new(const Field *list)
{
    if (field_element_is_pointer(list)) {
        return NULL;
    }
    void *element = g_malloc0(list->element_size);
    if (list->sub) {
        fields_init(list->sub, element);
    } else {
        field_init(list->element, element);
    }
    return element;
}

void field_element_free(const Field *list, gpointer element)
{
    if (field_element_is_pointer(list)) {
        field_clear(list->element, &element);
        return;
    }
    if (list->sub) {
        fields_clear(list->sub, element);
    } else {
        field_clear(list->element, element);
    }
    g_free(element);
}

void field_list_free(const Field *list, GPtrArray *array)
{
    if (!array) {
        return;
    }
    for (guint i = 0; i < array->len; i++) {
        field_element_free(list, array->pdata[i]);
    }
    g_ptr_array_unref(array);
}

/* ---- Defaults and ownership ---- */

/* A default written as text goes the way of an option. A table whose defaults do not parse is our bug. */
static void init_from_text(const Field *field, void *object)
{
    g_auto(Error) err     = { 0 };
    g_autoptr(Json) value = json_new_string(field->text);
    Field bare            = *field;
    bare.has_offset       = 0;
    bare.unsupported      = false;
    bare.read_only        = false;
    Field table[2]        = { bare };
    if (!fields_set(table, object, field->name, value, true, &err)) {
        g_error("default of field '%s': %s", field->name, err.text);
    }
}

static void init_scalar(const Field *field, void *member)
{
    if (field->kind == FIELD_BOOL) {
        *(bool *)member = field->initial != 0;
    } else if (field->kind == FIELD_DOUBLE) {
        *(double *)member = (double)field->initial;
    } else if (field->kind == FIELD_STRUCT && field->sub) {
        fields_init(field->sub, member);
    } else if (field_is_integer(field)) {
        field_store_int(field, member, field->initial);
    }
}

void field_init(const Field *field, void *object)
{
    char *member = field_member(field, object);
    if (field->has_offset) {
        *((bool *)((char *)object + field->has_offset - 1)) = false;
    }
    if (field->kind == FIELD_FLAT) {
        fields_init(field->sub, member);
        return;
    }
    memset(member, 0, (size_t)field->size * field->count);
    if (field->kind == FIELD_STRING && !field->custom) {
        *(char **)member = g_strdup(field->text);
    } else if (field->text) {
        init_from_text(field, object);
    } else if (!field->custom) {
        for (uint32_t i = 0; i < field->count; i++) {
            init_scalar(field, member + (size_t)i * field->size);
        }
    }
}

void fields_init(const Field *table, void *object)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        field_init(field, object);
    }
}

void field_clear(const Field *field, void *object)
{
    char *member = field_member(field, object);
    if (field->custom) {
        if (field->custom->clear) {
            field->custom->clear(field, member);
        }
        return;
    }
    switch (field->kind) {
    case FIELD_STRING:
        g_free(*(char **)member);
        *(char **)member = NULL;
        break;
    case FIELD_JSON:
        json_free(*(Json **)member);
        *(Json **)member = NULL;
        break;
    case FIELD_LIST:
        field_list_free(field, *(GPtrArray **)member);
        *(GPtrArray **)member = NULL;
        break;
    case FIELD_FLAT:
    case FIELD_STRUCT:
        for (uint32_t i = 0; i < field->count; i++) {
            fields_clear(field->sub, member + (size_t)i * field->size);
        }
        break;
    default: break;
    }
}

void fields_clear(const Field *table, void *object)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        field_clear(field, object);
    }
}

/* ---- Names ---- */

static bool has_name(const Field *field, const char *name)
{
    return !strcmp(field->name, name) || (field->alias && !strcmp(field->alias, name));
}

const Field *field_locate(const Field *table, void **object, const char *name)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            void        *inner = field_member(field, *object);
            const Field *found = field_locate(field->sub, &inner, name);
            if (found) {
                *object = inner;
                return found;
            }
        } else if (has_name(field, name)) {
            return field;
        }
    }
    return NULL;
}

const Field *fields_find(const Field *table, const char *name)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            const Field *found = fields_find(field->sub, name);
            if (found) {
                return found;
            }
        } else if (has_name(field, name)) {
            return field;
        }
    }
    return NULL;
}

void fields_match_names(const Field *table, NameMatch *match)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            fields_match_names(field->sub, match);
        } else if (!field->read_only) {
            text_match_name(match, field->name);
        }
    }
}
