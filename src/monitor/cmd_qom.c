/* Commands about the tree of objects, and those that make and take away objects of the user's. */

#include "monitor/command.h"
#include "monitor/qom.h"

#include <string.h>

static const Field property_info[] = {
    QMP_STRING("name"), QMP_STRING("type"), QMP_MAYBE_STRING("description"), QMP_MAYBE_ANY("default-value"), {}
};
static const Field properties_result = QMP_LIST("", property_info);
static const Field any_result        = QMP_ANY("");

/* --- one object --- */

typedef struct PathArgs {
    char *path, *property;
    Json *value;
} PathArgs;

#define PATH_FIELD     FIELD(PathArgs, path, "path", .required = true, .help = "of the object, or the end of it")
#define PROPERTY_FIELD FIELD(PathArgs, property, "property", .required = true, .help = "name of the property")

static const Field list_args[] = { PATH_FIELD, {} };
static const Field get_args[]  = { PATH_FIELD, PROPERTY_FIELD, {} };
static const Field set_args[]  = {
     PATH_FIELD, PROPERTY_FIELD, FIELD(PathArgs, value, "value", .required = true, .help = "its new value"), {}
};

static bool qom_list_command(Monitor *mon, void *args, Json **result, Error *err)
{
    Object *obj = qom_find(mon->machine, ((PathArgs *)args)->path, err);
    *result     = obj ? qom_list(mon->machine, obj) : NULL;
    return *result != NULL;
}

static bool qom_get_command(Monitor *mon, void *args, Json **result, Error *err)
{
    PathArgs *a   = args;
    Object   *obj = qom_find(mon->machine, a->path, err);
    *result       = obj ? qom_get(mon->machine, obj, a->property, err) : NULL;
    return *result != NULL;
}

static bool qom_set_command(Monitor *mon, void *args, Json **result, Error *err)
{
    PathArgs *a   = args;
    Object   *obj = qom_find(mon->machine, a->path, err);
    return obj && qom_set(mon->machine, obj, a->property, a->value, err);
}

/* --- types --- */

typedef struct TypesArgs {
    char *implements;
    bool  abstract;
} TypesArgs;

static const Field types_args[] = {
    FIELD(TypesArgs, implements, "implements", .help = "only types of that kind"),
    FIELD(TypesArgs, abstract, "abstract", .help = "also those that nothing is made of"),
    {},
};
static const Field type_info[]  = { QMP_STRING("name"), QMP_MAYBE_BOOL("abstract"), QMP_MAYBE_STRING("parent"), {} };
static const Field types_result = QMP_LIST("", type_info);

static bool qom_list_types(Monitor *mon, void *args, Json **result, Error *err)
{
    TypesArgs *a               = args;
    g_autoptr(GPtrArray) types = qom_types();
    *result                    = json_new_list();
    for (guint i = 0; i < types->len; i++) {
        const QomType *t = types->pdata[i];
        if ((t->abstract && !a->abstract) || (a->implements && !qom_type_is(types, t, a->implements))) {
            continue;
        }
        Json *item = json_new_object();
        json_add(item, "name", json_new_string(t->name));
        if (t->abstract) {
            json_add(item, "abstract", json_new_bool(true));
        }
        if (t->parent) {
            json_add(item, "parent", json_new_string(t->parent));
        }
        json_append(*result, item);
    }
    return true;
}

typedef struct TypenameArgs {
    char *name;
} TypenameArgs;

static const Field typename_args[] = {
    FIELD(TypenameArgs, name, "typename", .required = true, .help = "name of the type"),
    {},
};

static bool list_properties(Monitor *mon, const char *name, const char *kind, Json **result, Error *err)
{
    g_autoptr(GPtrArray) types = qom_types();
    const QomType *t           = qom_type_find(types, name);
    if (!t || !qom_type_is(types, t, kind)) {
        return error_set_class(err, t ? ERROR_GENERIC : ERROR_DEVICE_NOT_FOUND, "no %s type '%s'", kind, name);
    }
    *result = qom_type_properties(mon->machine, t, err);
    return *result != NULL;
}

static bool qom_list_properties(Monitor *mon, void *args, Json **result, Error *err)
{
    return list_properties(mon, ((TypenameArgs *)args)->name, "object", result, err);
}

static bool device_list_properties(Monitor *mon, void *args, Json **result, Error *err)
{
    return list_properties(mon, ((TypenameArgs *)args)->name, "device", result, err);
}

/* --- object-add, object-del --- */

static void each_user_type(const ObjectType *type, void *names)
{
    if (type->class == OBJECT_CLASS_USER) {
        g_ptr_array_add(names, (gpointer)type);
    }
}

static void each_object(void (*add)(void *opaque, const char *name, const Field *table), void *opaque)
{
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    object_type_foreach(each_user_type, types);
    for (guint i = 0; i < types->len; i++) {
        const ObjectType *type = types->pdata[i];
        add(opaque, type->name, type->properties);
    }
}

static const Field    object_base[] = { QMP_STRING("qom-type"), QMP_STRING("id"), {} };
static const QmpUnion object_union  = {
     .custom = QMP_UNION_CUSTOM, .base = object_base, .tag = "qom-type", .each = each_object
};
static const Field object_args[] = { { .name = "", .kind = FIELD_JSON, .custom = &object_union.custom }, {} };

static bool object_add(Monitor *mon, void *args, Json **result, Error *err)
{
    return object_create_user(mon->machine->platform.objects, args, false, err) != NULL;
}

typedef struct IdArgs {
    char *id;
} IdArgs;

static const Field id_args[] = { FIELD(IdArgs, id, "id", .required = true, .help = "of the object"), {} };

static bool object_del(Monitor *mon, void *args, Json **result, Error *err)
{
    return object_delete_user(mon->machine->platform.objects, ((IdArgs *)args)->id, err);
}

MONITOR_COMMANDS(qom) = {
    { .name      = "qom-list",
      .args      = list_args,
      .args_size = sizeof(PathArgs),
      .result    = &properties_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "an object's properties and children",
      .run       = qom_list_command },
    { .name      = "qom-get",
      .args      = get_args,
      .args_size = sizeof(PathArgs),
      .result    = &any_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "an object's property",
      .run       = qom_get_command },
    { .name      = "qom-set",
      .args      = set_args,
      .args_size = sizeof(PathArgs),
      .flags     = COMMAND_PRECONFIG,
      .help      = "changes an object's property",
      .run       = qom_set_command },
    { .name      = "qom-list-types",
      .args      = types_args,
      .args_size = sizeof(TypesArgs),
      .result    = &types_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "types of objects",
      .run       = qom_list_types },
    { .name      = "qom-list-properties",
      .args      = typename_args,
      .args_size = sizeof(TypenameArgs),
      .result    = &properties_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "properties of a type",
      .run       = qom_list_properties },
    { .name      = "device-list-properties",
      .args      = typename_args,
      .args_size = sizeof(TypenameArgs),
      .result    = &properties_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "properties of a type of device",
      .run       = device_list_properties },
    { .name  = "object-add",
      .args  = object_args,
      .flags = COMMAND_PRECONFIG,
      .help  = "makes an object",
      .run   = object_add },
    { .name      = "object-del",
      .args      = id_args,
      .args_size = sizeof(IdArgs),
      .flags     = COMMAND_PRECONFIG,
      .help      = "takes an object away",
      .run       = object_del },
    {},
};
