/* pc-testdev: ports and memory that CPU test suites expect of the machine they run on.
 * Specification: the test device of kvm-unit-tests: E0h a 32-bit register of any access size, E4h a port whose
 * writes take effect at once, 2000h + n sets the level of interrupt n, FF000000h 64 KiB of device memory.
 * Machine lock. */

#include "base/bytes.h"
#include "devices/device.h"

#include <string.h>

enum { N_GSI = 24, IOMEM_ADDRESS = 0xff000000, IOMEM_SIZE = 0x10000 };

typedef struct PcTestDev {
    Device   dev;
    uint32_t value;
    uint8_t  iomem[IOMEM_SIZE];
    Region   ports, flush, irqs, memory;
} PcTestDev;

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((PcTestDev *)opaque)->value >> (offset * 8);
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PcTestDev *t    = opaque;
    uint32_t   mask = (size == 4 ? UINT32_MAX : (1u << (size * 8)) - 1) << (offset * 8);
    t->value        = (t->value & ~mask) | ((uint32_t)(value << (offset * 8)) & mask);
}

static uint64_t nothing_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void nothing_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static void irq_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PcTestDev *t    = opaque;
    IrqLine    line = { t->dev.platform->gsi[offset] };
    irq_set(&line, value != 0);
}

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned size)
{
    return load_le(((PcTestDev *)opaque)->iomem + offset, size);
}

static void memory_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    store_le(((PcTestDev *)opaque)->iomem + offset, value, size);
}

static const IoOps port_ops = {
    .name = "pc-testdev-ioport", .access = IO_BYTE | IO_WORD | IO_LONG, .read = port_read, .write = port_write
};
static const IoOps flush_ops = {
    .name = "pc-testdev-flush", .access = IO_BYTE | IO_WORD | IO_LONG, .read = nothing_read, .write = nothing_write
};
static const IoOps irq_ops = { .name = "pc-testdev-irq", .access = IO_BYTE, .read = nothing_read, .write = irq_write };
static const IoOps memory_ops = {
    .name = "pc-testdev-iomem", .access = IO_ANY, .read = memory_read, .write = memory_write
};

static bool testdev_realize(Device *dev, Error *err)
{
    PcTestDev *t = (PcTestDev *)dev;
    Memory    *m = dev->platform->memory;
    region_init_io(&t->ports, m, "pc-testdev-ioport", 4, &port_ops, t);
    region_init_io(&t->flush, m, "pc-testdev-flush", 4, &flush_ops, t);
    region_init_io(&t->irqs, m, "pc-testdev-irq", N_GSI, &irq_ops, t);
    region_init_io(&t->memory, m, "pc-testdev-iomem", IOMEM_SIZE, &memory_ops, t);
    isa_map_ports(dev, &t->ports, 0xe0);
    isa_map_ports(dev, &t->flush, 0xe4);
    isa_map_ports(dev, &t->irqs, 0x2000);
    region_map(dev->platform->system_memory, IOMEM_ADDRESS, &t->memory, 1);
    return true;
}

static void testdev_unrealize(Device *dev)
{
    PcTestDev *t         = (PcTestDev *)dev;
    Region    *regions[] = { &t->ports, &t->flush, &t->irqs, &t->memory };
    for (size_t i = 0; i < G_N_ELEMENTS(regions); i++) {
        region_unmap(regions[i]);
        region_destroy(regions[i]);
    }
}

static void testdev_reset(Device *dev, ResetKind kind)
{
    PcTestDev *t = (PcTestDev *)dev;
    t->value     = 0;
    memset(t->iomem, 0, sizeof t->iomem);
}

static const Field testdev_state[] = {
    FIELD(PcTestDev, value, "value"),
    FIELD_ARRAY(PcTestDev, iomem, "iomem"),
    {},
};

DEVICE_TYPE(pc_testdev) = {
    .name      = "pc-testdev",
    .help      = "ports and memory for CPU test suites",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(PcTestDev),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .state     = testdev_state,
    .realize   = testdev_realize,
    .unrealize = testdev_unrealize,
    .reset     = testdev_reset,
};
