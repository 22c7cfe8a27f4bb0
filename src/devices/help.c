/* -device help and -device X,help. */

#include "devices/device.h"

#include <string.h>

static const char *const category_titles[N_DEVICE_CATEGORIES] = {
    [DEVICE_BRIDGE]   = "Controller/Bridge/Hub",
    [DEVICE_USB]      = "USB",
    [DEVICE_STORAGE]  = "Storage",
    [DEVICE_NETWORK]  = "Network",
    [DEVICE_INPUT]    = "Input",
    [DEVICE_DISPLAY]  = "Display",
    [DEVICE_SOUND]    = "Sound",
    [DEVICE_MISC]     = "Misc",
    [DEVICE_CPU]      = "CPU",
    [DEVICE_WATCHDOG] = "Watchdog",
};

static const DeviceCategory category_order[] = {
    DEVICE_BRIDGE,  DEVICE_USB,   DEVICE_STORAGE, DEVICE_NETWORK, DEVICE_INPUT,
    DEVICE_DISPLAY, DEVICE_SOUND, DEVICE_MISC,    DEVICE_CPU,     DEVICE_WATCHDOG,
};

static void collect(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_DEVICE && !((const DeviceType *)type)->internal) {
        g_ptr_array_add(opaque, (gpointer)type);
    }
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return g_ascii_strcasecmp((*(const ObjectType *const *)a)->name, (*(const ObjectType *const *)b)->name);
}

static void append_type(GString *out, const DeviceType *type)
{
    g_string_append_printf(out, "name \"%s\"", type->name);
    if (type->bus != BUS_NONE) {
        g_string_append_printf(out, ", bus %s", bus_kind_name(type->bus));
    }
    if (type->alias) {
        g_string_append_printf(out, ", alias \"%s\"", type->alias);
    }
    if (type->help) {
        g_string_append_printf(out, ", desc \"%s\"", type->help);
    }
    g_string_append_c(out, '\n');
}

void device_print_help(GString *out)
{
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    bool first                 = true;
    object_type_foreach(collect, types);
    g_ptr_array_sort(types, compare_names);
    for (size_t i = 0; i < G_N_ELEMENTS(category_order); i++) {
        bool titled = false;
        for (guint j = 0; j < types->len; j++) {
            const DeviceType *type = types->pdata[j];
            if (type->category != category_order[i]) {
                continue;
            }
            if (!titled) {
                g_string_append_printf(out, "%s%s devices:\n", first ? "" : "\n", category_titles[category_order[i]]);
                titled = true;
                first  = false;
            }
            append_type(out, type);
        }
    }
}

bool device_print_type_help(const char *name, GString *out, Error *err)
{
    const DeviceType *type = device_type_find(name, err);
    if (!type) {
        return false;
    }
    gsize len = out->len;
    g_string_append_printf(out, "%s options:\n", type->name);
    gsize titled = out->len;
    fields_print_help(type->properties, out);
    if (out->len == titled) {
        g_string_truncate(out, len);
        g_string_append_printf(out, "There are no options for %s.\n", type->name);
    }
    return true;
}
