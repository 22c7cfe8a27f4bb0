/* Objects: the type registry and the tree. Machine lock held for everything that changes the tree. */

#include "object/object.h"

#include "base/text.h"
#include "object/surface.h"

#include <string.h>

/* ---- Types ---- */

/* What a tree is made of when nothing else is known about a node. With it the section is never empty. */
OBJECT_TYPE(container) = {
    .name  = "container",
    .class = OBJECT_CLASS_NONE,
    .size  = sizeof(Object),
};

/* The linker makes these: the first and the end of the section quern_types. */
extern const ObjectType *const __start_quern_types[] __attribute__((visibility("hidden")));
extern const ObjectType *const __stop_quern_types[] __attribute__((visibility("hidden")));

void object_type_foreach(void (*visit)(const ObjectType *type, void *opaque), void *opaque)
{
    for (const ObjectType *const *type = __start_quern_types; type < __stop_quern_types; type++) {
        visit(*type, opaque);
    }
}

const ObjectType *object_type_find_class(ObjectClass class, const char *name)
{
    for (const ObjectType *const *type = __start_quern_types; type < __stop_quern_types; type++) {
        if ((*type)->class == class && !strcmp((*type)->name, name)) {
            return *type;
        }
    }
    return NULL;
}

const ObjectType *object_type_find(const char *name)
{
    static const ObjectClass classes[] = { OBJECT_CLASS_USER, OBJECT_CLASS_DEVICE, OBJECT_CLASS_BUS, OBJECT_CLASS_CPU,
                                           OBJECT_CLASS_NONE };
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        const ObjectType *type = object_type_find_class(classes[i], name);
        if (type) {
            return type;
        }
    }
    return NULL;
}

bool object_type_unknown(ObjectClass class, const char *what, const char *name, Error *err)
{
    if (surface_has(class, name)) {
        return error_set_unsupported(err, "%s '%s'", what, name);
    }
    NameMatch match = { .word = name };
    char      hint[128];
    for (const ObjectType *const *type = __start_quern_types; type < __stop_quern_types; type++) {
        if ((*type)->class == class) {
            text_match_name(&match, (*type)->name);
        }
    }
    surface_match_names(class, &match);
    return error_set(err, "no %s '%s'%s", what, name, text_did_you_mean(&match, hint));
}

/* ---- Life ---- */

void *object_new(const ObjectType *type)
{
    g_assert(type->size >= sizeof(Object));
    Object *obj = g_malloc0(type->size);
    fields_init(type->properties, obj);
    obj->type     = type;
    obj->refs     = 1;
    obj->children = g_ptr_array_new();
    return obj;
}

Object *object_ref(Object *obj)
{
    g_assert(obj->refs > 0);
    obj->refs++;
    return obj;
}

static void free_object(Object *obj)
{
    fields_clear(obj->type->properties, obj);
    g_ptr_array_unref(obj->children);
    g_free(obj->name);
    g_free(obj);
}

void object_discard(Object *obj)
{
    g_assert(obj->refs == 1 && !obj->parent && !obj->children->len);
    free_object(obj);
}

void object_unref(Object *obj)
{
    g_assert(obj->refs > 0);
    if (--obj->refs) {
        return;
    }
    g_assert(!obj->parent);
    while (obj->children->len) {
        object_remove(obj->children->pdata[obj->children->len - 1]);
    }
    if (obj->type->finalize) {
        obj->type->finalize(obj);
    }
    if (obj->release) {
        obj->release(obj);
    }
    free_object(obj);
}

/* ---- The tree ---- */

bool object_check_id(const char *id, Error *err)
{
    bool ok = g_ascii_isalpha(*id);
    for (const char *p = id; ok && *p; p++) {
        ok = g_ascii_isalnum(*p) || strchr("-._", *p);
    }
    return ok || error_set(err, "'%s' cannot be an id (a letter, then letters, digits, '-', '.' or '_')", id);
}

Object *object_child(const Object *parent, const char *name)
{
    for (guint i = 0; i < parent->children->len; i++) {
        Object *child = parent->children->pdata[i];
        if (!strcmp(child->name, name)) {
            return child;
        }
    }
    return NULL;
}

bool object_add_child(Object *parent, const char *name, Object *obj, Error *err)
{
    g_assert(!obj->parent && *name && !strchr(name, '/'));
    if (object_child(parent, name)) {
        g_autofree char *path = object_path(parent);
        return error_set(err, "there is a '%s' in %s already", name, path);
    }
    g_free(obj->name);
    obj->name   = g_strdup(name);
    obj->parent = parent;
    g_ptr_array_add(parent->children, object_ref(obj));
    return true;
}

void object_remove(Object *obj)
{
    g_assert(obj->parent);
    g_ptr_array_remove(obj->parent->children, obj);
    obj->parent = NULL;
    g_clear_pointer(&obj->name, g_free);
    object_unref(obj);
}

Object *object_container(Object *parent, const char *name)
{
    Object *found = object_child(parent, name);
    if (!found) {
        g_auto(Error) err = { 0 };
        found             = object_new(&container_type);
        object_add_child(parent, name, found, &err);
        object_unref(found); /* the tree holds it */
    }
    return found;
}

char *object_path(const Object *obj)
{
    GString *path = g_string_new(NULL);
    for (; obj->parent; obj = obj->parent) {
        g_string_prepend(path, obj->name);
        g_string_prepend_c(path, '/');
    }
    if (!path->len) {
        g_string_append_c(path, '/');
    }
    return g_string_free(path, FALSE);
}

static Object *walk_path(Object *from, char **parts)
{
    for (; *parts && from; parts++) {
        from = object_child(from, *parts);
    }
    return from;
}

/* Counts the objects below `from` that the rest of a path leads to; keeps the first. */
static unsigned find_partial(Object *from, char **parts, Object **found)
{
    unsigned n   = 0;
    Object  *obj = walk_path(from, parts);
    if (obj) {
        *found = *found ? *found : obj;
        n      = 1;
    }
    for (guint i = 0; i < from->children->len && n < 2; i++) {
        n += find_partial(from->children->pdata[i], parts, found);
    }
    return n;
}

Object *object_resolve(Object *root, const char *path)
{
    bool absolute       = *path == '/';
    g_auto(GStrv) parts = g_strsplit(path + absolute, "/", -1);
    if (!parts[0] || !*parts[0]) {
        return absolute ? root : NULL;
    }
    if (absolute) {
        return walk_path(root, parts);
    }
    Object *found = NULL;
    return find_partial(root, parts, &found) == 1 ? found : NULL;
}

Object *object_root_new(void)
{
    Object *root = object_new(&container_type);
    object_container(root, "objects");
    object_container(root, "chardevs");
    object_container(root, "machine");
    return root;
}

/* ---- Properties ---- */

bool object_set(Object *obj, const char *property, const Json *value, bool lenient, Error *err)
{
    if (obj->complete) {
        const Field *field = fields_find(obj->type->properties, property);
        if (field && !field->live && !field->read_only) {
            return error_set(err, "property '%s' cannot be changed any more", property);
        }
    }
    if (!fields_set(obj->type->properties, obj, property, value, lenient, err)) {
        return false;
    }
    if (obj->complete && obj->type->changed) {
        obj->type->changed(obj, property);
    }
    return true;
}

Json *object_get(Object *obj, const char *property, Error *err)
{
    return fields_get(obj->type->properties, obj, property, err);
}
