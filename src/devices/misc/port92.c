/* System control port A (92h), and ports that exist only to be written to.
 * Specification: IBM PS/2 technical reference, system control port A: bit 0 resets on a 0-to-1 change, bit 1 opens
 * A20. Port 80h keeps the last byte (POST diagnostics latch), EDh is a delay port that Linux uses on some boards.
 * Machine lock. */

#include "devices/misc/port92.h"

enum { PORT92_RESET = 1 << 0, PORT92_A20 = 1 << 1 };

struct Port92 {
    Device  dev;
    uint8_t outport;
    IrqLine a20;
    Region  port;
};

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Port92 *)opaque)->outport;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Port92 *p   = opaque;
    uint8_t old = p->outport;
    p->outport  = (uint8_t)value;
    irq_set(&p->a20, (value & PORT92_A20) != 0);
    if (value & ~old & PORT92_RESET) {
        p->dev.platform->request_reset(p->dev.platform, RESET_GUEST);
    }
}

static const IoOps port92_ops = { .name = "port92", .access = IO_BYTE, .read = port92_read, .write = port92_write };

static bool port92_realize(Device *dev, Error *err)
{
    Port92 *p = (Port92 *)dev;
    region_init_io(&p->port, dev->platform->memory, "port92", 1, &port92_ops, p);
    isa_map_ports(dev, &p->port, 0x92);
    device_add_outputs(dev, "a20", &p->a20, 1);
    return true;
}

static void port92_unrealize(Device *dev)
{
    Port92 *p = (Port92 *)dev;
    region_unmap(&p->port);
    region_destroy(&p->port);
}

/* A20 is open after reset, as firmware would leave it. */
static void port92_reset(Device *dev, ResetKind kind)
{
    Port92 *p  = (Port92 *)dev;
    p->outport = PORT92_A20;
    irq_set(&p->a20, 1);
}

static const Field port92_state[] = {
    FIELD(Port92, outport, "outport"),
    {},
};

DEVICE_TYPE(port92) = {
    .name      = "port92",
    .help      = "system control port A: fast A20 gate and reset",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(Port92),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = port92_state,
    .realize   = port92_realize,
    .unrealize = port92_unrealize,
    .reset     = port92_reset,
};

Port92 *port92_create(Platform *platform, IrqPin *a20, Error *err)
{
    Port92 *p = device_new(platform, "port92");
    p->a20.to = a20;
    return device_realize(&p->dev, NULL, err) ? p : NULL;
}

/* --- port 80h and its like --- */

typedef struct Port80 {
    Device  dev;
    uint8_t latch;
    Region  post, delay;
} Port80;

static uint64_t port80_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Port80 *)opaque)->latch;
}

static void port80_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((Port80 *)opaque)->latch = (uint8_t)value;
}

static uint64_t write_only_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0xff;
}

static void write_only_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps port80_ops     = { .name = "port80", .access = IO_BYTE, .read = port80_read, .write = port80_write };
static const IoOps write_only_ops = {
    .name = "delay", .access = IO_BYTE, .lockless = true, .read = write_only_read, .write = write_only_write
};

static bool port80_realize(Device *dev, Error *err)
{
    Port80 *p = (Port80 *)dev;
    Memory *m = dev->platform->memory;
    region_init_io(&p->post, m, "port80", 1, &port80_ops, p);
    region_init_io(&p->delay, m, "portED", 1, &write_only_ops, p);
    isa_map_ports(dev, &p->post, 0x80);
    isa_map_ports(dev, &p->delay, 0xed);
    return true;
}

static void port80_unrealize(Device *dev)
{
    Port80 *p         = (Port80 *)dev;
    Region *regions[] = { &p->post, &p->delay };
    for (size_t i = 0; i < G_N_ELEMENTS(regions); i++) {
        region_unmap(regions[i]);
        region_destroy(regions[i]);
    }
}

static void port80_reset(Device *dev, ResetKind kind)
{
    ((Port80 *)dev)->latch = 0xff;
}

static const Field port80_state[] = {
    FIELD(Port80, latch, "latch"),
    {},
};

DEVICE_TYPE(port80) = {
    .name      = "port80",
    .help      = "POST code latch and delay ports",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(Port80),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = port80_state,
    .realize   = port80_realize,
    .unrealize = port80_unrealize,
    .reset     = port80_reset,
};

bool port80_create(Platform *platform, Error *err)
{
    Port80 *p = device_new(platform, "port80");
    return device_realize(&p->dev, NULL, err);
}
