/* -global: defaults of properties by type. Machine lock held throughout. */

#include "base/text.h"
#include "devices/device.h"
#include "devices/private.h"
#include "object/surface.h"

#include <string.h>

typedef struct Global {
    char *driver, *property;
    Json *value;
} Global;

/* Is it the type's name, its alias or one of its bases? */
static bool is_kind_of(const ObjectType *type, const char *name)
{
    if (!strcmp(name, "device") || !g_strcmp0(((const DeviceType *)type)->alias, name)) {
        return true;
    }
    for (; type; type = type->parent ? object_type_find(type->parent) : NULL) {
        if (!strcmp(type->name, name) || !g_strcmp0(type->parent, name)) {
            return true;
        }
    }
    return false;
}

static bool set_global(const ObjectType *type, Object *obj, const char *property, const Json *value, Error *err)
{
    return fields_set(type->properties, obj, property, value, true, err);
}

void globals_apply(Platform *platform, Device *dev)
{
    const ObjectType *type = dev->obj.type;
    for (guint i = 0; platform->globals && i < platform->globals->len; i++) {
        const Global *global = platform->globals->pdata[i];
        g_auto(Error) err    = { 0 };
        if (is_kind_of(type, global->driver) && fields_find(type->properties, global->property) &&
            !set_global(type, &dev->obj, global->property, global->value, &err)) {
            warn_report("-global %s.%s: %s", global->driver, global->property, err.text);
        }
    }
}

static void free_global(gpointer data)
{
    Global *global = data;
    g_free(global->driver);
    g_free(global->property);
    json_free(global->value);
    g_free(global);
}

void globals_free(Platform *platform)
{
    g_clear_pointer(&platform->globals, g_ptr_array_unref);
}

/* Tries the value on an object of the type, so that a mistake shows at once and not when a device is made. */
static bool check_value(const ObjectType *type, const char *property, const Json *value, Error *err)
{
    Object *trial = object_new(type);
    bool    ok    = set_global(type, trial, property, value, err);
    object_discard(trial);
    return ok;
}

typedef struct BaseSearch {
    const char       *base, *property;
    const ObjectType *with_property; /* a type of that base that has it */
    bool              found;         /* a type of that base */
} BaseSearch;

static void match_base(const ObjectType *type, void *opaque)
{
    BaseSearch *search = opaque;
    if (type->class == OBJECT_CLASS_DEVICE && is_kind_of(type, search->base)) {
        search->found = true;
        if (fields_find(type->properties, search->property)) {
            search->with_property = type;
        }
    }
}

static bool fail_driver(const char *driver, Error *err)
{
    g_auto(Error) unknown = { 0 };
    NameMatch match       = { .word = driver };
    char      hint[128];
    surface_match_internal(&match);
    object_type_unknown(OBJECT_CLASS_DEVICE, "device", driver, &unknown);
    return match.best ? error_set(err, "no device '%s'%s", driver, text_did_you_mean(&match, hint))
                      : error_move(err, &unknown);
}

static bool check_global(const char *driver, const char *property, const Json *value, Error *err)
{
    g_auto(Error) none     = { 0 };
    const DeviceType *type = device_type_find(driver, &none);
    if (type) {
        return check_value((const ObjectType *)type, property, value, err);
    }
    if (surface_has(OBJECT_CLASS_CPU, driver)) {
        return error_set_unsupported(err, "properties of CPU type '%s'", driver);
    }
    BaseSearch search = { .base = driver, .property = property };
    object_type_foreach(match_base, &search);
    if (search.with_property) {
        return check_value(search.with_property, property, value, err);
    }
    if (search.found) {
        return error_set(err, "no device of type '%s' has a property '%s'", driver, property);
    }
    return surface_has(OBJECT_CLASS_DEVICE, driver) || surface_has_internal(driver) || fail_driver(driver, err);
}

bool device_add_global(Platform *platform, const char *driver, const char *property, const char *value, Error *err)
{
    g_autoptr(Json) text = json_new_string(value);
    if (!check_global(driver, property, text, err)) {
        return false;
    }
    if (!platform->globals) {
        platform->globals = g_ptr_array_new_with_free_func(free_global);
    }
    Global *global   = g_new(Global, 1);
    global->driver   = g_strdup(driver);
    global->property = g_strdup(property);
    global->value    = g_steal_pointer(&text);
    g_ptr_array_add(platform->globals, global);
    return true;
}
