/* Memory devices: modules that are plugged into slots and show memory backends to the guest, in a stretch of its
 * address space that the board keeps free for them. The board makes one MemoryDevices; ACPI tells the guest what comes
 * and goes. Machine lock held throughout. */

#ifndef QUERN_DEVICES_MEMORY_MEMDEVS_H
#define QUERN_DEVICES_MEMORY_MEMDEVS_H

#include "devices/device.h"
#include "memory/backend.h"

enum { MEMORY_SLOTS_MAX = 256 };

typedef enum MemoryDeviceKind {
    MEMORY_DIMM,
    MEMORY_NVDIMM,
    MEMORY_VIRTIO_PMEM, /* from here on they have no slot, and ACPI knows nothing of them */
    MEMORY_VIRTIO_MEM,
} MemoryDeviceKind;

/* What is memory of a device; embedded in its struct. What is not set finds a place when it is realized. */
typedef struct MemoryDevice {
    Device          *dev;
    MemoryDeviceKind kind;
    char            *memdev; /* property: id or path of the backend */
    uint64_t         addr;   /* property; 0: wherever there is room */
    int32_t          slot;   /* property; -1: the first free one, or none */
    uint32_t         node;   /* property */
    uint64_t         size;   /* read-only property: of what the guest sees of the backend */
    uint64_t         usable; /* bytes of that the guest has: all, but for virtio-mem */
    MemoryBackend   *backend;
    Region           region;
    bool             readonly;   /* the guest is not to write it */
    bool             unplugging; /* the guest has been asked to give it back */
} MemoryDevice;

/* A module. */
typedef struct Dimm {
    Device       dev; /* first */
    MemoryDevice memory;

    /* of nvdimm; see dimm.c */
    uint64_t label_size;
    bool     unarmed;
    uint8_t  uuid[16];
    bool     have_uuid;
} Dimm;

/* Who tells the guest; ACPI. Any may be NULL. */
typedef struct MemoryDeviceHost {
    void (*plugged)(void *opaque, MemoryDevice *m);
    void (*ask_back)(void *opaque, MemoryDevice *m);
    void (*unplugged)(void *opaque, MemoryDevice *m);
    Json *(*status)(void *opaque, unsigned slot); /* what the guest has said of it: one ACPIOSTInfo of QMP */
    void *opaque;
} MemoryDeviceHost;

typedef struct MemoryDevices {
    Platform     *platform;
    Region        region; /* mapped at `base` by the board */
    uint64_t      base, size;
    uint64_t      room; /* what all of them together may have: maxmem - ram_size */
    unsigned      n_slots, n_nodes;
    MemoryDevice *slots[MEMORY_SLOTS_MAX];
    GPtrArray    *devices;                /* MemoryDevice *: all of them; borrowed */
    bool          nvdimms;                /* -machine nvdimm=on */
    void (*nvdimm_plugged)(void *opaque); /* tells the guest of persistent ones, beside `host`; may be NULL */
    void            *nvdimm_opaque;
    MemoryDeviceHost host;
} MemoryDevices;

MemoryDevices *memory_devices_new(Platform *platform, uint64_t base, uint64_t size, uint64_t room, unsigned n_slots,
                                  unsigned n_nodes);
void           memory_devices_free(MemoryDevices *all); /* NULL is fine; no device is left */

/* All of them by address: for query-memory-devices. `all` may be NULL. */
void memory_devices_foreach(MemoryDevices *all, void (*visit)(MemoryDevice *m, void *opaque), void *opaque);

/* Bytes that guests have of all of them; of address space that all of them take. */
uint64_t memory_devices_plugged(const MemoryDevices *all);
uint64_t memory_devices_room_used(const MemoryDevices *all);

/* For the types: finds a slot and a place for [0, size) of its backend (size 0: all), at a multiple of `align` (0: as
 * suits), shows it, and tells the guest; the opposite. m->dev and m->kind are set. What fails changes nothing. */
bool memory_device_plug(MemoryDevice *m, uint64_t size, uint64_t align, Error *err);
void memory_device_unplug(MemoryDevice *m);

/* Asks the guest to give a module back. */
bool memory_device_ask_back(Device *dev, Error *err);

/* What became of that: the guest has let go of it, or will not. */
void memory_device_ejected(MemoryDevice *m);
void memory_device_refused(MemoryDevice *m, const char *why);

#endif
