/* Fields: from structs to JSON, and descriptions of fields as JSON. */

#include "base/text.h"
#include "desc/field.h"
#include "desc/field_private.h"

#include <string.h>

static Json *print_int(const Field *field, const void *member)
{
    WideInt value = field_load_int(field, member);
    if (field->names) {
        for (WideInt i = 0; field->names[i]; i++) {
            if (i == value) {
                return json_new_string(field->names[i]);
            }
        }
    }
    return value < 0 ? json_new_int((int64_t)value) : json_new_uint((uint64_t)value);
}

static Json *print_list(const Field *field, GPtrArray *array)
{
    if (!array) {
        return NULL;
    }
    Json *list = json_new_list();
    for (guint i = 0; i < array->len; i++) {
        void *element = field_list_element(field, array, i);
        Json *value   = field->sub ? fields_print(field->sub, element) : field_print(field->element, element);
        json_append(list, value ? value : json_new_null());
    }
    return list;
}

static Json *print_bytes(const Field *field, const uint8_t *bytes)
{
    GString *text = g_string_new(NULL);
    for (uint32_t i = 0; i < field->size; i++) {
        g_string_append_printf(text, "%02x", bytes[i]);
    }
    Json *value = json_new_string(text->str);
    g_string_free(text, TRUE);
    return value;
}

static Json *print_one(const Field *field, const void *member)
{
    switch (field->kind) {
    case FIELD_BOOL: return json_new_bool(*(const bool *)member);
    case FIELD_DOUBLE: return json_new_double(*(const double *)member);
    case FIELD_STRING: return *(char *const *)member ? json_new_string(*(char *const *)member) : NULL;
    case FIELD_JSON: return *(Json *const *)member ? json_copy(*(Json *const *)member) : NULL;
    case FIELD_STRUCT: return fields_print(field->sub, member);
    case FIELD_LIST: return print_list(field, *(GPtrArray *const *)member);
    case FIELD_BYTES: return print_bytes(field, member);
    default: return print_int(field, member);
    }
}

/* NULL: absent. */
Json *field_print(const Field *field, const void *object)
{
    const char *member = field_member(field, object);
    if (field->has_offset && !*((const bool *)object + field->has_offset - 1)) {
        return NULL;
    }
    if (field->custom) {
        return field->custom->print(field, member);
    }
    if (field->count == 1) {
        return print_one(field, member);
    }
    Json *list = json_new_list();
    for (uint32_t i = 0; i < field->count; i++) {
        json_append(list, print_one(field, member + (size_t)i * field->size));
    }
    return list;
}

static void print_table(const Field *table, const void *object, Json *into)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            print_table(field->sub, field_member(field, object), into);
        } else if (!field->write_only) {
            Json *value = field_print(field, object);
            if (value) {
                json_add(into, field->name, value);
            }
        }
    }
}

Json *fields_print(const Field *table, const void *object)
{
    Json *json = json_new_object();
    print_table(table, object, json);
    return json;
}

Json *fields_get(const Field *table, const void *object, const char *name, Error *err)
{
    void        *owner = (void *)object;
    const Field *field = field_locate(table, &owner, name);
    const char  *dot   = strchr(name, '.');
    if (!field && dot) {
        g_autofree char *first = g_strndup(name, (size_t)(dot - name));
        field                  = field_locate(table, &owner, first);
        if (field && field->kind == FIELD_STRUCT && !field->custom && !field->write_only) {
            Json *value = fields_get(field->sub, field_member(field, owner), dot + 1, err);
            if (!value) {
                error_prefix(err, "'%s': ", first);
            }
            return value;
        }
        field = NULL;
    }
    if (!field) {
        NameMatch match = { .word = name };
        char      hint[128];
        fields_match_names(table, &match);
        error_set(err, "no property '%s'%s", name, text_did_you_mean(&match, hint));
        return NULL;
    }
    if (field->write_only) {
        error_set(err, "property '%s' cannot be read", name);
        return NULL;
    }
    Json *value = field_print(field, owner);
    if (value) {
        return value;
    }
    return field->kind == FIELD_STRING && !field->custom ? json_new_string("")
           : field->kind == FIELD_LIST && !field->custom ? json_new_list()
                                                         : json_new_null();
}

/* The default as a JSON value; NULL when there is none. */
static Json *default_value(const Field *field)
{
    if (field->required || field->has_offset || field->count != 1) {
        return NULL;
    }
    if (field->names) {
        return json_new_string(field->text ? field->text : field->names[field->initial]);
    }
    if (field->text) {
        bool typed = !field->custom && field->kind != FIELD_STRING && field->kind != FIELD_LIST && field->size <= 8;
        if (typed) {
            uint64_t storage[1]; /* a member of its own to parse the default into */
            Field    alone[2] = { *field };
            alone[0].offset   = 0;
            fields_init(alone, storage);
            Json *value = field_print(alone, storage);
            fields_clear(alone, storage);
            return value;
        }
        return json_new_string(field->text);
    }
    if (field->custom) {
        return NULL;
    }
    if (field->kind == FIELD_BOOL) {
        return json_new_bool(field->initial != 0);
    }
    if (field->kind == FIELD_DOUBLE) {
        return json_new_double((double)field->initial);
    }
    return field_is_integer(field) ? json_new_int(field->initial) : NULL;
}

char *field_default_text(const Field *field)
{
    if (field->text && !field_is_integer(field)) {
        return g_strdup(field->text);
    }
    g_autoptr(Json) value = default_value(field);
    if (!value) {
        return NULL;
    }
    if (value->kind == JSON_STRING) {
        return g_strdup(value->string);
    }
    return value->kind == JSON_BOOL ? g_strdup(value->boolean ? "on" : "off") : json_print(value, false);
}

static void describe_table(const Field *table, Json *list)
{
    char buffer[256];
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            describe_table(field->sub, list);
            continue;
        }
        if (field->read_only || field->unsupported) {
            continue;
        }
        Json *item  = json_new_object();
        Json *value = default_value(field);
        json_add(item, "name", json_new_string(field->name));
        json_add(item, "type", json_new_string(field_type_name(field, buffer, sizeof buffer)));
        if (field->help) {
            json_add(item, "description", json_new_string(field->help));
        }
        if (value) {
            json_add(item, "default-value", value);
        }
        json_append(list, item);
    }
}

Json *fields_describe(const Field *table)
{
    Json *list = json_new_list();
    describe_table(table, list);
    return list;
}
