/* Fields: from JSON and options into structs. */

#include "base/text.h"
#include "desc/field.h"
#include "desc/field_private.h"

#include <math.h>
#include <string.h>

typedef struct FieldParser {
    bool     lenient;
    GString *path; /* "cache." while inside nested structs */
    Error   *err;
} FieldParser;

static bool parse_field(FieldParser *ps, const Field *field, void *object, const Json *value);
static bool parse_table(FieldParser *ps, const Field *table, void *object, const Json *json, const char *const *skip);

/* ---- Messages ---- */

/* Puts the member's name in front of a reason: "property 'cache.size' takes 1 to 8, not 9". */
static bool fail_value(FieldParser *ps, const Field *field, const char *separator)
{
    return error_prefix(ps->err, "property '%s%s'%s", ps->path->str, field->name ? field->name : "", separator);
}

static bool fail_type(FieldParser *ps, const Field *field, const char *wanted, const Json *value)
{
    error_set(ps->err, "takes %s, not %s", wanted, json_kind_name(value->kind));
    return fail_value(ps, field, " ");
}

static bool fail_unknown(FieldParser *ps, const Field *table, const char *name)
{
    NameMatch match = { .word = name };
    char      hint[128];
    fields_match_names(table, &match);
    g_autofree char *nearest = match.best ? g_strconcat(ps->path->str, match.best, NULL) : NULL;
    match.best               = nearest;
    return error_set(ps->err, "no property '%s%s'%s", ps->path->str, name, text_did_you_mean(&match, hint));
}

/* "takes 'a', 'b' or 'c', not 'x' (did you mean 'a'?)" */
static bool fail_enum(FieldParser *ps, const Field *field, const char *given)
{
    g_autoptr(GString) text = g_string_new("takes ");
    NameMatch match         = { .word = given };
    unsigned  n = 0, total = 0;
    for (unsigned i = 0; field->names[i]; i++) {
        total += *field->names[i] != 0;
    }
    for (unsigned i = 0; field->names[i]; i++) {
        if (*field->names[i]) {
            n++;
            g_string_append_printf(text, "%s'%s'", n == 1 ? "" : n == total ? " or " : ", ", field->names[i]);
            text_match_name(&match, field->names[i]);
        }
    }
    char hint[128];
    error_set(ps->err, "%s, not '%s'%s", text->str, given, text_did_you_mean(&match, hint));
    return fail_value(ps, field, " ");
}

/* ---- Values ---- */

/* The text of a scalar, for lenient strings and enumerations. NULL when it has none. The caller frees. */
static char *scalar_text(FieldParser *ps, const Json *value)
{
    if (value->kind == JSON_STRING) {
        return g_strdup(value->string);
    }
    if (!ps->lenient || value->kind == JSON_NULL || value->kind == JSON_LIST || value->kind == JSON_OBJECT) {
        return NULL;
    }
    return value->kind == JSON_BOOL ? g_strdup(value->boolean ? "on" : "off") : json_print(value, false);
}

static bool parse_bool(FieldParser *ps, const Field *field, bool *member, const Json *value)
{
    if (value->kind == JSON_BOOL) {
        *member = value->boolean;
        return true;
    }
    if (!ps->lenient || value->kind != JSON_STRING) {
        return fail_type(ps, field, "a boolean", value);
    }
    return text_parse_bool(value->string, member, ps->err) || fail_value(ps, field, ": ");
}

static bool parse_enum(FieldParser *ps, const Field *field, void *member, const Json *value)
{
    g_autofree char *text = scalar_text(ps, value);
    if (!text) {
        return fail_type(ps, field, "a string", value);
    }
    int index = field_find_name(field, text);
    if (index < 0) {
        return fail_enum(ps, field, text);
    }
    field_store_int(field, member, index);
    return true;
}

static bool parse_int_text(const Field *field, const char *text, WideInt *number, Error *err)
{
    uint64_t positive;
    int64_t  negative;
    if (*text == '-') {
        if (!text_parse_int(text, INT64_MIN, 0, &negative, err)) {
            return false;
        }
        *number = negative;
        return true;
    }
    if (!(field->size_unit ? text_parse_size(text, field->size_unit, &positive, err)
                           : text_parse_uint(text, UINT64_MAX, &positive, err))) {
        return false;
    }
    *number = positive;
    return true;
}

static bool parse_int(FieldParser *ps, const Field *field, void *member, const Json *value)
{
    WideInt number;
    if (value->kind == JSON_INT) {
        number = value->integer;
    } else if (value->kind == JSON_UINT) {
        number = value->uinteger;
    } else if (!ps->lenient || value->kind != JSON_STRING) {
        return fail_type(ps, field, field->size_unit ? "a size in bytes" : "an integer", value);
    } else if (!parse_int_text(field, value->string, &number, ps->err)) {
        return fail_value(ps, field, ": ");
    }
    if (!field_check_int(field, number, ps->err)) {
        return fail_value(ps, field, " ");
    }
    field_store_int(field, member, number);
    return true;
}

static bool parse_double(FieldParser *ps, const Field *field, double *member, const Json *value)
{
    switch (value->kind) {
    case JSON_INT: *member = (double)value->integer; return true;
    case JSON_UINT: *member = (double)value->uinteger; return true;
    case JSON_DOUBLE: *member = value->number; return true;
    default: break;
    }
    if (!ps->lenient || value->kind != JSON_STRING) {
        return fail_type(ps, field, "a number", value);
    }
    char  *end;
    double number = g_ascii_strtod(value->string, &end);
    if (end == value->string || *end || !isfinite(number) || g_ascii_isspace(*value->string)) {
        error_set(ps->err, "'%s' is not a number", value->string);
        return fail_value(ps, field, ": ");
    }
    *member = number;
    return true;
}

static bool parse_string(FieldParser *ps, const Field *field, char **member, const Json *value)
{
    char *text = scalar_text(ps, value);
    if (!text) {
        return fail_type(ps, field, "a string", value);
    }
    g_free(*member);
    *member = text;
    return true;
}

/* Parses one element into *slot, which is freed again on failure. */
static bool parse_element(FieldParser *ps, const Field *list, size_t index, gpointer *slot, const Json *value)
{
    gsize path_len = ps->path->len;
    bool  ok;
    *slot         = field_element_new(list);
    void *element = field_element_is_pointer(list) ? (void *)slot : *slot;
    g_string_append_printf(ps->path, "%s.%zu", list->name, index);
    if (!list->sub) {
        ok = parse_field(ps, list->element, element, value);
    } else if (value->kind != JSON_OBJECT) {
        Field unnamed = { 0 };
        ok            = fail_type(ps, &unnamed, "an object", value);
    } else {
        g_string_append_c(ps->path, '.');
        ok = parse_table(ps, list->sub, element, value, NULL);
    }
    if (!ok) {
        field_element_free(list, *slot);
    }
    g_string_truncate(ps->path, path_len);
    return ok;
}

static bool parse_list(FieldParser *ps, const Field *field, GPtrArray **member, const Json *value)
{
    if (value->kind != JSON_LIST && !ps->lenient) {
        return fail_type(ps, field, "a list", value);
    }
    GPtrArray         *list  = g_ptr_array_new();
    size_t             n     = value->kind == JSON_LIST ? value->n : 1;
    const Json *const *items = value->kind == JSON_LIST ? (const Json *const *)value->items : &value;
    for (size_t i = 0; i < n; i++) {
        gpointer element;
        if (!parse_element(ps, field, i, &element, items[i])) {
            field_list_free(field, list);
            return false;
        }
        g_ptr_array_add(list, element);
    }
    field_list_free(field, *member);
    *member = list;
    return true;
}

static bool parse_struct(FieldParser *ps, const Field *field, void *member, const Json *value)
{
    if (value->kind != JSON_OBJECT) {
        if (ps->lenient && field->sub && field->sub->name) {
            error_set(ps->err, "takes values by name ('%s.%s=' ...)", field->name, field->sub->name);
            return fail_value(ps, field, " ");
        }
        return fail_type(ps, field, "an object", value);
    }
    gsize path_len = ps->path->len;
    g_string_append_printf(ps->path, "%s.", field->name);
    bool ok = parse_table(ps, field->sub, member, value, NULL);
    g_string_truncate(ps->path, path_len);
    return ok;
}

static bool parse_kind(FieldParser *ps, const Field *field, void *member, const Json *value)
{
    if (field->custom) {
        return field->custom->parse(field, member, value, ps->err) || fail_value(ps, field, ": ");
    }
    if (field->names) {
        return parse_enum(ps, field, member, value);
    }
    switch (field->kind) {
    case FIELD_BOOL: return parse_bool(ps, field, member, value);
    case FIELD_DOUBLE: return parse_double(ps, field, member, value);
    case FIELD_STRING: return parse_string(ps, field, member, value);
    case FIELD_LIST: return parse_list(ps, field, member, value);
    case FIELD_STRUCT: return parse_struct(ps, field, member, value);
    case FIELD_JSON:
        json_free(*(Json **)member);
        *(Json **)member = json_copy(value);
        return true;
    default: return parse_int(ps, field, member, value);
    }
}

/* Is the member what it is by default? Then an unsupported field may be "set" to it. */
static bool has_default(const Field *field, const void *object)
{
    g_autoptr(Json) value = field_print(field, object);
    g_autofree char *text = field_default_text(field);
    g_autofree char *now  = !value                       ? NULL
                            : value->kind == JSON_STRING ? g_strdup(value->string)
                            : value->kind == JSON_BOOL   ? g_strdup(value->boolean ? "on" : "off")
                                                         : json_print(value, false);
    return !g_strcmp0(now, text);
}

static bool parse_field(FieldParser *ps, const Field *field, void *object, const Json *value)
{
    if (field->read_only) {
        error_set(ps->err, "is read-only");
        return fail_value(ps, field, " ");
    }
    if (ps->lenient && value->kind == JSON_LIST && value->repeat && field->kind != FIELD_LIST) {
        value = value->items[value->n - 1];
    }
    if (!parse_kind(ps, field, field_member(field, object), value)) {
        return false;
    }
    if (field->has_offset) {
        *((bool *)((char *)object + field->has_offset - 1)) = true;
    }
    if (field->unsupported && !has_default(field, object)) {
        g_autofree char *text       = scalar_text(ps, value);
        bool             short_text = text && strlen(text) <= 40;
        return error_set_unsupported(ps->err, "%s%s%s%s", ps->path->str, field->name, short_text ? "=" : "",
                                     short_text ? text : "");
    }
    return true;
}

/* ---- Members by name ---- */

/* The field that a name with dots leads to; *object becomes its struct. *top is the field of `table` itself. */
static const Field *locate_path(FieldParser *ps, const Field *table, void **object, const char *name, const Field **top)
{
    const Field *field = field_locate(table, object, name);
    if (top) {
        *top = field;
    }
    const char *dot = strchr(name, '.');
    if (field || !dot) {
        return field;
    }
    g_autofree char *first = g_strndup(name, (size_t)(dot - name));
    void            *outer = *object;
    const Field     *nest  = field_locate(table, &outer, first);
    if (!nest || nest->kind != FIELD_STRUCT || nest->custom || nest->read_only) {
        return NULL;
    }
    void *inner = field_member(nest, outer);
    gsize len   = ps->path->len;
    g_string_append_printf(ps->path, "%s.", nest->name);
    field = locate_path(ps, nest->sub, &inner, dot + 1, NULL);
    if (field) {
        *object = inner;
        if (top) {
            *top = nest;
        }
    } else {
        g_string_truncate(ps->path, len);
    }
    return field;
}

static bool has_prefix(const Field *table, const char *name)
{
    size_t len = strlen(name);
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT ? has_prefix(field->sub, name)
                                      : !strncmp(field->name, name, len) && field->name[len] == '.') {
            return true;
        }
    }
    return false;
}

static bool parse_member(FieldParser *ps, const Field *table, void *object, const char *name, const Json *value,
                         GHashTable *given)
{
    gsize        path_len = ps->path->len;
    void        *owner    = object;
    const Field *top;
    const Field *field  = locate_path(ps, table, &owner, name, &top);
    bool         nested = field && (field->custom || field->kind == FIELD_STRUCT || field->kind == FIELD_JSON);

    /* Fields of this table whose own names have dots come as an object: {"cache": {"direct": ...}}. */
    if (value->kind == JSON_OBJECT && !nested && (has_prefix(table, name) || (field && ps->lenient))) {
        for (size_t i = 0; i < value->n; i++) {
            g_autofree char *inner = *value->keys[i] ? g_strdup_printf("%s.%s", name, value->keys[i]) : g_strdup(name);
            if (!parse_member(ps, table, object, inner, value->items[i], given)) {
                return false;
            }
        }
        return true;
    }
    if (!field) {
        return fail_unknown(ps, table, name);
    }
    if (given) {
        g_hash_table_add(given, (gpointer)top);
    }
    bool ok = parse_field(ps, field, owner, value);
    g_string_truncate(ps->path, path_len);
    return ok;
}

static bool check_required(FieldParser *ps, const Field *table, GHashTable *given)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            if (!check_required(ps, field->sub, given)) {
                return false;
            }
        } else if (field->required && !g_hash_table_contains(given, field)) {
            return error_set(ps->err, "property '%s%s' is missing", ps->path->str, field->name);
        }
    }
    return true;
}

static bool parse_table(FieldParser *ps, const Field *table, void *object, const Json *json, const char *const *skip)
{
    g_autoptr(GHashTable) given = g_hash_table_new(NULL, NULL);
    for (size_t i = 0; i < json->n; i++) {
        if (skip && g_strv_contains(skip, json->keys[i])) {
            continue;
        }
        if (!parse_member(ps, table, object, json->keys[i], json->items[i], given)) {
            return false;
        }
    }
    return check_required(ps, table, given);
}

bool fields_parse(const Field *table, void *object, const Json *json, bool lenient, const char *const *skip, Error *err)
{
    g_autoptr(GString) path = g_string_new(NULL);
    FieldParser ps          = { .lenient = lenient, .path = path, .err = err };
    if (json->kind != JSON_OBJECT) {
        return error_set(err, "an object should be here, not %s", json_kind_name(json->kind));
    }
    return parse_table(&ps, table, object, json, skip);
}

bool fields_set(const Field *table, void *object, const char *name, const Json *value, bool lenient, Error *err)
{
    g_autoptr(GString) path = g_string_new(NULL);
    FieldParser ps          = { .lenient = lenient, .path = path, .err = err };
    return parse_member(&ps, table, object, name, value, NULL);
}
