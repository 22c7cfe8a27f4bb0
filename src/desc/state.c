/* Saved state, see state.h. A record a field: length of the name (1 byte), name, tag (1), length of the value (4),
 * value. Numbers are big-endian. Values by tag:
 *
 *   b  boolean, 1 byte          u, i  integer, 1, 2, 4 or 8 bytes     d  double, 8 bytes
 *   s  string with its final NUL, or nothing for NULL                 x  plain bytes
 *   j  JSON text, or nothing for NULL                                 c  JSON text of a custom type
 *   o  struct: the records of its fields
 *   l  array or list: number of elements (4 bytes), for each the length (4) and the value as above, without tag
 *
 * What is loaded may be hostile: every length is checked against what is left. */

#include "desc/state.h"

#include "base/bytes.h"
#include "desc/field_private.h"

#include <string.h>

/* ---- Saving ---- */

static void save_table(const Field *table, const void *object, GByteArray *out);

static void append_be32(GByteArray *out, uint32_t value)
{
    uint8_t bytes[4];
    store_be32(bytes, value);
    g_byte_array_append(out, bytes, sizeof bytes);
}

/* Lengths stand in front of what they count: they are filled in when it is there. */
static guint begin_length(GByteArray *out)
{
    append_be32(out, 0);
    return out->len;
}

static void end_length(GByteArray *out, guint start)
{
    store_be32(out->data + start - 4, out->len - start);
}

static bool is_byte_array(const Field *field)
{
    return field->kind == FIELD_BYTES || (field->kind == FIELD_U8 && field->count > 1);
}

static char tag_of(const Field *field)
{
    if (field->custom) {
        return 'c';
    }
    if (is_byte_array(field)) {
        return 'x';
    }
    if (field->count > 1) {
        return 'l';
    }
    switch (field->kind) {
    case FIELD_BOOL: return 'b';
    case FIELD_DOUBLE: return 'd';
    case FIELD_STRING: return 's';
    case FIELD_JSON: return 'j';
    case FIELD_STRUCT: return 'o';
    case FIELD_LIST: return 'l';
    case FIELD_I8:
    case FIELD_I16:
    case FIELD_I32:
    case FIELD_I64: return 'i';
    default: return 'u';
    }
}

static void save_json(const Json *json, GByteArray *out)
{
    if (json) {
        g_autofree char *text = json_print(json, false);
        g_byte_array_append(out, (const uint8_t *)text, (guint)strlen(text));
    }
}

/* One value, of an array one element. */
static void save_one(const Field *field, const void *member, GByteArray *out)
{
    uint8_t bytes[8];
    switch (field->kind) {
    case FIELD_BOOL:
        bytes[0] = *(const bool *)member;
        g_byte_array_append(out, bytes, 1);
        break;
    case FIELD_DOUBLE: {
        uint64_t bits;
        memcpy(&bits, member, sizeof bits);
        store_be64(bytes, bits);
        g_byte_array_append(out, bytes, 8);
        break;
    }
    case FIELD_STRING: {
        const char *text = *(char *const *)member;
        if (text) {
            g_byte_array_append(out, (const uint8_t *)text, (guint)strlen(text) + 1);
        }
        break;
    }
    case FIELD_JSON: save_json(*(Json *const *)member, out); break;
    case FIELD_STRUCT: save_table(field->sub, member, out); break;
    default:
        store_be64(bytes, (uint64_t)field_load_int(field, member));
        g_byte_array_append(out, bytes + 8 - field->size, field->size);
    }
}

static void save_list(const Field *field, GPtrArray *list, GByteArray *out)
{
    append_be32(out, list ? list->len : 0);
    for (guint i = 0; list && i < list->len; i++) {
        void *element = field_list_element(field, list, i);
        guint start   = begin_length(out);
        if (field->sub) {
            save_table(field->sub, element, out);
        } else {
            save_one(field->element, element, out);
        }
        end_length(out, start);
    }
}

static void save_array(const Field *field, const char *member, GByteArray *out)
{
    append_be32(out, field->count);
    for (uint32_t i = 0; i < field->count; i++) {
        guint start = begin_length(out);
        save_one(field, member + (size_t)i * field->size, out);
        end_length(out, start);
    }
}

static void save_value(const Field *field, const void *member, GByteArray *out)
{
    if (field->custom) {
        g_autoptr(Json) json = field->custom->print(field, member);
        save_json(json, out);
    } else if (is_byte_array(field)) {
        g_byte_array_append(out, member, field->size * field->count);
    } else if (field->count > 1) {
        save_array(field, member, out);
    } else if (field->kind == FIELD_LIST) {
        save_list(field, *(GPtrArray *const *)member, out);
    } else {
        save_one(field, member, out);
    }
}

static void save_table(const Field *table, const void *object, GByteArray *out)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        const void *member = field_member(field, object);
        if (field->needed && !field->needed(object)) {
            continue;
        }
        if (field->kind == FIELD_FLAT) {
            save_table(field->sub, member, out);
            continue;
        }
        size_t name_len = strlen(field->name);
        g_assert(name_len > 0 && name_len < 256);
        uint8_t len = (uint8_t)name_len, tag = (uint8_t)tag_of(field);
        g_byte_array_append(out, &len, 1);
        g_byte_array_append(out, (const uint8_t *)field->name, len);
        g_byte_array_append(out, &tag, 1);
        guint start = begin_length(out);
        save_value(field, member, out);
        end_length(out, start);
    }
}

void state_save(const Field *table, const void *object, GByteArray *out)
{
    save_table(table, object, out);
}

/* ---- Loading ---- */

typedef struct Reader {
    const uint8_t *p, *end;
} Reader;

static bool load_table(const Field *table, void *object, Reader in, Error *err);

/* Takes the next `len` bytes. */
static bool take(Reader *in, size_t len, Reader *part)
{
    if (len > (size_t)(in->end - in->p)) {
        return false;
    }
    *part = (Reader){ in->p, in->p + len };
    in->p += len;
    return true;
}

static bool take_be32(Reader *in, uint32_t *value)
{
    Reader part;
    if (!take(in, 4, &part)) {
        return false;
    }
    *value = load_be32(part.p);
    return true;
}

static size_t left(Reader in)
{
    return (size_t)(in.end - in.p);
}

static bool fail_size(Reader in, Error *err)
{
    return error_set(err, "a value of %zu bytes", left(in));
}

static bool load_int(const Field *field, void *member, Reader in, Error *err)
{
    bool     is_signed = field->kind >= FIELD_I8;
    uint64_t bits      = 0;
    WideInt  value;
    size_t   len = left(in);
    if (len != 1 && len != 2 && len != 4 && len != 8) {
        return fail_size(in, err);
    }
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in.p[i];
    }
    value = is_signed ? (WideInt)((int64_t)(bits << (64 - 8 * len)) >> (64 - 8 * len)) : (WideInt)bits;
    if (!field_check_int(field, value, err)) {
        return false;
    }
    if (field->names) {
        for (WideInt i = 0; i <= value; i++) {
            if (!field->names[i] || (i == value && !*field->names[i])) {
                return error_set(err, "no value has number %" G_GINT64_FORMAT, (int64_t)value);
            }
        }
    }
    field_store_int(field, member, value);
    return true;
}

static bool load_string(char **member, Reader in, Error *err)
{
    size_t len = left(in);
    if (len && (memchr(in.p, 0, len) != in.end - 1)) {
        return error_set(err, "a string that does not end where it should");
    }
    g_free(*member);
    *member = len ? g_strndup((const char *)in.p, len - 1) : NULL;
    return true;
}

static bool load_json(Json **member, Reader in, Error *err)
{
    Json *json = NULL;
    if (left(in) && !(json = json_parse((const char *)in.p, left(in), err))) {
        return false;
    }
    json_free(*member);
    *member = json;
    return true;
}

static bool load_one(const Field *field, void *member, Reader in, Error *err)
{
    switch (field->kind) {
    case FIELD_BOOL:
        if (left(in) != 1 || *in.p > 1) {
            return error_set(err, "not a boolean");
        }
        *(bool *)member = *in.p;
        return true;
    case FIELD_DOUBLE: {
        if (left(in) != 8) {
            return fail_size(in, err);
        }
        uint64_t bits = load_be64(in.p);
        memcpy(member, &bits, sizeof bits);
        return true;
    }
    case FIELD_STRING: return load_string(member, in, err);
    case FIELD_JSON: return load_json(member, in, err);
    case FIELD_STRUCT: return load_table(field->sub, member, in, err);
    default: return load_int(field, member, in, err);
    }
}

static bool load_element(const Field *field, GPtrArray *list, Reader in, Error *err)
{
    gpointer element = field_element_new(field);
    void    *place   = field_element_is_pointer(field) ? (void *)&element : element;
    bool     ok      = field->sub ? load_table(field->sub, place, in, err) : load_one(field->element, place, in, err);
    if (!ok) {
        field_element_free(field, element);
        return false;
    }
    g_ptr_array_add(list, element);
    return true;
}

static bool load_list(const Field *field, GPtrArray **member, Reader in, Error *err)
{
    uint32_t n, len;
    Reader   part;
    if (!take_be32(&in, &n) || n > left(in) / 4) {
        return error_set(err, "a list that is cut off");
    }
    GPtrArray *list = g_ptr_array_new();
    for (uint32_t i = 0; i < n; i++) {
        if (!take_be32(&in, &len) || !take(&in, len, &part)) {
            error_set(err, "a list that is cut off");
        } else if (load_element(field, list, part, err)) {
            continue;
        } else {
            error_prefix(err, "element %u: ", i);
        }
        field_list_free(field, list);
        return false;
    }
    field_list_free(field, *member);
    *member = list;
    return !left(in) || fail_size(in, err);
}

static bool load_array(const Field *field, char *member, Reader in, Error *err)
{
    uint32_t n, len;
    Reader   part;
    if (!take_be32(&in, &n) || n != field->count) {
        return error_set(err, "an array that has not %u elements", field->count);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!take_be32(&in, &len) || !take(&in, len, &part)) {
            return error_set(err, "an array that is cut off");
        }
        if (!load_one(field, member + (size_t)i * field->size, part, err)) {
            return error_prefix(err, "element %u: ", i);
        }
    }
    return !left(in) || fail_size(in, err);
}

static bool load_custom(const Field *field, void *member, Reader in, Error *err)
{
    g_autoptr(Json) json = NULL;
    if (!left(in)) {
        json = json_new_null();
    } else if (!(json = json_parse((const char *)in.p, left(in), err))) {
        return false;
    }
    return field->custom->parse(field, member, json, err);
}

static bool load_value(const Field *field, void *member, char tag, Reader in, Error *err)
{
    char wanted = tag_of(field);
    if (tag != wanted && !(field_is_integer(field) && field->count == 1 && (tag == 'u' || tag == 'i'))) {
        return error_set(err, "a value of another kind");
    }
    if (field->custom) {
        return load_custom(field, member, in, err);
    }
    if (is_byte_array(field)) {
        if (left(in) != (size_t)field->size * field->count) {
            return fail_size(in, err);
        }
        memcpy(member, in.p, left(in));
        return true;
    }
    if (field->count > 1) {
        return load_array(field, member, in, err);
    }
    return field->kind == FIELD_LIST ? load_list(field, member, in, err) : load_one(field, member, in, err);
}

static bool validate(const Field *table, void *object, Error *err)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT && !validate(field->sub, field_member(field, object), err)) {
            return false;
        }
        if (field->validate && !field->validate(object, err)) {
            return error_prefix(err, "field '%s': ", field->name);
        }
    }
    return true;
}

static bool load_table(const Field *table, void *object, Reader in, Error *err)
{
    while (left(in)) {
        char     name[256];
        Reader   part, value;
        uint32_t len;
        size_t   name_len = *in.p++;
        if (!take(&in, name_len, &part)) {
            return error_set(err, "the state is cut off");
        }
        memcpy(name, part.p, name_len);
        name[name_len] = 0;
        if (!take(&in, 1, &part) || !take_be32(&in, &len) || !take(&in, len, &value)) {
            return error_set(err, "the state is cut off");
        }
        void        *owner = object;
        const Field *field = field_locate(table, &owner, name);
        if (field && !load_value(field, field_member(field, owner), (char)*part.p, value, err)) {
            return error_prefix(err, "field '%s': ", field->name);
        }
    }
    return validate(table, object, err);
}

bool state_load(const Field *table, void *object, const uint8_t *data, size_t len, Error *err)
{
    return load_table(table, object, (Reader){ data, len ? data + len : data }, err);
}
