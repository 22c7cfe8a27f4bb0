/* pvpanic: the guest tells that it has crashed.
 * Specification: QEMU's docs/specs/pvpanic (port 505h: reads tell which events are taken, writes raise them; bit 0
 * panic, bit 1 a crash kernel was loaded, bit 2 the guest shuts down). Machine lock. */

#include "devices/device.h"

enum { PVPANIC_PANICKED = 1 << 0, PVPANIC_CRASHLOADED = 1 << 1, PVPANIC_SHUTDOWN = 1 << 2 };

typedef struct PvPanic {
    Device   dev;
    uint16_t ioport;
    uint8_t  events;
    Region   ports;
} PvPanic;

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((PvPanic *)opaque)->events;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PvPanic  *panic    = opaque;
    Platform *platform = panic->dev.platform;
    if (value & ~(uint64_t)panic->events) {
        log_print(platform->log, LOG_GUEST_ERRORS, "pvpanic: events 0x%x, offered are 0x%x\n", (unsigned)value,
                  panic->events);
    }
    value &= panic->events;
    if (value & PVPANIC_PANICKED) {
        platform->guest_panicked(platform);
    } else if (value & PVPANIC_CRASHLOADED) {
        Json *data = json_new_object();
        json_add(data, "action", json_new_string("run")); /* its own kernel for crashes sees to the rest */
        platform_emit(platform, "GUEST_CRASHLOADED", data);
    } else if (value & PVPANIC_SHUTDOWN) {
        platform_emit(platform, "GUEST_PVSHUTDOWN", NULL);
        platform->request_shutdown(platform, SHUTDOWN_GUEST, 0);
    }
}

static const IoOps pvpanic_ops = { .name = "pvpanic", .access = IO_BYTE, .read = pvpanic_read, .write = pvpanic_write };

static bool pvpanic_realize(Device *dev, Error *err)
{
    PvPanic *panic = (PvPanic *)dev;
    region_init_io(&panic->ports, dev->platform->memory, "pvpanic", 1, &pvpanic_ops, panic);
    isa_map_ports(dev, &panic->ports, panic->ioport);
    return true;
}

static void pvpanic_unrealize(Device *dev)
{
    PvPanic *panic = (PvPanic *)dev;
    region_unmap(&panic->ports);
    region_destroy(&panic->ports);
}

static const Field pvpanic_properties[] = {
    FIELD(PvPanic, ioport, "ioport", .initial = 0x505, .help = "its port"),
    FIELD(PvPanic, events, "events", .initial = PVPANIC_PANICKED | PVPANIC_CRASHLOADED | PVPANIC_SHUTDOWN, .min = 0,
          .max = 7, .help = "events offered to the guest: 1 panic, 2 crash kernel, 4 shutdown"),
    {},
};

DEVICE_TYPE(pvpanic) = {
    .name       = "pvpanic",
    .help       = "tells the host when the guest has crashed",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(PvPanic),
    .properties = pvpanic_properties,
    .bus        = BUS_ISA,
    .category   = DEVICE_MISC,
    .realize    = pvpanic_realize,
    .unrealize  = pvpanic_unrealize,
};
