/* Devices: one static DeviceType a kind, one Device embedded first in its struct.
 *
 * Life: device_new() sets property defaults; properties are set; device_realize() connects it to its bus and calls
 * realize; reset puts it into its power-on state; unrealize undoes realize. All under the machine lock. */

#ifndef QUERN_DEVICES_DEVICE_H
#define QUERN_DEVICES_DEVICE_H

#include "devices/platform.h"

typedef struct Device     Device;
typedef struct DeviceType DeviceType;
typedef struct Bus        Bus;

typedef enum BusKind {
    BUS_NONE,
    BUS_SYSTEM,
    BUS_ISA,
    BUS_PCI,
    BUS_VIRTIO,
    BUS_USB,
    BUS_SCSI,
    BUS_IDE,
    BUS_I2C,
    N_BUS_KINDS
} BusKind;
typedef enum ResetKind { RESET_COLD, RESET_WARM } ResetKind;
typedef enum DeviceCategory {
    DEVICE_MISC,
    DEVICE_BRIDGE,
    DEVICE_STORAGE,
    DEVICE_NETWORK,
    DEVICE_INPUT,
    DEVICE_DISPLAY,
    DEVICE_SOUND,
    DEVICE_CPU,
    DEVICE_WATCHDOG,
    DEVICE_USB,
    N_DEVICE_CATEGORIES
} DeviceCategory;

struct DeviceType {
    struct ObjectType; /* .name, .help, .size, .properties (class is set by DEVICE_TYPE) */
    BusKind        bus;
    DeviceCategory category;
    const char    *alias;    /* other name -device takes */
    bool           internal; /* made by boards only: -device refuses it */
    bool           hotplug;
    const Field   *state; /* saved state; NULL when there is none */
    uint32_t       state_version;
    bool (*realize)(Device *dev, Error *err);
    void (*unrealize)(Device *dev);             /* may be NULL */
    void (*reset)(Device *dev, ResetKind kind); /* may be NULL */
    bool (*post_load)(Device *dev, Error *err); /* after state was loaded; may be NULL */
    const void *bus_info;                       /* for PCI: const PciDeviceInfo * */
};

struct Device {
    Object     obj;
    Platform  *platform;
    Bus       *bus; /* it sits on */
    char      *id;  /* -device id=; NULL for anonymous ones */
    bool       realized;
    GPtrArray *buses;  /* Bus *: those it offers */
    GPtrArray *inputs; /* named groups of IrqPins, for -qtest interception */
    GPtrArray *outputs;
};

struct Bus {
    Object     obj;
    char      *name; /* "pci.0", "isa.0" */
    BusKind    kind;
    Device    *owner;   /* NULL for the board's main bus */
    GPtrArray *devices; /* borrowed */
    void      *data;    /* the kind's own: a PciBus for BUS_PCI */
    /* Called before realize: finds the device's place (PCI slot ...). May be NULL. */
    bool (*plug)(Bus *bus, Device *dev, Error *err);
    void (*unplug)(Bus *bus, Device *dev);
};

#define DEVICE_TYPE(identifier)                                                                                        \
    static const DeviceType        identifier##_type;                                                                  \
    static const ObjectType *const identifier##_entry __attribute__((used, section("quern_types"))) =                  \
        (const ObjectType *)&identifier##_type;                                                                        \
    static const DeviceType identifier##_type

static inline const DeviceType *device_type(const Device *dev)
{
    return (const DeviceType *)dev->obj.type;
}

/* NULL with did-you-mean, or "not supported yet" for names of the surface that are not built. Aliases count. */
const DeviceType *device_type_find(const char *name, Error *err);

/* A device of a known type, not realized, with -global defaults of `platform` applied. */
void *device_new(Platform *platform, const char *type_name);

/* Places it on `bus` (NULL: the board's first bus of the type's kind), puts it into the tree (peripheral/ID,
 * peripheral-anon/device[n] or unattached/device[n]) and realizes it. On failure the device is freed. */
bool device_realize(Device *dev, Bus *bus, Error *err);
void device_unrealize(Device *dev);

/* -device / device_add: {"driver": T, "id": I, "bus": B, ...}. */
Device *device_create(Platform *platform, const Json *options, bool lenient, Error *err);

/* Resets all devices, in the order they were realized. */
void devices_reset(Platform *platform, ResetKind kind);

/* Visits every realized device in order. */
void devices_foreach(Platform *platform, void (*visit)(Device *dev, void *opaque), void *opaque);

/* Interrupt pins. device_add_inputs makes n pins (NULL name: the unnamed group) that call set(dev, n, level);
 * device_input gets one. device_add_output registers a line so that qtest can intercept it. */
void    device_add_inputs(Device *dev, const char *name, unsigned n, void (*set)(void *dev, int n, int level));
IrqPin *device_input(Device *dev, const char *name, unsigned n);
void    device_add_outputs(Device *dev, const char *name, IrqLine *lines, unsigned n);

Bus *bus_new(BusKind kind, const char *name, Device *owner, Platform *platform);
Bus *bus_find(Platform *platform, BusKind kind, const char *name, Error *err); /* name NULL: the first of its kind */

/* ISA: maps an I/O port window; unmapped by region_unmap. */
void isa_map_ports(Device *dev, Region *region, uint16_t port);

/* -global: {driver, property, value} triples that device_new applies to types of that name. Fails on types or
 * properties nobody knows. */
bool device_add_global(Platform *platform, const char *driver, const char *property, const char *value, Error *err);

/* Help texts: "-device help", "-device X,help". */
void device_print_help(GString *out);
bool device_print_type_help(const char *name, GString *out, Error *err);

#endif
