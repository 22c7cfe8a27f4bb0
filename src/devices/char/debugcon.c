/* isa-debugcon: a port whose bytes go to a chardev, and that can be told by what it reads as.
 * Specification: the Bochs port E9 hack. Under the machine lock. */

#include "char/gather.h"
#include "devices/device.h"

typedef struct DebugCon {
    Device       dev;
    char        *chardev;
    uint32_t     iobase, readback;
    CharFrontend fe;
    CharGather   out;
    Region       ports;
} DebugCon;

static const Field debugcon_properties[] = {
    FIELD(DebugCon, chardev, "chardev", .help = "id of the chardev it writes to"),
    FIELD(DebugCon, iobase, "iobase", .initial = 0xe9, .min = 0, .max = 0xffff, .help = "port"),
    FIELD(DebugCon, readback, "readback", .initial = 0xe9, .help = "what the port reads as"),
    {}
};

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((DebugCon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    char_gather_put_all(&((DebugCon *)opaque)->out, (uint8_t)value);
}

static const IoOps debugcon_ops = {
    .name = "debugcon", .access = IO_BYTE, .read = debugcon_read, .write = debugcon_write
};

static bool debugcon_realize(Device *dev, Error *err)
{
    DebugCon *d = (DebugCon *)dev;
    char_gather_init(&d->out, &d->fe, dev->platform->clocks);
    if (!char_attach_id(&d->fe, dev->platform->chars, d->chardev, err)) {
        return false;
    }
    region_init_io(&d->ports, dev->platform->memory, "debugcon", 1, &debugcon_ops, d);
    isa_map_ports(dev, &d->ports, (uint16_t)d->iobase);
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    DebugCon *d = (DebugCon *)dev;
    char_gather_clear(&d->out);
    char_detach(&d->fe);
    region_unmap(&d->ports);
    region_destroy(&d->ports);
}

DEVICE_TYPE(debugcon) = {
    .name       = "isa-debugcon",
    .help       = "debug console port",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(DebugCon),
    .properties = debugcon_properties,
    .bus        = BUS_ISA,
    .category   = DEVICE_MISC,
    .realize    = debugcon_realize,
    .unrealize  = debugcon_unrealize,
};
