/* Objects that users make: -object, object-add, object-del. Machine lock held. */

#include "object/object.h"

#include <string.h>

static const ObjectType *find_user_type(const char *name, Error *err)
{
    const ObjectType *type = object_type_find_class(OBJECT_CLASS_USER, name);
    if (!type) {
        object_type_unknown(OBJECT_CLASS_USER, "object type", name, err);
    }
    return type;
}

/* A string member that has to be there. */
static const char *take_string(const Json *options, const char *key, Error *err)
{
    const char *text = json_get_string(options, key);
    if (!text) {
        error_set(err, json_get(options, key) ? "property '%s' takes a string" : "property '%s' is missing", key);
    }
    return text;
}

Object *object_create_user(Object *root, const Json *options, bool lenient, Error *err)
{
    static const char *const own[] = { "qom-type", "id", NULL };
    const char              *type_name, *id;
    const ObjectType        *type;
    if (!(type_name = take_string(options, "qom-type", err)) || !(type = find_user_type(type_name, err)) ||
        !(id = take_string(options, "id", err)) || !object_check_id(id, err)) {
        return NULL;
    }
    Object *container = object_container(root, "objects");
    if (object_child(container, id)) {
        error_set(err, "there is an object with id '%s' already", id);
        return NULL;
    }
    Object *obj = object_new(type);
    if (!fields_parse(type->properties, obj, options, lenient, own, err) ||
        !object_add_child(container, id, obj, err)) {
        object_unref(obj);
        return NULL;
    }
    if (type->complete && !type->complete(obj, err)) {
        object_unref(obj);
        object_remove(obj);
        return NULL;
    }
    obj->complete = true;
    object_unref(obj); /* the tree holds it */
    return obj;
}

bool object_delete_user(Object *root, const char *id, Error *err)
{
    Object *obj = object_child(object_container(root, "objects"), id);
    if (!obj) {
        return error_set(err, "no object with id '%s'", id);
    }
    if (obj->type->can_delete && !obj->type->can_delete(obj, err)) {
        return error_is_set(err) ? false : error_set(err, "object '%s' is in use", id);
    }
    object_remove(obj);
    return true;
}
