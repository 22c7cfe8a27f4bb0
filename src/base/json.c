/* JSON values: building, looking up, copying. The parser is json_parse.c, the printer json_print.c. */

#include "base/json.h"

#include <string.h>

static Json *json_new(JsonKind kind)
{
    Json *json = g_new0(Json, 1);
    json->kind = kind;
    return json;
}

Json *json_new_null(void)
{
    return json_new(JSON_NULL);
}

Json *json_new_bool(bool value)
{
    Json *json    = json_new(JSON_BOOL);
    json->boolean = value;
    return json;
}

Json *json_new_int(int64_t value)
{
    Json *json    = json_new(JSON_INT);
    json->integer = value;
    return json;
}

Json *json_new_uint(uint64_t value)
{
    if (value <= INT64_MAX) {
        return json_new_int((int64_t)value);
    }
    Json *json     = json_new(JSON_UINT);
    json->uinteger = value;
    return json;
}

Json *json_new_double(double value)
{
    Json *json   = json_new(JSON_DOUBLE);
    json->number = value;
    return json;
}

Json *json_new_string(const char *value)
{
    Json *json   = json_new(JSON_STRING);
    json->string = g_strdup(value);
    return json;
}

Json *json_new_format(const char *format, ...)
{
    Json   *json = json_new(JSON_STRING);
    va_list args;
    va_start(args, format);
    json->string = g_strdup_vprintf(format, args);
    va_end(args);
    return json;
}

Json *json_new_list(void)
{
    return json_new(JSON_LIST);
}

Json *json_new_object(void)
{
    return json_new(JSON_OBJECT);
}

/* Room for one more. The arrays hold the next power of two from n up, so that no capacity has to be kept. */
static void grow(Json *json)
{
    if ((json->n & (json->n - 1)) == 0) {
        size_t capacity = json->n ? 2 * json->n : 1;
        json->items     = g_renew(Json *, json->items, capacity);
        if (json->kind == JSON_OBJECT) {
            json->keys = g_renew(char *, json->keys, capacity);
        }
    }
}

Json *json_copy(const Json *value)
{
    Json *copy   = json_new(value->kind);
    copy->repeat = value->repeat;
    switch (value->kind) {
    case JSON_NULL: break;
    case JSON_BOOL: copy->boolean = value->boolean; break;
    case JSON_INT: copy->integer = value->integer; break;
    case JSON_UINT: copy->uinteger = value->uinteger; break;
    case JSON_DOUBLE: copy->number = value->number; break;
    case JSON_STRING: copy->string = g_strdup(value->string); break;
    case JSON_LIST:
    case JSON_OBJECT:
        for (size_t i = 0; i < value->n; i++) {
            grow(copy);
            if (value->keys) {
                copy->keys[i] = g_strdup(value->keys[i]);
            }
            copy->items[copy->n++] = json_copy(value->items[i]);
        }
        break;
    }
    return copy;
}

void json_free(Json *value)
{
    if (!value) {
        return;
    }
    if (value->kind == JSON_STRING) {
        g_free(value->string);
    } else if (value->kind == JSON_LIST || value->kind == JSON_OBJECT) {
        for (size_t i = 0; i < value->n; i++) {
            json_free(value->items[i]);
            if (value->keys) {
                g_free(value->keys[i]);
            }
        }
        g_free(value->items);
        g_free(value->keys);
    }
    g_free(value);
}

void json_append(Json *list, Json *value)
{
    g_assert(list->kind == JSON_LIST);
    grow(list);
    list->items[list->n++] = value;
}

static bool find_member(const Json *object, const char *key, size_t *index)
{
    if (!object || object->kind != JSON_OBJECT) {
        return false;
    }
    for (size_t i = 0; i < object->n; i++) {
        if (!strcmp(object->keys[i], key)) {
            *index = i;
            return true;
        }
    }
    return false;
}

Json *json_set(Json *object, const char *key, Json *value)
{
    g_assert(object->kind == JSON_OBJECT);
    size_t i;
    if (find_member(object, key, &i)) {
        json_free(object->items[i]);
        object->items[i] = value;
    } else {
        json_add(object, key, value);
    }
    return value;
}

Json *json_add(Json *object, const char *key, Json *value)
{
    g_assert(object->kind == JSON_OBJECT);
    grow(object);
    object->keys[object->n]    = g_strdup(key);
    object->items[object->n++] = value;
    return value;
}

Json *json_get(const Json *object, const char *key)
{
    size_t i;
    return find_member(object, key, &i) ? object->items[i] : NULL;
}

const char *json_get_string(const Json *object, const char *key)
{
    const Json *value = json_get(object, key);
    return value && value->kind == JSON_STRING ? value->string : NULL;
}

Json *json_take(Json *object, const char *key)
{
    size_t i;
    if (!find_member(object, key, &i)) {
        return NULL;
    }
    Json *value = object->items[i];
    g_free(object->keys[i]);
    object->n--;
    memmove(object->items + i, object->items + i + 1, (object->n - i) * sizeof *object->items);
    memmove(object->keys + i, object->keys + i + 1, (object->n - i) * sizeof *object->keys);
    return value;
}

bool json_remove(Json *object, const char *key)
{
    Json *value = json_take(object, key);
    json_free(value);
    return value != NULL;
}

bool json_equal(const Json *a, const Json *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case JSON_NULL: return true;
    case JSON_BOOL: return a->boolean == b->boolean;
    case JSON_INT: return a->integer == b->integer;
    case JSON_UINT: return a->uinteger == b->uinteger;
    case JSON_DOUBLE: return a->number == b->number;
    case JSON_STRING: return !strcmp(a->string, b->string);
    case JSON_LIST:
    case JSON_OBJECT: break;
    }
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const Json *other = a->kind == JSON_OBJECT ? json_get(b, a->keys[i]) : b->items[i];
        if (!other || !json_equal(a->items[i], other)) {
            return false;
        }
    }
    return true;
}

const char *json_kind_name(JsonKind kind)
{
    switch (kind) {
    case JSON_NULL: return "null";
    case JSON_BOOL: return "a boolean";
    case JSON_INT:
    case JSON_UINT: return "an integer";
    case JSON_DOUBLE: return "a number";
    case JSON_STRING: return "a string";
    case JSON_LIST: return "a list";
    case JSON_OBJECT: return "an object";
    }
    return "nothing";
}
