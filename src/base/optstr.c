/* Option strings to JSON trees, see optstr.h. Pure functions. */

#include "base/optstr.h"

#include <string.h>

/* Levels of a dotted key. */
#define MAX_DOTS 32

/* Reads a value up to a single comma or the end; doubled commas become one. Advances *text behind the comma. */
static char *read_value(const char **text)
{
    GString    *value = g_string_new(NULL);
    const char *p     = *text;
    while (*p) {
        if (*p == ',') {
            p++;
            if (*p != ',') {
                break;
            }
        }
        g_string_append_c(value, *p++);
    }
    *text = p;
    return g_string_free(value, FALSE);
}

/* Adds `value` under a name without dots. A second value makes a repeat list; a value beside members goes to the
 * member "". Takes ownership. */
static void add_leaf(Json *object, const char *name, Json *value)
{
    Json *old = json_get(object, name);
    if (!old) {
        json_add(object, name, value);
    } else if (old->kind == JSON_OBJECT) {
        add_leaf(old, "", value);
    } else if (old->kind == JSON_LIST) {
        json_append(old, value);
    } else {
        Json *list   = json_new_list();
        list->repeat = true;
        json_append(list, json_copy(old));
        json_append(list, value);
        json_set(object, name, list);
    }
}

/* The object under `name`, made when it is not there. */
static Json *enter(Json *object, const char *name)
{
    Json *member = json_get(object, name);
    if (member && member->kind == JSON_OBJECT) {
        return member;
    }
    Json *inner = json_new_object();
    if (member) {
        json_add(inner, "", json_copy(member));
    }
    return json_set(object, name, inner);
}

static bool add_value(Json *root, const char *key, const char *value, Error *err)
{
    if (!*key) {
        return error_set(err, "a name is missing before '=%s'", value);
    }
    g_auto(GStrv) parts = g_strsplit(key, ".", MAX_DOTS + 1);
    guint n             = g_strv_length(parts);
    Json *object        = root;
    if (n > MAX_DOTS) {
        return error_set(err, "'%.40s...' has more than %d levels", key, MAX_DOTS);
    }
    for (guint i = 0; i < n; i++) {
        if (!*parts[i]) {
            return error_set(err, "'%s' is not a valid option name", key);
        }
        if (i + 1 < n) {
            object = enter(object, parts[i]);
        }
    }
    add_leaf(object, parts[n - 1], json_new_string(value));
    return true;
}

static bool is_index(const char *key)
{
    return g_ascii_isdigit(*key) && strspn(key, "0123456789") == strlen(key) && strlen(key) <= 6 &&
           (key[0] != '0' || !key[1]);
}

static bool has_only_indices(const Json *object)
{
    for (size_t i = 0; i < object->n; i++) {
        if (!is_index(object->keys[i])) {
            return false;
        }
    }
    return object->n > 0;
}

/* Turns objects whose members are all numbered into lists. `name` is the key so far, for messages. */
static Json *make_lists(Json *value, const char *name, Error *err)
{
    if (value->kind != JSON_OBJECT) {
        return value;
    }
    for (size_t i = 0; i < value->n; i++) {
        g_autofree char *inner  = *name ? g_strdup_printf("%s.%s", name, value->keys[i]) : g_strdup(value->keys[i]);
        Json            *member = make_lists(value->items[i], inner, err);
        if (!member) {
            return NULL;
        }
        value->items[i] = member;
    }
    if (!*name || !has_only_indices(value)) {
        return value;
    }
    for (size_t i = 0; i < value->n; i++) {
        char index[24];
        g_snprintf(index, sizeof index, "%zu", i);
        if (!json_get(value, index)) {
            error_set(err, "list '%s' has %zu elements, but none is '%s.%zu'", name, value->n, name, i);
            return NULL;
        }
    }
    Json *list = json_new_list();
    for (size_t i = 0, n = value->n; i < n; i++) {
        char index[24];
        g_snprintf(index, sizeof index, "%zu", i);
        json_append(list, json_take(value, index));
    }
    json_free(value);
    return list;
}

static Json *parse_json(const char *text, Error *err)
{
    g_autoptr(Json) json = json_parse(text, strlen(text), err);
    if (!json) {
        error_prefix(err, "JSON: ");
        return NULL;
    }
    return g_steal_pointer(&json);
}

Json *optstr_parse(const char *text, const char *implied, Error *err)
{
    if (*text == '{') {
        return parse_json(text, err);
    }
    g_autoptr(Json) root = json_new_object();
    for (const char *p = text; *p;) {
        bool             first = p == text;
        size_t           len   = strcspn(p, "=,");
        g_autofree char *key = NULL, *value = NULL;
        if (p[len] == '=') {
            key = g_strndup(p, len);
            p += len + 1;
            value = read_value(&p);
        } else if (first && implied) {
            key   = g_strdup(implied);
            value = read_value(&p);
        } else {
            key   = read_value(&p);
            value = g_strdup("on");
            if (!*key) {
                error_set(err, "a name is missing before ','");
                return NULL;
            }
        }
        if (!add_value(root, key, value, err)) {
            return NULL;
        }
    }
    for (size_t i = 0; i < root->n; i++) {
        Json *member = make_lists(root->items[i], root->keys[i], err);
        if (!member) {
            return NULL;
        }
        root->items[i] = member;
    }
    return g_steal_pointer(&root);
}

void optstr_append_escaped(GString *out, const char *value)
{
    for (; *value; value++) {
        if (*value == ',') {
            g_string_append_c(out, ',');
        }
        g_string_append_c(out, *value);
    }
}
