/* Devices: one static DeviceType a kind, one Device embedded first in its struct.
 *
 * Life: device_new() sets property defaults; properties are set; device_realize() connects it to its bus and calls
 * realize; reset puts it into its power-on state; unrealize undoes realize. A realize that fails undoes by itself what
 * it did, but for buses and pins: those go with the device. All under the machine lock. */

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
typedef enum ResetKind {
    RESET_COLD,
    RESET_WARM,
    RESET_WAKE /* from S3: RAM has kept what it had, and so has the host bridge, which knows what is shadowed */
} ResetKind;
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
    struct ObjectType; /* .name, .class = OBJECT_CLASS_DEVICE, .help, .size, .properties, .parent ("pci-device" ...) */
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
    /* Asks the guest to let go of it; device_remove() follows when it has. NULL: it needs no asking. */
    bool (*unplug_request)(Device *dev, Error *err);
    const void *bus_info; /* for PCI: const PciDeviceInfo * */
};

struct Device {
    Object     obj;
    Platform  *platform;
    Bus       *bus; /* it sits on */
    char      *id;  /* -device id=; NULL for anonymous ones */
    bool       realized;
    bool       hotplugged;       /* made by device_create() on a started machine */
    GPtrArray *buses;            /* Bus *: those it offers */
    GPtrArray *inputs, *outputs; /* named groups of pins and lines, pins.c */
};

struct Bus {
    Object     obj;
    char      *name; /* "pci.0", "isa.0" */
    BusKind    kind;
    Platform  *platform;
    Device    *owner;   /* NULL for the board's main bus */
    GPtrArray *devices; /* borrowed */
    unsigned   room;    /* devices it takes; 0: plug says */
    void      *data;    /* the kind's own: a PciBus for BUS_PCI */
    /* Called before realize: finds the device's place (PCI slot ...). May be NULL. */
    bool (*plug)(Bus *bus, Device *dev, Error *err);
    void (*disconnect)(Bus *bus, Device *dev); /* before unrealize: nothing reaches the device any more. May be NULL */
    void (*unplug)(Bus *bus, Device *dev);     /* after unrealize */
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

/* A device of a known type, not realized, with -global defaults of `platform` applied. The caller owns it until
 * device_realize() takes it, or gives it up with object_unref(). */
void *device_new(Platform *platform, const char *type_name);

/* Places it on `bus` (NULL: the board's first bus of the type's kind), puts it into the tree (peripheral/ID for
 * a device that has an id, else unattached/device[n]) and realizes it. On failure the device is freed. The tree owns
 * it from then on. */
bool device_realize(Device *dev, Bus *bus, Error *err);

/* Takes it out of the machine, the devices on its buses first, and drops the tree's reference. */
void device_unrealize(Device *dev);

/* -device / device_add: {"driver": T, "id": I, "bus": B, ...}. Without an id its place in the tree is
 * peripheral-anon/device[n]. On a started machine only what is .hotplug is taken, and it is reset. */
Device *device_create(Platform *platform, const Json *options, bool lenient, Error *err);

/* device_del: takes a device out of a running machine at once, or asks the guest to let go of it, as its type has it.
 */
bool device_unplug(Device *dev, Error *err);

/* Takes it out, and tells management (DEVICE_DELETED). */
void device_remove(Device *dev);

/* Resets all devices, in the order they were realized. The first call ends the making of the machine. */
void devices_reset(Platform *platform, ResetKind kind);

/* Visits every realized device in order. The visitor may take devices away. */
void devices_foreach(Platform *platform, void (*visit)(Device *dev, void *opaque), void *opaque);

/* Unrealizes all devices, the last first, and frees what the platform keeps about devices. */
void devices_free(Platform *platform);

/* Saved state: the type's state version and its state table, see desc/state.h. device_load calls post_load; when it
 * fails the device has to be reset. */
void device_save(Device *dev, GByteArray *out);
bool device_load(Device *dev, const uint8_t *data, size_t len, Error *err);

/* Interrupt pins. device_add_inputs makes n pins (NULL name: the unnamed group) that call set(dev, n, level);
 * device_input gets one. device_add_outputs registers lines so that qtest can intercept them. */
void device_add_inputs(Device *dev, const char *name, unsigned n, void (*set)(void *dev, int n, int level));
/* ... and say what would become of an edge (irq.h). */
void device_inputs_hear(Device *dev, const char *name, IrqHearing (*hearing)(void *dev, int n, const IrqTaken *taken));
IrqPin *device_input(Device *dev, const char *name, unsigned n);
IrqPin *device_find_input(Device *dev, const char *name, unsigned n); /* NULL: there is no such pin */
void    device_add_outputs(Device *dev, const char *name, IrqLine *lines, unsigned n);

/* Visits the groups of pins, inputs first, in the order they were made; the unnamed ones have the name NULL. */
void device_foreach_pins(Device *dev, void (*visit)(const char *name, bool input, unsigned n, void *opaque),
                         void   *opaque);

/* Interception, for -qtest: from now on hook(opaque, n, level) is called for each change on a group of pins, before
 * it reaches whom it is for. false: there is no such group. To be called once a group, when all is connected. */
typedef void PinHook(void *opaque, int n, int level);
bool         device_intercept_inputs(Device *dev, const char *name, PinHook *hook, void *opaque);
bool         device_intercept_outputs(Device *dev, const char *name, PinHook *hook, void *opaque);

/* A bus below `owner` (NULL: below the machine), which lives as long as its owner. Name NULL: one is made from the
 * owner's id or the kind ("scsi0.0", "pci.0"). */
Bus *bus_new(BusKind kind, const char *name, Device *owner, Platform *platform);
void bus_free(Bus *bus); /* earlier than its owner; nothing sits on it any more */

/* By name, or by the id of the device that offers it ("scsi0", "scsi0/scsi0.0"). Name NULL: the first of its kind
 * that has room. */
Bus        *bus_find(Platform *platform, BusKind kind, const char *name, Error *err);
const char *bus_kind_name(BusKind kind); /* "PCI", as help shows it */

/* ISA: maps an I/O port window; unmapped by region_unmap. */
void isa_map_ports(Device *dev, Region *region, uint16_t port);

/* -global: {driver, property, value} triples that device_new applies to types of that name, in the order given; the
 * driver may be a base ("pci-device"). Fails on types nobody knows, and on properties and values that a type does not
 * take. For types that are known but not built yet anything is taken: there is no such device. */
bool device_add_global(Platform *platform, const char *driver, const char *property, const char *value, Error *err);

/* Help texts: "-device help", "-device X,help". */
void device_print_help(GString *out);
bool device_print_type_help(const char *name, GString *out, Error *err);

#endif
