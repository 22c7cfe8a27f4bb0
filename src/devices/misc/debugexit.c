/* isa-debug-exit: a port that ends the program with a status of the guest's choice, for tests.
 * Specification: QEMU 9.1 device documentation: a write of V ends it with (V << 1) | 1. Machine lock. */

#include "devices/device.h"

typedef struct DebugExit {
    Device   dev;
    uint32_t iobase, iosize;
    Region   ports;
} DebugExit;

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    DebugExit *exit = opaque;
    exit->dev.platform->request_shutdown(exit->dev.platform, SHUTDOWN_GUEST_EXIT, (int)((value << 1 | 1) & 0xff));
}

static const IoOps debug_exit_ops = {
    .name      = "isa-debug-exit",
    .access    = IO_BYTE | IO_WORD | IO_LONG,
    .unaligned = true,
    .read      = debug_exit_read,
    .write     = debug_exit_write,
};

static bool debug_exit_realize(Device *dev, Error *err)
{
    DebugExit *exit = (DebugExit *)dev;
    if (exit->iobase + exit->iosize > 0x10000) {
        return error_set(err, "iobase 0x%x and iosize 0x%x reach beyond port 0xffff", exit->iobase, exit->iosize);
    }
    region_init_io(&exit->ports, dev->platform->memory, "isa-debug-exit", exit->iosize, &debug_exit_ops, exit);
    isa_map_ports(dev, &exit->ports, (uint16_t)exit->iobase);
    return true;
}

static void debug_exit_unrealize(Device *dev)
{
    DebugExit *exit = (DebugExit *)dev;
    region_unmap(&exit->ports);
    region_destroy(&exit->ports);
}

static const Field debug_exit_properties[] = {
    FIELD(DebugExit, iobase, "iobase", .initial = 0x501, .min = 0, .max = 0xffff, .help = "first port"),
    FIELD(DebugExit, iosize, "iosize", .initial = 2, .min = 1, .max = 8, .help = "number of ports"),
    {},
};

DEVICE_TYPE(debug_exit) = {
    .name       = "isa-debug-exit",
    .help       = "ends the program with a status that the guest writes",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(DebugExit),
    .properties = debug_exit_properties,
    .bus        = BUS_ISA,
    .category   = DEVICE_MISC,
    .realize    = debug_exit_realize,
    .unrealize  = debug_exit_unrealize,
};
