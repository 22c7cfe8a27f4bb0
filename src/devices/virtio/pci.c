/* Virtio over PCI: the modern interface in BAR 4, the legacy one in BAR 0, MSI-X in BAR 1.
 * Specification: VIRTIO 1.2, section 4.1; 4.1.4.10 for the legacy interface. Machine lock. */

#include "devices/virtio/pci.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "devices/pci/internal.h"

enum {
    /* Structures in BAR 4 */
    STRUCTURE_SIZE = 0x1000,
    COMMON_AT      = 0x0000,
    ISR_AT         = 0x1000,
    DEVICE_AT      = 0x2000,
    NOTIFY_AT      = 0x3000,
    BAR_MODERN     = 4,
    BAR_MSIX       = 1,
    BAR_LEGACY     = 0,
    MSIX_SIZE      = 0x1000,
    MSIX_PBA       = 0x800,
    VECTORS_MAX    = 127, /* that fit in front of the pending bits */

    /* Capabilities: VIRTIO_PCI_CAP_* */
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR    = 3,
    CAP_DEVICE = 4,
    CAP_PCI    = 5,
    CAP_LEN    = 2,
    CAP_TYPE   = 3,
    CAP_BAR    = 4,
    CAP_OFFSET = 8,
    CAP_LENGTH = 12,
    CAP_MORE   = 16, /* notify: multiplier; PCI: data */
    CAP_SIZE   = 16,

    NOTIFY_UNIT = 4,

    DEVICE_ID_MODERN = 0x1040, /* + virtio device id */
    REVISION_MODERN  = 1,
};

/* Common configuration structure */
enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE        = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE        = 0x0c,
    CONFIG_MSIX_VECTOR    = 0x10,
    NUM_QUEUES            = 0x12,
    DEVICE_STATUS         = 0x14,
    CONFIG_GENERATION     = 0x15,
    QUEUE_SELECT          = 0x16,
    QUEUE_SIZE            = 0x18,
    QUEUE_MSIX_VECTOR     = 0x1a,
    QUEUE_ENABLE          = 0x1c,
    QUEUE_NOTIFY_OFF      = 0x1e,
    QUEUE_DESC            = 0x20,
    QUEUE_DRIVER          = 0x28,
    QUEUE_DEVICE          = 0x30,
    QUEUE_NOTIFY_DATA     = 0x38,
    QUEUE_RESET           = 0x3a,
};

/* Legacy registers */
enum {
    LEGACY_HOST_FEATURES  = 0,
    LEGACY_GUEST_FEATURES = 4,
    LEGACY_QUEUE_PFN      = 8,
    LEGACY_QUEUE_SIZE     = 12,
    LEGACY_QUEUE_SELECT   = 14,
    LEGACY_QUEUE_NOTIFY   = 16,
    LEGACY_STATUS         = 18,
    LEGACY_ISR            = 19,
    LEGACY_CONFIG_VECTOR  = 20, /* only while MSI-X is enabled, then configuration space begins behind them */
    LEGACY_QUEUE_VECTOR   = 22,
    LEGACY_CONFIG         = 20,
    LEGACY_CONFIG_MSIX    = 24,
};

static VirtioPci *proxy_of(VirtioDevice *v)
{
    return (VirtioPci *)v->dev;
}

static void interrupt(VirtioDevice *v, uint8_t isr, uint16_t vector)
{
    VirtioPci *proxy = proxy_of(v);
    if (!pci_msix_enabled(&proxy->pci)) {
        pci_set_irq(&proxy->pci, v->isr != 0);
    } else if (vector != VIRTIO_NO_VECTOR) {
        pci_msix_notify(&proxy->pci, vector);
    }
}

static const VirtioTransport transport = { .interrupt = interrupt };

static uint8_t read_isr(VirtioPci *proxy)
{
    uint8_t isr        = proxy->virtio->isr;
    proxy->virtio->isr = 0;
    pci_set_irq(&proxy->pci, false);
    return isr;
}

static void write_status(VirtioPci *proxy, uint8_t status, bool legacy)
{
    virtio_write_status(proxy->virtio, status, legacy);
    if (!status) {
        pci_set_irq(&proxy->pci, false);
    }
}

/* A vector that does not exist reads back as none: that is how drivers learn. */
static uint16_t checked_vector(const VirtioPci *proxy, uint64_t vector)
{
    return vector < proxy->vectors ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

/* ---- Modern ---- */

static uint64_t read_queue(const VirtioPci *proxy, const VirtQueue *q, uint64_t offset)
{
    switch (offset) {
    case QUEUE_SIZE: return q->size;
    case QUEUE_MSIX_VECTOR: return q->vector;
    case QUEUE_ENABLE: return q->enabled;
    case QUEUE_NOTIFY_OFF: return q->index;
    case QUEUE_DESC: return (uint32_t)q->desc;
    case QUEUE_DESC + 4: return q->desc >> 32;
    case QUEUE_DRIVER: return (uint32_t)q->driver;
    case QUEUE_DRIVER + 4: return q->driver >> 32;
    case QUEUE_DEVICE: return (uint32_t)q->device_area;
    case QUEUE_DEVICE + 4: return q->device_area >> 32;
    case QUEUE_NOTIFY_DATA: return q->index;
    default: return 0; /* QUEUE_RESET: a reset is over at once */
    }
}

static uint64_t common_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioPci       *proxy = opaque;
    VirtioDevice    *v     = proxy->virtio;
    const VirtQueue *q     = virtio_selected(v);
    switch (offset) {
    case DEVICE_FEATURE_SELECT: return v->feature_select;
    case DEVICE_FEATURE: return virtio_read_features(v, false);
    case DRIVER_FEATURE_SELECT: return v->guest_feature_select;
    case DRIVER_FEATURE:
        return v->guest_feature_select > 1 ? 0 : (uint32_t)(v->guest_features >> (32 * v->guest_feature_select));
    case CONFIG_MSIX_VECTOR: return v->config_vector;
    case NUM_QUEUES: return v->n_queues;
    case DEVICE_STATUS: return v->status;
    case CONFIG_GENERATION: return v->generation & 0xff;
    case QUEUE_SELECT: return v->queue_select;
    default: return q ? read_queue(proxy, q, offset) : 0;
    }
}

static void write_queue(VirtioPci *proxy, VirtQueue *q, uint64_t offset, uint64_t value)
{
    bool may_reset = virtio_has(proxy->virtio, VIRTIO_F_RING_RESET);
    switch (offset) {
    case QUEUE_MSIX_VECTOR: q->vector = checked_vector(proxy, value); return;
    case QUEUE_RESET:
        if (value == 1 && may_reset && q->enabled) {
            virtqueue_reset(q);
        }
        return;
    default: break;
    }
    if (q->enabled) {
        return;
    }
    switch (offset) {
    case QUEUE_SIZE: virtqueue_set_size(q, (uint32_t)value); break;
    case QUEUE_ENABLE:
        if (value == 1) {
            virtqueue_enable(q);
        }
        break;
    case QUEUE_DESC:
    case QUEUE_DESC + 4: virtqueue_set_half(&q->desc, offset & 4, (uint32_t)value); break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4: virtqueue_set_half(&q->driver, offset & 4, (uint32_t)value); break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4: virtqueue_set_half(&q->device_area, offset & 4, (uint32_t)value); break;
    default: break;
    }
}

static void common_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioPci    *proxy = opaque;
    VirtioDevice *v     = proxy->virtio;
    VirtQueue    *q     = virtio_selected(v);
    switch (offset) {
    case DEVICE_FEATURE_SELECT: v->feature_select = (uint32_t)value; break;
    case DRIVER_FEATURE_SELECT: v->guest_feature_select = (uint32_t)value; break;
    case DRIVER_FEATURE: virtio_write_features(v, (uint32_t)value, false); break;
    case CONFIG_MSIX_VECTOR: v->config_vector = checked_vector(proxy, value); break;
    case DEVICE_STATUS: write_status(proxy, (uint8_t)value, false); break;
    case QUEUE_SELECT: v->queue_select = (uint16_t)value; break;
    default:
        if (q) {
            write_queue(proxy, q, offset, value);
        }
    }
}

static const IoOps common_ops = {
    .name = "virtio-pci-common", .access = IO_BYTE | IO_WORD | IO_LONG, .read = common_read, .write = common_write
};

static uint64_t isr_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset ? 0 : read_isr(opaque);
}

static void ignore_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps isr_ops = { .name = "virtio-pci-isr", .access = IO_BYTE, .read = isr_read, .write = ignore_write };

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    return virtio_read_config(((VirtioPci *)opaque)->virtio, offset, size);
}

static void device_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    virtio_write_config(((VirtioPci *)opaque)->virtio, offset, (uint32_t)value, size);
}

static const IoOps device_ops = {
    .name = "virtio-pci-device", .access = IO_BYTE | IO_WORD | IO_LONG, .read = device_read, .write = device_write
};

static unsigned notify_unit(const VirtioPci *proxy)
{
    return proxy->page_per_vq ? STRUCTURE_SIZE : NOTIFY_UNIT;
}

static uint64_t notify_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void notify_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioPci *proxy = opaque;
    virtio_notify(proxy->virtio, (unsigned)(offset / notify_unit(proxy)));
}

static const IoOps notify_ops = {
    .name = "virtio-pci-notify", .access = IO_WORD | IO_LONG, .read = notify_read, .write = notify_write
};

static bool add_structure(VirtioPci *proxy, uint8_t type, Region *r, uint64_t at, uint64_t size, const IoOps *ops,
                          uint32_t more, Error *err)
{
    PciDevice *pci  = &proxy->pci;
    bool       wide = type == CAP_NOTIFY;
    uint8_t    cap  = pci_add_capability(pci, PCI_CAP_VENDOR, 0, CAP_SIZE + (wide ? 4 : 0), err);
    region_init_io(r, pci->dev.platform->memory, ops->name, size, ops, proxy);
    region_map(&proxy->bar, at, r, 0);
    if (!cap) {
        return false;
    }
    pci_put8(pci, cap + CAP_LEN, CAP_SIZE + (wide ? 4 : 0));
    pci_put8(pci, cap + CAP_TYPE, type);
    pci_put8(pci, cap + CAP_BAR, BAR_MODERN);
    pci_put32(pci, cap + CAP_OFFSET, (uint32_t)at);
    pci_put32(pci, cap + CAP_LENGTH, (uint32_t)size);
    if (wide) {
        pci_put32(pci, cap + CAP_MORE, more);
    }
    return true;
}

static bool add_window(VirtioPci *proxy, Error *err)
{
    PciDevice *pci = &proxy->pci;
    uint8_t    cap = pci_add_capability(pci, PCI_CAP_VENDOR, 0, CAP_SIZE + 4, err);
    if (!cap) {
        return false;
    }
    pci_put8(pci, cap + CAP_LEN, CAP_SIZE + 4);
    pci_put8(pci, cap + CAP_TYPE, CAP_PCI);
    pci->wmask[cap + CAP_BAR] = 0xff;
    memset(pci->wmask + cap + CAP_OFFSET, 0xff, 12);
    proxy->window = cap;
    return true;
}

static bool add_modern(VirtioPci *proxy, Error *err)
{
    uint64_t notify = proxy->page_per_vq ? (uint64_t)STRUCTURE_SIZE * proxy->virtio->n_queues : STRUCTURE_SIZE;
    uint64_t size   = 4 * STRUCTURE_SIZE;
    while (size < NOTIFY_AT + notify) {
        size *= 2;
    }
    region_init_container(&proxy->bar, proxy->pci.dev.platform->memory, "virtio-pci", size);
    bool ok =
        add_structure(proxy, CAP_COMMON, &proxy->common, COMMON_AT, STRUCTURE_SIZE, &common_ops, 0, err) &&
        add_structure(proxy, CAP_ISR, &proxy->isr, ISR_AT, STRUCTURE_SIZE, &isr_ops, 0, err) &&
        add_structure(proxy, CAP_DEVICE, &proxy->device, DEVICE_AT, STRUCTURE_SIZE, &device_ops, 0, err) &&
        add_structure(proxy, CAP_NOTIFY, &proxy->notify, NOTIFY_AT, notify, &notify_ops, notify_unit(proxy), err) &&
        add_window(proxy, err);
    if (ok) {
        pci_add_bar(&proxy->pci, BAR_MODERN, PCI_BAR_MEM64, true, &proxy->bar);
    }
    return ok;
}

/* ---- The window in configuration space ---- */

/* Reads or writes what the capability points at, with an access of the size that it says. */
static void use_window(VirtioPci *proxy, bool write)
{
    static const struct {
        uint32_t     at;
        const IoOps *ops;
    } structures[]    = { { COMMON_AT, &common_ops }, { ISR_AT, &isr_ops }, { DEVICE_AT, &device_ops } };
    PciDevice *pci    = &proxy->pci;
    uint8_t   *data   = pci->config + proxy->window + CAP_MORE;
    uint32_t   offset = pci_get32(pci, proxy->window + CAP_OFFSET), length = pci_get32(pci, proxy->window + CAP_LENGTH);
    if (pci_get8(pci, proxy->window + CAP_BAR) != BAR_MODERN || (length != 1 && length != 2 && length != 4) ||
        offset % length || !range_fits(offset, length, proxy->bar.size)) {
        return;
    }
    uint32_t     at  = offset >= NOTIFY_AT ? NOTIFY_AT : offset / STRUCTURE_SIZE * STRUCTURE_SIZE;
    const IoOps *ops = at == NOTIFY_AT ? &notify_ops : structures[at / STRUCTURE_SIZE].ops;
    if (!(ops->access & length)) {
        return;
    }
    if (write) {
        ops->write(proxy, offset - at, load_le(data, length), length);
    } else {
        store_le(data, ops->read(proxy, offset - at, length), length);
    }
}

static bool is_window(const VirtioPci *proxy, unsigned offset, unsigned size)
{
    return proxy->window && ranges_overlap(offset, size, proxy->window + CAP_MORE, 4);
}

uint32_t virtio_pci_config_read(PciDevice *pci, unsigned offset, unsigned size)
{
    VirtioPci *proxy = (VirtioPci *)pci;
    if (is_window(proxy, offset, size)) {
        use_window(proxy, false);
    }
    return pci_config_load_default(pci, offset, size);
}

void virtio_pci_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    VirtioPci *proxy = (VirtioPci *)pci;
    pci_config_store_default(pci, offset, value, size);
    if (is_window(proxy, offset, size)) {
        use_window(proxy, true);
    }
}

/* ---- Legacy ---- */

static unsigned legacy_config_at(const VirtioPci *proxy)
{
    return pci_msix_enabled(&proxy->pci) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioPci       *proxy = opaque;
    VirtioDevice    *v     = proxy->virtio;
    const VirtQueue *q     = virtio_selected(v);
    unsigned         at    = legacy_config_at(proxy);
    if (offset >= at) {
        return virtio_read_config(v, offset - at, size);
    }
    switch (offset) {
    case LEGACY_HOST_FEATURES: return (uint32_t)virtio_features(v, true);
    case LEGACY_GUEST_FEATURES: return (uint32_t)v->guest_features;
    case LEGACY_QUEUE_PFN: return q ? q->pfn : 0;
    case LEGACY_QUEUE_SIZE: return q ? q->max_size : 0;
    case LEGACY_QUEUE_SELECT: return v->queue_select;
    case LEGACY_STATUS: return v->status;
    case LEGACY_ISR: return read_isr(proxy);
    case LEGACY_CONFIG_VECTOR: return v->config_vector;
    case LEGACY_QUEUE_VECTOR: return q ? q->vector : VIRTIO_NO_VECTOR;
    default: return 0;
    }
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioPci    *proxy = opaque;
    VirtioDevice *v     = proxy->virtio;
    VirtQueue    *q     = virtio_selected(v);
    unsigned      at    = legacy_config_at(proxy);
    if (offset >= at) {
        virtio_write_config(v, offset - at, (uint32_t)value, size);
        return;
    }
    switch (offset) {
    case LEGACY_GUEST_FEATURES:
        v->guest_feature_select = 0;
        virtio_write_features(v, (uint32_t)value, true);
        break;
    case LEGACY_QUEUE_PFN:
        if (!value) {
            write_status(proxy, 0, true); /* as drivers of old reset a device */
        } else if (q) {
            virtqueue_set_pfn(q, (uint32_t)value, VIRTIO_LEGACY_ALIGN);
        }
        break;
    case LEGACY_QUEUE_SELECT: v->queue_select = (uint16_t)value; break;
    case LEGACY_QUEUE_NOTIFY: virtio_notify(v, (uint16_t)value); break;
    case LEGACY_STATUS: write_status(proxy, (uint8_t)value, true); break;
    case LEGACY_CONFIG_VECTOR: v->config_vector = checked_vector(proxy, value); break;
    case LEGACY_QUEUE_VECTOR:
        if (q) {
            q->vector = checked_vector(proxy, value);
        }
        break;
    default: break;
    }
}

static const IoOps ports_ops = { .name      = "virtio-pci-legacy",
                                 .access    = IO_BYTE | IO_WORD | IO_LONG,
                                 .unaligned = true,
                                 .read      = ports_read,
                                 .write     = ports_write };

static void add_legacy(VirtioPci *proxy)
{
    uint64_t size = 32;
    while (size < LEGACY_CONFIG_MSIX + proxy->virtio->config_size) {
        size *= 2;
    }
    region_init_io(&proxy->ports, proxy->pci.dev.platform->memory, ports_ops.name, size, &ports_ops, proxy);
    pci_add_bar(&proxy->pci, BAR_LEGACY, PCI_BAR_IO, false, &proxy->ports);
}

/* ---- Life ---- */

/* Which interfaces it has: those that its name promises; for plain names the properties, and on PCI Express links only
 * the modern one unless asked. */
static bool choose_interfaces(VirtioPci *proxy, Error *err)
{
    const VirtioPciInfo *info = device_type(&proxy->pci.dev)->bus_info;
    const PciBus        *bus  = proxy->pci.pci_bus;
    bool                 link = bus->bridge && pci_find_capability(bus->bridge, PCI_CAP_EXPRESS);
    proxy->modern             = !proxy->disable_modern;
    proxy->legacy             = info->flavour == VIRTIO_PCI_TRANSITIONAL ||
                    (info->flavour == VIRTIO_PCI_GENERIC && !proxy->virtio->kind->modern_only &&
                     (proxy->disable_legacy == ON_OFF_AUTO_AUTO ? !link : proxy->disable_legacy == ON_OFF_AUTO_OFF));
    if (proxy->virtio->kind->modern_only && (proxy->disable_modern || proxy->disable_legacy == ON_OFF_AUTO_OFF)) {
        return error_set(err, "%s has no legacy interface: disable-modern=on and disable-legacy=off are not possible",
                         proxy->virtio->kind->name);
    }
    return proxy->modern || proxy->legacy ||
           error_set(err, "disable-modern=on: with disable-legacy=on, too, no interface is left");
}

static void set_identity(VirtioPci *proxy)
{
    const VirtioKind *kind = proxy->virtio->kind;
    PciDevice        *pci  = &proxy->pci;
    pci_put16(pci, PCI_DEVICE_ID, proxy->legacy ? kind->transitional_id : DEVICE_ID_MODERN + kind->id);
    if (proxy->legacy) {
        pci_put16(pci, PCI_SUBSYSTEM_ID, kind->id);
    } else {
        pci_put8(pci, PCI_REVISION_ID, REVISION_MODERN);
    }
    for (unsigned i = 0; i < 3; i++) {
        pci_put8(pci, PCI_CLASS_CODE + i, (uint8_t)(kind->class_code >> (8 * i)));
    }
}

static void destroy(Region *r)
{
    if (r->memory) {
        if (r->mapped) {
            region_unmap(r);
        }
        region_destroy(r);
        *r = (Region){ 0 };
    }
}

void virtio_pci_unrealize(VirtioPci *proxy)
{
    Region *const all[] = { &proxy->common, &proxy->isr, &proxy->device, &proxy->notify, &proxy->bar, &proxy->ports };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        destroy(all[i]);
    }
    pci_msix_exit(&proxy->pci); /* its registers lie in a region of ours */
    destroy(&proxy->msix);
}

bool virtio_pci_realize(VirtioPci *proxy, VirtioDevice *v, Error *err)
{
    PciDevice *pci = &proxy->pci;
    proxy->virtio  = v;
    v->transport   = &transport;
    v->dma         = pci->dma;
    if (proxy->vectors == UINT32_MAX) {
        proxy->vectors = v->n_queues + 1;
    }
    if (proxy->vectors > VECTORS_MAX) {
        return error_set(err, "vectors=%u: at most %u", proxy->vectors, VECTORS_MAX);
    }
    if (!choose_interfaces(proxy, err)) {
        return false;
    }
    set_identity(proxy);
    if (proxy->legacy) {
        add_legacy(proxy);
    }
    if (proxy->modern && !add_modern(proxy, err)) {
        return false;
    }
    if (proxy->vectors) {
        region_init_container(&proxy->msix, pci->dev.platform->memory, "virtio-pci-msix", MSIX_SIZE);
        if (!pci_msix_init(pci, 0, proxy->vectors, BAR_MSIX, &proxy->msix, 0, MSIX_PBA, err)) {
            return false;
        }
        pci_add_bar(pci, BAR_MSIX, PCI_BAR_MEM32, false, &proxy->msix);
    }
    return true;
}

void virtio_pci_reset(Device *dev, ResetKind kind)
{
    VirtioPci *proxy = (VirtioPci *)dev;
    pci_device_reset(dev, kind);
    virtio_reset(proxy->virtio);
}

static bool vector_fits(const VirtioPci *proxy, uint16_t vector)
{
    return vector == VIRTIO_NO_VECTOR || vector < proxy->vectors;
}

bool virtio_pci_post_load(Device *dev, Error *err)
{
    VirtioPci    *proxy = (VirtioPci *)dev;
    VirtioDevice *v     = proxy->virtio;
    bool          fits  = vector_fits(proxy, v->config_vector);
    for (unsigned i = 0; i < v->n_queues; i++) {
        fits &= vector_fits(proxy, v->queues[i].vector);
    }
    if (!fits) {
        return error_set(err, "interrupt vectors that the device does not have");
    }
    return pci_device_post_load(dev, err) && virtio_post_load(v, err);
}

const Field virtio_pci_properties[] = {
    PCI_PROPERTIES(VirtioPci, pci),
    FIELD(VirtioPci, vectors, "vectors", .initial = UINT32_MAX, .min = 0, .max = UINT32_MAX,
          .help = "MSI-X vectors; 4294967295: one a queue and one more"),
    FIELD(VirtioPci, page_per_vq, "page-per-vq", .help = "a page for each queue's notifications"),
    FIELD(VirtioPci, absent_flag, "ats", .unsupported = true, .help = "address translation services"),
    FIELD(VirtioPci, absent_flag, "iommu_platform", .unsupported = true, .help = "addresses go through an IOMMU"),
    FIELD(VirtioPci, absent_flag, "modern-pio-notify", .unsupported = true, .help = "notifications by an I/O port"),
    FIELD(VirtioPci, absent_flag, "aer", .unsupported = true, .help = "advanced error reporting"),
    FIELD(VirtioPci, absent_text, "iothread", .unsupported = true, .help = "thread that serves the queues"),
    FIELD(VirtioPci, absent_text, "failover_pair_id", .unsupported = true, .help = "primary device of a pair"),
    {},
};

const Field virtio_pci_generic_properties[] = {
    FIELD(VirtioPci, disable_legacy, "disable-legacy", .names = on_off_auto_names,
          .help = "no interface of virtio 0.9; auto: on PCI Express links"),
    FIELD(VirtioPci, disable_modern, "disable-modern", .help = "no interface of virtio 1.0"),
    {},
};

const Field virtio_pci_state[] = { PCI_STATE(VirtioPci, pci), {} };
