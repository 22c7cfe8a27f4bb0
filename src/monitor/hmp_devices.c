/* HMP: objects, devices, properties, chardevs and descriptors: QMP's commands for people. */

#include "base/optstr.h"
#include "base/text.h"
#include "monitor/cpu_model.h"
#include "monitor/hmp_command.h"
#include "monitor/qom.h"

#include <string.h>

static Json *one_string(const char *name, const char *value)
{
    Json *args = json_new_object();
    json_set(args, name, json_new_string(value));
    return args;
}

/* --- chardevs --- */

static bool wants_help(const Json *options, const char *first)
{
    const char *value = json_get_string(options, first);
    return (value && (!strcmp(value, "help") || !strcmp(value, "?"))) || json_get(options, "help");
}

static bool cmd_chardev_add(Hmp *h, Error *err)
{
    g_autoptr(Json) options = optstr_parse(hmp_text(h, "args"), "backend", err);
    if (!options) {
        return false;
    }
    const char *backend = json_get_string(options, "backend");
    if (backend && json_get(options, "help")) {
        return char_print_type_help(backend, h->out, err);
    }
    if (wants_help(options, "backend")) {
        char_print_help(h->out);
        return true;
    }
    return char_create(h->machine->chars, options, true, err) != NULL;
}

static bool cmd_chardev_change(Hmp *h, Error *err)
{
    const char *id          = hmp_text(h, "id");
    g_autoptr(Json) options = optstr_parse(hmp_text(h, "args"), "backend", err);
    if (!options || !char_find(h->machine->chars, id, err)) {
        return false;
    }
    json_set(options, "id", json_new_string(id));
    return char_change(h->machine->chars, options, true, err);
}

static bool cmd_chardev_remove(Hmp *h, Error *err)
{
    return hmp_do(h, "chardev-remove", one_string("id", hmp_text(h, "id")), err);
}

static bool cmd_chardev_break(Hmp *h, Error *err)
{
    return hmp_do(h, "chardev-send-break", one_string("id", hmp_text(h, "id")), err);
}

static bool cmd_ringbuf_write(Hmp *h, Error *err)
{
    Json *args = one_string("device", hmp_text(h, "device"));
    json_set(args, "data", json_new_string(hmp_text(h, "data")));
    return hmp_do(h, "ringbuf-write", args, err);
}

static bool cmd_ringbuf_read(Hmp *h, Error *err)
{
    Json *args = one_string("device", hmp_text(h, "device"));
    json_set(args, "size", json_new_int(hmp_number(h, "size")));
    g_autoptr(Json) result = hmp_qmp(h, "ringbuf-read", args, err);
    if (!result || result->kind != JSON_STRING) {
        return result != NULL;
    }
    for (const char *p = result->string; *p; p++) {
        if (*p == '\\') {
            hmp_print(h, "\\\\");
        } else if ((*p < 0x20 && *p >= 0 && *p != '\n') || *p == 0x7f) {
            hmp_print(h, "\\u%04X", *p);
        } else {
            g_string_append_c(h->out, *p);
        }
    }
    hmp_print(h, "\n");
    return true;
}

/* --- objects --- */

static void collect_user_type(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_USER) {
        g_ptr_array_add(opaque, (void *)type->name);
    }
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_object_types(Hmp *h)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    object_type_foreach(collect_user_type, names);
    g_ptr_array_sort(names, compare_names);
    hmp_print(h, "List of user creatable objects:\n");
    for (unsigned i = 0; i < names->len; i++) {
        hmp_print(h, "  %s\n", (const char *)names->pdata[i]);
    }
}

static bool cmd_object_add(Hmp *h, Error *err)
{
    g_autoptr(Json) options = optstr_parse(hmp_text(h, "object"), "qom-type", err);
    if (!options) {
        return false;
    }
    const char *name = json_get_string(options, "qom-type");
    if (wants_help(options, "qom-type") && name) {
        const ObjectType *type = object_type_find_class(OBJECT_CLASS_USER, name);
        if (type) {
            hmp_print(h, "%s options:\n", name);
            fields_print_help(type->properties, h->out);
        } else if (strcmp(name, "help") != 0 && strcmp(name, "?") != 0) {
            return object_type_unknown(OBJECT_CLASS_USER, "object type", name, err);
        } else {
            list_object_types(h);
        }
        return true;
    }
    return object_create_user(h->machine->platform.objects, options, true, err) != NULL;
}

static bool cmd_object_del(Hmp *h, Error *err)
{
    return hmp_do(h, "object-del", one_string("id", hmp_text(h, "id")), err);
}

/* --- devices --- */

static bool cmd_device_add(Hmp *h, Error *err)
{
    g_autoptr(Json) options = optstr_parse(hmp_text(h, "device"), "driver", err);
    if (!options) {
        return false;
    }
    const char *driver = json_get_string(options, "driver");
    if (driver && json_get(options, "help")) {
        return cpu_model_device_type_help(driver, h->out, err);
    }
    if (wants_help(options, "driver")) {
        cpu_model_device_help(h->out);
        return true;
    }
    return hmp_do(h, "device_add", g_steal_pointer(&options), err);
}

static bool cmd_device_del(Hmp *h, Error *err)
{
    return hmp_do(h, "device_del", one_string("id", hmp_text(h, "id")), err);
}

/* --- the object tree --- */

static int compare_properties(gconstpointer a, gconstpointer b)
{
    const Json *left = *(const Json *const *)a, *right = *(const Json *const *)b;
    return g_strcmp0(json_get_string(left, "name"), json_get_string(right, "name"));
}

static bool cmd_qom_list(Hmp *h, Error *err)
{
    if (!hmp_given(h, "path")) {
        hmp_print(h, "/\n");
        return true;
    }
    g_autoptr(Json) list = hmp_qmp(h, "qom-list", one_string("path", hmp_text(h, "path")), err);
    if (!list) {
        return false;
    }
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    for (size_t i = 0; list->kind == JSON_LIST && i < list->n; i++) {
        g_ptr_array_add(sorted, list->items[i]);
    }
    g_ptr_array_sort(sorted, compare_properties);
    for (unsigned i = 0; i < sorted->len; i++) {
        hmp_print(h, "%s (%s)\n", json_get_string(sorted->pdata[i], "name"), json_get_string(sorted->pdata[i], "type"));
    }
    return true;
}

static bool cmd_qom_get(Hmp *h, Error *err)
{
    Json *args = one_string("path", hmp_text(h, "path"));
    json_set(args, "property", json_new_string(hmp_text(h, "property")));
    g_autoptr(Json) value = hmp_qmp(h, "qom-get", args, err);
    if (value) {
        json_print_to(h->out, value, true);
        hmp_print(h, "\n");
    }
    return value != NULL;
}

/* Text as a value of the kind that the property has now. */
static Json *value_like(const Json *now, const char *text, Error *err)
{
    bool     flag;
    uint64_t number;
    switch (now->kind) {
    case JSON_BOOL: return text_parse_bool(text, &flag, err) ? json_new_bool(flag) : NULL;
    case JSON_INT:
    case JSON_UINT:
        if (*text == '-') {
            int64_t negative;
            return text_parse_int(text, INT64_MIN, INT64_MAX, &negative, err) ? json_new_int(negative) : NULL;
        }
        return !text_parse_size(text, 1, &number, err) ? NULL
               : number > INT64_MAX                    ? json_new_uint(number)
                                                       : json_new_int((int64_t)number);
    default: return json_new_string(text);
    }
}

static bool cmd_qom_set(Hmp *h, Error *err)
{
    const char *path = hmp_text(h, "path"), *property = hmp_text(h, "property"), *text = hmp_text(h, "value");
    Json       *value = NULL;
    if (hmp_given(h, "json")) {
        value = json_parse(text, strlen(text), err);
    } else {
        Object *obj         = qom_find(h->machine, path, err);
        g_autoptr(Json) now = obj ? qom_get(h->machine, obj, property, err) : NULL;
        value               = now ? value_like(now, text, err) : NULL;
    }
    if (!value) {
        return false;
    }
    Json *args = one_string("path", path);
    json_set(args, "property", json_new_string(property));
    json_set(args, "value", value);
    return hmp_do(h, "qom-set", args, err);
}

/* --- descriptors --- */

static bool cmd_getfd(Hmp *h, Error *err)
{
    return hmp_do(h, "getfd", one_string("fdname", hmp_text(h, "fdname")), err);
}

static bool cmd_closefd(Hmp *h, Error *err)
{
    return hmp_do(h, "closefd", one_string("fdname", hmp_text(h, "fdname")), err);
}

HMP_COMMANDS(devices) = {
    { .name   = "chardev-add",
      .params = "args",
      .help   = "makes a chardev, as -chardev",
      .args   = { { "args", HMP_STRING, .words = HMP_WORDS_CHARDEV_TYPES } },
      .run    = cmd_chardev_add },
    { .name   = "chardev-change",
      .params = "id args",
      .help   = "puts another back end behind a chardev",
      .args   = { { "id", HMP_STRING, .words = HMP_WORDS_CHARDEV_IDS },
                  { "args", HMP_STRING, .words = HMP_WORDS_CHARDEV_TYPES } },
      .run    = cmd_chardev_change },
    { .name   = "chardev-remove",
      .params = "id",
      .help   = "removes a chardev that nothing uses",
      .args   = { { "id", HMP_STRING, .words = HMP_WORDS_CHARDEV_IDS } },
      .run    = cmd_chardev_remove },
    { .name   = "chardev-send-break",
      .params = "id",
      .help   = "has the guest see a break on a serial line",
      .args   = { { "id", HMP_STRING, .words = HMP_WORDS_CHARDEV_IDS } },
      .run    = cmd_chardev_break },
    { .name   = "ringbuf_write",
      .params = "device data",
      .help   = "writes text into a ring buffer",
      .args   = { { "device", HMP_STRING, .words = HMP_WORDS_RINGBUF_IDS }, { "data", HMP_STRING } },
      .run    = cmd_ringbuf_write },
    { .name   = "ringbuf_read",
      .params = "device size",
      .help   = "takes up to so many bytes out of a ring buffer",
      .args   = { { "device", HMP_STRING, .words = HMP_WORDS_RINGBUF_IDS }, { "size", HMP_INT32 } },
      .run    = cmd_ringbuf_read },
    { .name      = "object_add",
      .params    = "[qom-type=]type,id=str[,prop=value][,...]",
      .help      = "makes an object, as -object",
      .preconfig = true,
      .args      = { { "object", HMP_STRING, .words = HMP_WORDS_OBJECT_TYPES } },
      .run       = cmd_object_add },
    { .name      = "object_del",
      .params    = "id",
      .help      = "removes an object that nothing uses",
      .preconfig = true,
      .args      = { { "id", HMP_STRING, .words = HMP_WORDS_OBJECT_IDS } },
      .run       = cmd_object_del },
    { .name   = "device_add",
      .params = "driver[,prop=value][,...]",
      .help   = "plugs a device in, as -device",
      .args   = { { "device", HMP_STRING, .words = HMP_WORDS_DEVICE_TYPES } },
      .run    = cmd_device_add },
    { .name   = "device_del",
      .params = "device",
      .help   = "asks the guest to let a device go, which then is taken away",
      .args   = { { "id", HMP_STRING, .words = HMP_WORDS_DEVICE_IDS } },
      .run    = cmd_device_del },
    { .name      = "qom-list",
      .params    = "path",
      .help      = "properties and children of an object",
      .preconfig = true,
      .args      = { { "path", HMP_STRING, .optional = true, .words = HMP_WORDS_PATHS } },
      .run       = cmd_qom_list },
    { .name      = "qom-get",
      .params    = "path property",
      .help      = "value of an object's property",
      .preconfig = true,
      .args      = { { "path", HMP_STRING, .words = HMP_WORDS_PATHS },
                     { "property", HMP_STRING, .words = HMP_WORDS_PROPERTIES } },
      .run       = cmd_qom_get },
    { .name      = "qom-set",
      .params    = "[-j] path property value",
      .help      = "changes an object's property; -j: the value is JSON",
      .preconfig = true,
      .args      = { { "json", HMP_FLAG, .letter = 'j' },
                     { "path", HMP_STRING, .words = HMP_WORDS_PATHS },
                     { "property", HMP_STRING, .words = HMP_WORDS_PROPERTIES },
                     { "value", HMP_REST } },
      .run       = cmd_qom_set },
    { .name   = "getfd",
      .params = "name",
      .help   = "keeps the descriptor that came with this line, under a name",
      .args   = { { "fdname", HMP_STRING } },
      .run    = cmd_getfd },
    { .name   = "closefd",
      .params = "name",
      .help   = "closes a descriptor that getfd has kept",
      .args   = { { "fdname", HMP_STRING } },
      .run    = cmd_closefd },
    {},
};
