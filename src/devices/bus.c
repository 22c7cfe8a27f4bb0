/* Buses: where devices sit. Machine lock held throughout. */

#include "base/text.h"
#include "devices/device.h"
#include "devices/private.h"

#include <string.h>

/* A bus is an object below its owner; its kind's name is the type's. */
#define BUS_TYPE(kind, type_name)                                                                                      \
    [kind] = { .name = type_name, .parent = "bus", .class = OBJECT_CLASS_BUS, .size = sizeof(Bus) }

static const ObjectType bus_types[N_BUS_KINDS] = {
    BUS_TYPE(BUS_SYSTEM, "System"),     BUS_TYPE(BUS_ISA, "ISA"),     BUS_TYPE(BUS_PCI, "PCI"),
    BUS_TYPE(BUS_VIRTIO, "virtio-bus"), BUS_TYPE(BUS_USB, "usb-bus"), BUS_TYPE(BUS_SCSI, "SCSI"),
    BUS_TYPE(BUS_IDE, "IDE"),           BUS_TYPE(BUS_I2C, "i2c-bus"),
};

/* How buses of a kind are numbered when nobody names them. */
static const char *const bus_stems[N_BUS_KINDS] = {
    [BUS_SYSTEM] = "main-system-bus",
    [BUS_ISA]    = "isa",
    [BUS_PCI]    = "pci",
    [BUS_VIRTIO] = "virtio-bus",
    [BUS_USB]    = "usb-bus",
    [BUS_SCSI]   = "scsi",
    [BUS_IDE]    = "ide",
    [BUS_I2C]    = "i2c",
};

const char *bus_kind_name(BusKind kind)
{
    return kind == BUS_NONE ? "none" : bus_types[kind].name;
}

static void release_bus(Object *obj)
{
    Bus *bus = (Bus *)obj;
    g_assert(!bus->devices->len);
    g_ptr_array_unref(bus->devices);
    g_free(bus->name);
}

/* "ID.0" below a device with an id, else the kind's stem and the next number of the machine. */
static char *make_name(BusKind kind, const Device *owner, const Platform *platform)
{
    if (owner && owner->id) {
        return g_strdup_printf("%s.%u", owner->id, owner->buses->len);
    }
    guint n = 0;
    for (guint i = 0; platform->buses && i < platform->buses->len; i++) {
        n += ((const Bus *)platform->buses->pdata[i])->kind == kind;
    }
    return kind == BUS_SYSTEM && !n ? g_strdup(bus_stems[kind]) : g_strdup_printf("%s.%u", bus_stems[kind], n);
}

Bus *bus_new(BusKind kind, const char *name, Device *owner, Platform *platform)
{
    g_assert(kind > BUS_NONE && kind < N_BUS_KINDS);
    Bus *bus         = object_new(&bus_types[kind]);
    bus->obj.release = release_bus;
    bus->kind        = kind;
    bus->name        = name ? g_strdup(name) : make_name(kind, owner, platform);
    bus->owner       = owner;
    bus->platform    = platform;
    bus->devices     = g_ptr_array_new();
    if (!platform->buses) {
        platform->buses = g_ptr_array_new();
    }
    g_ptr_array_add(platform->buses, bus);
    if (owner) {
        g_ptr_array_add(owner->buses, bus);
    }
    g_auto(Error) err = { 0 };
    Object *parent    = owner ? &owner->obj : object_container(platform->objects, "machine");
    if (!object_add_child(parent, bus->name, &bus->obj, &err)) {
        g_error("%s", err.text); /* a device makes two buses of one name */
    }
    object_unref(&bus->obj); /* the tree holds it */
    return bus;
}

void bus_free(Bus *bus)
{
    g_ptr_array_remove(bus->platform->buses, bus);
    if (bus->owner) {
        g_ptr_array_remove(bus->owner->buses, bus);
    }
    object_remove(&bus->obj);
}

void bus_detach(Device *dev)
{
    Bus *bus = dev->bus;
    if (!bus) {
        return;
    }
    if (bus->unplug) {
        bus->unplug(bus, dev);
    }
    g_ptr_array_remove(bus->devices, dev);
    dev->bus = NULL;
}

void device_drop_buses(Device *dev)
{
    while (dev->buses->len) {
        bus_free(dev->buses->pdata[dev->buses->len - 1]);
    }
}

/* ---- Finding ---- */

static bool is_named(const Bus *bus, const char *name)
{
    if (!strcmp(bus->name, name)) {
        return true;
    }
    if (!bus->owner || !bus->owner->id) {
        return false;
    }
    size_t len = strlen(bus->owner->id);
    return !strncmp(bus->owner->id, name, len) &&
           (!name[len] || (name[len] == '/' && !strcmp(bus->name, name + len + 1)));
}

/* Nobody has that bus: says what there is. */
static void fail_unknown(Platform *platform, BusKind kind, const char *name, Error *err)
{
    if (!name) {
        error_set(err, "there is no %s bus", bus_kind_name(kind));
        return;
    }
    NameMatch match = { .word = name };
    char      hint[128];
    for (guint i = 0; platform->buses && i < platform->buses->len; i++) {
        const Bus *bus = platform->buses->pdata[i];
        if (bus->kind == kind) {
            text_match_name(&match, bus->name);
        }
    }
    error_set(err, "no bus '%s'%s", name, text_did_you_mean(&match, hint));
}

Bus *bus_find(Platform *platform, BusKind kind, const char *name, Error *err)
{
    Bus *other = NULL;
    bool full  = false;
    for (guint i = 0; platform->buses && i < platform->buses->len; i++) {
        Bus *bus = platform->buses->pdata[i];
        if (name && !is_named(bus, name)) {
            continue;
        }
        if (!name && bus->kind == kind && bus->room && bus->devices->len >= bus->room) {
            full = true;
            continue;
        }
        if (bus->kind == kind) {
            return bus;
        }
        other = bus;
    }
    if (name && other) {
        error_set(err, "bus '%s' is of kind %s, not %s", name, bus_kind_name(other->kind), bus_kind_name(kind));
    } else if (full) {
        error_set(err, "each %s bus has a device already", bus_kind_name(kind));
    } else {
        fail_unknown(platform, kind, name, err);
    }
    return NULL;
}

void isa_map_ports(Device *dev, Region *region, uint16_t port)
{
    region_map(dev->platform->system_io, port, region, 0);
}
