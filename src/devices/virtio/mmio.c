/* The memory-mapped virtio transport.
 * Specification: Virtual I/O Device (VIRTIO) 1.2, section 4.2.2; 4.2.4 for the legacy interface (force-legacy=on). A
 * device ID of 0 is a place that is empty, of which drivers look at nothing else. Machine lock. */

#include "devices/virtio/mmio.h"

#include "base/checked.h"

enum {
    MAGIC_VALUE         = 0x000,
    VERSION             = 0x004,
    DEVICE_ID           = 0x008,
    VENDOR_ID           = 0x00c,
    DEVICE_FEATURES     = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES     = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    GUEST_PAGE_SIZE     = 0x028, /* legacy */
    QUEUE_SEL           = 0x030,
    QUEUE_NUM_MAX       = 0x034,
    QUEUE_NUM           = 0x038,
    QUEUE_ALIGN         = 0x03c, /* legacy */
    QUEUE_PFN           = 0x040, /* legacy */
    QUEUE_READY         = 0x044,
    QUEUE_NOTIFY        = 0x050,
    INTERRUPT_STATUS    = 0x060,
    INTERRUPT_ACK       = 0x064,
    STATUS              = 0x070,
    QUEUE_DESC          = 0x080,
    QUEUE_DRIVER        = 0x090,
    QUEUE_DEVICE        = 0x0a0,
    SHM_LEN             = 0x0b0,
    SHM_BASE            = 0x0b8,
    QUEUE_RESET         = 0x0c0,
    CONFIG_GENERATION   = 0x0fc,
    CONFIG              = 0x100,

    MAGIC          = 0x74726976, /* "virt" */
    VERSION_LEGACY = 1,
    VERSION_MODERN = 2,
    NO_DEVICE      = 0,
    VENDOR         = 0x554d4551, /* "QEMU" */
    ALIGN_MAX      = 1 << 20,
};

struct VirtioMmio {
    Device        dev;
    unsigned      n;
    uint64_t      base;
    bool          force_legacy; /* property */
    IrqLine       irq;
    Region        region;
    VirtioDevice *virtio; /* NULL: the place is empty */
    uint32_t      page;   /* legacy: the guest's page size; 0: not said yet */
};

static VirtioMmio *place_of(Device *dev)
{
    return (VirtioMmio *)dev->bus->owner;
}

static void interrupt(VirtioDevice *v, uint8_t isr, uint16_t vector)
{
    irq_set(&place_of(v->dev)->irq, v->isr != 0);
}

static const VirtioTransport transport = { .interrupt = interrupt };

/* ---- Registers ---- */

static uint32_t read_queue(const VirtioMmio *mmio, const VirtQueue *q, uint64_t offset)
{
    switch (offset) {
    case QUEUE_NUM_MAX: return q->enabled && mmio->force_legacy ? 0 : q->max_size;
    case QUEUE_PFN: return mmio->force_legacy ? q->pfn : 0;
    case QUEUE_READY: return mmio->force_legacy ? 0 : q->enabled;
    default: return 0; /* QUEUE_RESET: a reset is over at once */
    }
}

static uint32_t read_register(VirtioMmio *mmio, uint64_t offset)
{
    VirtioDevice    *v = mmio->virtio;
    const VirtQueue *q;
    switch (offset) {
    case MAGIC_VALUE: return MAGIC;
    case VERSION: return mmio->force_legacy ? VERSION_LEGACY : VERSION_MODERN;
    case DEVICE_ID: return v ? v->kind->id : NO_DEVICE;
    case VENDOR_ID: return VENDOR;
    default: break;
    }
    if (!v) {
        return 0;
    }
    switch (offset) {
    case DEVICE_FEATURES: return virtio_read_features(v, mmio->force_legacy);
    case INTERRUPT_STATUS: return v->isr;
    case STATUS: return v->status;
    case CONFIG_GENERATION: return mmio->force_legacy ? 0 : v->generation;
    case SHM_LEN:
    case SHM_LEN + 4:
    case SHM_BASE:
    case SHM_BASE + 4: return mmio->force_legacy ? 0 : UINT32_MAX; /* there is no shared memory */
    default: q = virtio_selected(v); return q ? read_queue(mmio, q, offset) : 0;
    }
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioMmio *mmio = opaque;
    if (offset >= CONFIG) {
        return mmio->virtio ? virtio_read_config(mmio->virtio, offset - CONFIG, size) : 0;
    }
    return read_register(mmio, align_down(offset, 4)) >> (8 * (offset & 3));
}

static void write_queue_legacy(VirtioMmio *mmio, VirtQueue *q, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case QUEUE_NUM: virtqueue_set_size(q, value); break;
    case QUEUE_ALIGN:
        if (!q->enabled && value && value <= ALIGN_MAX && is_power_of_two(value)) {
            q->legacy_align = value;
        }
        break;
    case QUEUE_PFN:
        if (mmio->page || !value) {
            virtqueue_set_pfn(q, value, mmio->page);
        }
        break;
    default: break;
    }
}

static void write_queue(VirtQueue *q, uint64_t offset, uint32_t value)
{
    bool may_reset = virtio_has(q->device, VIRTIO_F_RING_RESET);
    if (q->enabled) {
        if ((offset == QUEUE_RESET && value == 1 && may_reset) || (offset == QUEUE_READY && value == 0)) {
            virtqueue_reset(q);
        }
        return;
    }
    switch (offset) {
    case QUEUE_NUM: virtqueue_set_size(q, value); break;
    case QUEUE_READY:
        if (value == 1) {
            virtqueue_enable(q);
        }
        break;
    case QUEUE_DESC:
    case QUEUE_DESC + 4: virtqueue_set_half(&q->desc, offset & 4, value); break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4: virtqueue_set_half(&q->driver, offset & 4, value); break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4: virtqueue_set_half(&q->device_area, offset & 4, value); break;
    default: break;
    }
}

static void write_register(VirtioMmio *mmio, uint64_t offset, uint32_t value)
{
    VirtioDevice *v = mmio->virtio;
    VirtQueue    *q = virtio_selected(v);
    switch (offset) {
    case DEVICE_FEATURES_SEL: v->feature_select = value; break;
    case DRIVER_FEATURES_SEL: v->guest_feature_select = value; break;
    case DRIVER_FEATURES: virtio_write_features(v, value, mmio->force_legacy); break;
    case GUEST_PAGE_SIZE: mmio->page = is_power_of_two(value) && value <= ALIGN_MAX ? value : 0; break;
    case QUEUE_SEL: v->queue_select = value; break;
    case QUEUE_NOTIFY: virtio_notify(v, value); break;
    case INTERRUPT_ACK:
        v->isr &= ~value;
        irq_set(&mmio->irq, v->isr != 0);
        break;
    case STATUS:
        virtio_write_status(v, (uint8_t)value, mmio->force_legacy);
        irq_set(&mmio->irq, v->isr != 0);
        break;
    default:
        if (q && mmio->force_legacy) {
            write_queue_legacy(mmio, q, offset, value);
        } else if (q) {
            write_queue(q, offset, value);
        }
    }
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioMmio *mmio = opaque;
    if (!mmio->virtio) {
        return;
    }
    if (offset >= CONFIG) {
        virtio_write_config(mmio->virtio, offset - CONFIG, (uint32_t)value, size);
    } else if (size == 4) {
        write_register(mmio, offset, (uint32_t)value);
    }
}

static const IoOps mmio_ops = {
    .name = "virtio-mmio", .access = IO_BYTE | IO_WORD | IO_LONG, .read = mmio_read, .write = mmio_write
};

/* ---- The device in the place ---- */

void virtio_mmio_attach(Device *dev, VirtioDevice *v)
{
    v->transport          = &transport;
    v->dma                = dev->platform->memory_space;
    place_of(dev)->virtio = v;
}

void virtio_mmio_detach(Device *dev)
{
    place_of(dev)->virtio = NULL;
    irq_lower(&place_of(dev)->irq);
}

void virtio_mmio_reset(Device *dev)
{
    VirtioMmio *mmio = place_of(dev);
    virtio_reset(mmio->virtio);
    mmio->page = 0;
    irq_lower(&mmio->irq);
}

bool virtio_mmio_post_load(Device *dev, Error *err)
{
    VirtioMmio *mmio = place_of(dev);
    if (!virtio_post_load(mmio->virtio, err)) {
        return false;
    }
    irq_set(&mmio->irq, mmio->virtio->isr != 0);
    return true;
}

/* ---- Life ---- */

static bool mmio_realize(Device *dev, Error *err)
{
    VirtioMmio      *mmio = (VirtioMmio *)dev;
    g_autofree char *name = g_strdup_printf("virtio-mmio-bus.%u", mmio->n);
    region_init_io(&mmio->region, dev->platform->memory, mmio_ops.name, VIRTIO_MMIO_SIZE, &mmio_ops, mmio);
    region_map(dev->platform->system_memory, mmio->base, &mmio->region, 0);
    device_add_outputs(dev, NULL, &mmio->irq, 1);
    bus_new(BUS_VIRTIO, name, dev, dev->platform)->room = 1;
    return true;
}

static void mmio_unrealize(Device *dev)
{
    VirtioMmio *mmio = (VirtioMmio *)dev;
    region_unmap(&mmio->region);
    region_destroy(&mmio->region);
}

static void mmio_reset(Device *dev, ResetKind kind)
{
    ((VirtioMmio *)dev)->page = 0;
}

static const Field mmio_properties[] = {
    FIELD(VirtioMmio, force_legacy, "force-legacy", .initial = true, .help = "show the transport of virtio 0.9"),
    {},
};

static bool page_fits(void *owner, Error *err)
{
    uint32_t page = ((const VirtioMmio *)owner)->page;
    return !page || (is_power_of_two(page) && page <= ALIGN_MAX) || error_set(err, "not the size of a page");
}

static const Field mmio_state[] = {
    FIELD(VirtioMmio, page, "guest-page-size", .validate = page_fits),
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
    .state      = mmio_state,
    .realize    = mmio_realize,
    .unrealize  = mmio_unrealize,
    .reset      = mmio_reset,
};

VirtioMmio *virtio_mmio_create(Platform *platform, unsigned n, uint64_t base, IrqPin *irq, Error *err)
{
    VirtioMmio *mmio = device_new(platform, "virtio-mmio");
    mmio->n          = n;
    mmio->base       = base;
    mmio->irq.to     = irq;
    return device_realize(&mmio->dev, NULL, err) ? mmio : NULL;
}
