/* The memory-mapped virtio transport, as far as a place without a device shows it: there are no virtio devices yet.
 * Specification: Virtual I/O Device (VIRTIO) 1.2, section 4.2.2: a device ID of 0 is a place that is empty, of which
 * drivers look at nothing else. Machine lock. */

#include "devices/virtio/mmio.h"

enum {
    MAGIC_VALUE = 0x000,
    VERSION     = 0x004,
    DEVICE_ID   = 0x008,
    VENDOR_ID   = 0x00c,

    MAGIC          = 0x74726976, /* "virt" */
    VERSION_LEGACY = 1,
    VERSION_MODERN = 2,
    NO_DEVICE      = 0,
    VENDOR         = 0x554d4551, /* "QEMU" */
};

struct VirtioMmio {
    Device   dev;
    unsigned n;
    uint64_t base;
    bool     force_legacy; /* property */
    IrqLine  irq;
    Region   region;
};

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    const VirtioMmio *mmio = opaque;
    switch (offset) {
    case MAGIC_VALUE: return MAGIC;
    case VERSION: return mmio->force_legacy ? VERSION_LEGACY : VERSION_MODERN;
    case DEVICE_ID: return NO_DEVICE;
    case VENDOR_ID: return VENDOR;
    default: return 0;
    }
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps mmio_ops = { .name = "virtio-mmio", .access = IO_LONG, .read = mmio_read, .write = mmio_write };

static bool mmio_realize(Device *dev, Error *err)
{
    VirtioMmio      *mmio = (VirtioMmio *)dev;
    g_autofree char *name = g_strdup_printf("virtio-mmio-bus.%u", mmio->n);
    region_init_io(&mmio->region, dev->platform->memory, mmio_ops.name, VIRTIO_MMIO_SIZE, &mmio_ops, mmio);
    region_map(dev->platform->system_memory, mmio->base, &mmio->region, 0);
    device_add_outputs(dev, NULL, &mmio->irq, 1);
    bus_new(BUS_VIRTIO, name, dev, dev->platform);
    return true;
}

static void mmio_unrealize(Device *dev)
{
    VirtioMmio *mmio = (VirtioMmio *)dev;
    region_unmap(&mmio->region);
    region_destroy(&mmio->region);
}

static const Field mmio_properties[] = {
    FIELD(VirtioMmio, force_legacy, "force-legacy", .initial = true, .help = "show the transport of virtio 0.9"),
    {},
};

DEVICE_TYPE(mmio) = {
    .name       = "virtio-mmio",
    .parent     = "sys-bus-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "place for a virtio device",
    .size       = sizeof(VirtioMmio),
    .properties = mmio_properties,
    .bus        = BUS_SYSTEM,
    .category   = DEVICE_MISC,
    .internal   = true,
    .realize    = mmio_realize,
    .unrealize  = mmio_unrealize,
};

VirtioMmio *virtio_mmio_create(Platform *platform, unsigned n, uint64_t base, IrqPin *irq, Error *err)
{
    VirtioMmio *mmio = device_new(platform, "virtio-mmio");
    mmio->n          = n;
    mmio->base       = base;
    mmio->irq.to     = irq;
    return device_realize(&mmio->dev, NULL, err) ? mmio : NULL;
}
