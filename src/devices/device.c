/* Devices: their life, their place in the tree, reset. Machine lock held throughout. */

#include "devices/device.h"

#include "base/bytes.h"
#include "base/text.h"
#include "base/trace.h"
#include "desc/state.h"
#include "devices/private.h"
#include "object/surface.h"

#include <string.h>

/* ---- Types ---- */

typedef struct AliasSearch {
    const char       *alias;
    const DeviceType *found;
} AliasSearch;

static void match_alias(const ObjectType *type, void *opaque)
{
    AliasSearch *search = opaque;
    if (type->class == OBJECT_CLASS_DEVICE) {
        const DeviceType *device = (const DeviceType *)type;
        if (device->alias && !strcmp(device->alias, search->alias)) {
            search->found = device;
        }
    }
}

static const DeviceType *find_type(const char *name)
{
    const ObjectType *type = object_type_find_class(OBJECT_CLASS_DEVICE, name);
    if (type) {
        return (const DeviceType *)type;
    }
    AliasSearch search = { .alias = name };
    object_type_foreach(match_alias, &search);
    return search.found;
}

const DeviceType *device_type_find(const char *name, Error *err)
{
    const DeviceType *type = find_type(name);
    if (!type) {
        object_type_unknown(OBJECT_CLASS_DEVICE, "device", name, err);
    }
    return type;
}

/* ---- Life ---- */

static void release_device(Object *obj)
{
    Device *dev = (Device *)obj;
    g_assert(!dev->realized);
    device_free_pins(dev);
    g_clear_pointer(&dev->buses, g_ptr_array_unref);
    g_free(dev->id);
}

void *device_new(Platform *platform, const char *type_name)
{
    const DeviceType *type = find_type(type_name);
    if (!type) {
        g_error("a board asks for a device '%s' that does not exist", type_name);
    }
    Device *dev      = object_new((const ObjectType *)type);
    dev->platform    = platform;
    dev->buses       = g_ptr_array_new();
    dev->inputs      = g_ptr_array_new();
    dev->outputs     = g_ptr_array_new();
    dev->obj.release = release_device;
    globals_apply(platform, dev);
    return dev;
}

static Object *machine_container(Platform *platform, const char *name)
{
    return object_container(object_container(platform->objects, "machine"), name);
}

/* Below `container` as device[n]. */
static void place_numbered(Device *dev, const char *container)
{
    Object *parent = machine_container(dev->platform, container);
    for (guint n = parent->children->len;; n++) {
        g_auto(Error) err     = { 0 };
        g_autofree char *name = g_strdup_printf("device[%u]", n);
        if (!object_child(parent, name)) {
            object_add_child(parent, name, &dev->obj, &err);
            return;
        }
    }
}

static bool place_by_id(Device *dev, Error *err)
{
    Object *parent = machine_container(dev->platform, "peripheral");
    if (object_child(parent, dev->id)) {
        return error_set(err, "there is a device with id '%s' already", dev->id);
    }
    return object_add_child(parent, dev->id, &dev->obj, err);
}

/* Chooses the bus when the caller did not, and checks its kind. */
static bool choose_bus(Device *dev, Bus **bus, Error *err)
{
    BusKind kind = device_type(dev)->bus;
    if (!*bus && kind != BUS_NONE && kind != BUS_SYSTEM) {
        *bus = bus_find(dev->platform, kind, NULL, err);
        return *bus || error_prefix(err, "device '%s': ", dev->obj.type->name);
    }
    if (*bus && (*bus)->room && (*bus)->devices->len >= (*bus)->room) {
        return error_set(err, "bus '%s' has a device already", (*bus)->name);
    }
    if (*bus && kind == BUS_NONE) {
        return error_set(err, "device '%s' sits on no bus", dev->obj.type->name);
    }
    if (*bus && (*bus)->kind != kind) {
        return error_set(err, "bus '%s' is of kind %s, and device '%s' needs %s", (*bus)->name,
                         bus_kind_name((*bus)->kind), dev->obj.type->name, bus_kind_name(kind));
    }
    return true;
}

static bool realize(Device *dev, Bus *bus, Error *err)
{
    const DeviceType *type = device_type(dev);
    if (!choose_bus(dev, &bus, err)) {
        return false;
    }
    if (dev->id && !dev->obj.parent && !place_by_id(dev, err)) {
        return false;
    }
    if (!dev->obj.parent) {
        place_numbered(dev, "unattached");
    }
    if (bus) {
        if (bus->plug && !bus->plug(bus, dev, err)) {
            return false;
        }
        dev->bus = bus;
        g_ptr_array_add(bus->devices, dev);
    }
    return !type->realize || type->realize(dev, err);
}

bool device_realize(Device *dev, Bus *bus, Error *err)
{
    Platform *platform = dev->platform;
    g_assert(!dev->realized);
    if (!realize(dev, bus, err)) {
        bus_detach(dev);
        device_drop_buses(dev);
        if (dev->obj.parent) {
            object_remove(&dev->obj);
        }
        object_unref(&dev->obj);
        return false;
    }
    if (!platform->devices) {
        platform->devices = g_ptr_array_new();
    }
    g_ptr_array_add(platform->devices, dev);
    dev->realized     = true;
    dev->obj.complete = true;
    object_unref(&dev->obj); /* the tree holds it */
    return true;
}

void device_unrealize(Device *dev)
{
    g_assert(dev->realized);
    for (guint i = dev->buses->len; i > 0; i--) {
        GPtrArray *devices = ((Bus *)dev->buses->pdata[i - 1])->devices;
        while (devices->len) {
            device_unrealize(devices->pdata[devices->len - 1]);
        }
    }
    if (dev->bus && dev->bus->disconnect) {
        dev->bus->disconnect(dev->bus, dev);
    }
    if (device_type(dev)->unrealize) {
        device_type(dev)->unrealize(dev);
    }
    bus_detach(dev);
    device_drop_buses(dev);
    g_ptr_array_remove(dev->platform->devices, dev);
    dev->realized     = false;
    dev->obj.complete = false;
    object_remove(&dev->obj);
}

void devices_free(Platform *platform)
{
    while (platform->devices && platform->devices->len) {
        device_unrealize(platform->devices->pdata[platform->devices->len - 1]);
    }
    while (platform->buses && platform->buses->len) {
        bus_free(platform->buses->pdata[platform->buses->len - 1]);
    }
    globals_free(platform);
    g_clear_pointer(&platform->devices, g_ptr_array_unref);
    g_clear_pointer(&platform->buses, g_ptr_array_unref);
    g_clear_pointer(&platform->virtio, g_ptr_array_unref);
}

/* ---- -device ---- */

/* A string member; *text is NULL when there is none. */
static bool get_string(const Json *options, const char *key, const char **text, Error *err)
{
    const Json *value = json_get(options, key);
    if (value && value->kind == JSON_LIST && value->repeat) {
        value = value->items[value->n - 1];
    }
    if (value && value->kind != JSON_STRING) {
        return error_set(err, "property '%s' takes a string, not %s", key, json_kind_name(value->kind));
    }
    *text = value ? value->string : NULL;
    return true;
}

static const DeviceType *find_creatable(Platform *platform, const char *name, Error *err)
{
    const DeviceType *type = device_type_find(name, err);
    if (!type) {
        return NULL;
    }
    if (type->internal) {
        error_set(err, "device '%s' is part of the board and cannot be added", name);
        return NULL;
    }
    if (platform->started && !type->hotplug) {
        error_set(err, "device '%s' cannot be plugged into a running machine", name);
        return NULL;
    }
    return type;
}

/* Gives the new device its id and place. */
static bool name_device(Device *dev, const char *id, Error *err)
{
    if (!id) {
        place_numbered(dev, "peripheral-anon");
        return true;
    }
    dev->id = g_strdup(id);
    return object_check_id(id, err) && place_by_id(dev, err);
}

Device *device_create(Platform *platform, const Json *options, bool lenient, Error *err)
{
    static const char *const own[] = { "driver", "id", "bus", NULL };
    const char              *driver, *id, *bus_name;
    const DeviceType        *type;
    Bus                     *bus = NULL;
    if (!get_string(options, "driver", &driver, err) || !get_string(options, "id", &id, err) ||
        !get_string(options, "bus", &bus_name, err)) {
        return NULL;
    }
    if (!driver) {
        error_set(err, "property 'driver' is missing");
        return NULL;
    }
    if (!(type = find_creatable(platform, driver, err))) {
        return NULL;
    }
    if (bus_name && type->bus == BUS_NONE) {
        error_set(err, "device '%s' sits on no bus", type->name);
        return NULL;
    }
    if (bus_name && !(bus = bus_find(platform, type->bus, bus_name, err))) {
        return NULL;
    }
    Device *dev     = device_new(platform, type->name);
    dev->hotplugged = platform->started;
    if (!fields_parse(type->properties, dev, options, lenient, own, err) || !name_device(dev, id, err)) {
        if (dev->obj.parent) {
            object_remove(&dev->obj);
        }
        object_unref(&dev->obj);
        return NULL;
    }
    if (!device_realize(dev, bus, err)) {
        return NULL;
    }
    if (platform->started && type->reset) {
        type->reset(dev, RESET_COLD);
    }
    return dev;
}

/* ---- device_del ---- */

void device_remove(Device *dev)
{
    Platform        *p    = dev->platform;
    g_autofree char *path = object_path(&dev->obj);
    Json            *data = json_new_object();
    if (dev->id) {
        json_set(data, "device", json_new_string(dev->id));
    }
    json_set(data, "path", json_new_string(path));
    device_unrealize(dev);
    platform_emit(p, "DEVICE_DELETED", data);
}

bool device_unplug(Device *dev, Error *err)
{
    const DeviceType *type = device_type(dev);
    if (type->internal || !type->hotplug) {
        return error_set(err, "device '%s' cannot be unplugged", dev->id ? dev->id : type->name);
    }
    if (type->unplug_request) {
        return type->unplug_request(dev, err);
    }
    device_remove(dev);
    return true;
}

/* ---- All devices ---- */

void devices_foreach(Platform *platform, void (*visit)(Device *dev, void *opaque), void *opaque)
{
    if (!platform->devices) {
        return;
    }
    /* A copy that holds them, for a visitor that takes devices away. */
    g_autoptr(GPtrArray) devices = g_ptr_array_sized_new(platform->devices->len);
    for (guint i = 0; i < platform->devices->len; i++) {
        g_ptr_array_add(devices, object_ref(platform->devices->pdata[i]));
    }
    for (guint i = 0; i < devices->len; i++) {
        Device *dev = devices->pdata[i];
        if (dev->realized) {
            visit(dev, opaque);
        }
        object_unref(&dev->obj);
    }
}

static void reset_device(Device *dev, void *opaque)
{
    if (device_type(dev)->reset) {
        trace(dev->platform->log, TRACE_DEVICE_RESET, "%s", device_type(dev)->name);
        device_type(dev)->reset(dev, *(ResetKind *)opaque);
    }
}

void devices_reset(Platform *platform, ResetKind kind)
{
    devices_foreach(platform, reset_device, &kind);
    platform->started = true;
}

/* ---- Saved state ---- */

void device_save(Device *dev, GByteArray *out)
{
    uint8_t version[4];
    store_be32(version, device_type(dev)->state_version);
    g_byte_array_append(out, version, sizeof version);
    state_save(device_type(dev)->state, dev, out);
}

bool device_load(Device *dev, const uint8_t *data, size_t len, Error *err)
{
    const DeviceType *type = device_type(dev);
    g_autofree char  *path = object_path(&dev->obj);
    if (len < 4) {
        return error_set(err, "state of %s: too short", path);
    }
    uint32_t version = load_be32(data);
    if (version > type->state_version) {
        return error_set(err, "state of %s: version %u is newer than what is known here (%u)", path, version,
                         type->state_version);
    }
    if (!state_load(type->state, dev, data + 4, len - 4, err) || (type->post_load && !type->post_load(dev, err))) {
        return error_prefix(err, "state of %s: ", path);
    }
    return true;
}
