/* edu: a PCI device for people who learn to write drivers: registers, interrupts, DMA.
 * Specification: QEMU's docs/specs/edu. Machine lock. */

#include "base/checked.h"
#include "devices/pci/pci.h"

#include <string.h>

enum {
    EDU_IDENT      = 0x00,
    EDU_LIVENESS   = 0x04,
    EDU_FACTORIAL  = 0x08,
    EDU_STATUS     = 0x20,
    EDU_IRQ_STATUS = 0x24,
    EDU_IRQ_RAISE  = 0x60,
    EDU_IRQ_ACK    = 0x64,
    EDU_DMA_SRC    = 0x80,
    EDU_DMA_DST    = 0x88,
    EDU_DMA_COUNT  = 0x90,
    EDU_DMA_CMD    = 0x98,
};

enum {
    EDU_ID               = 0x010000ed,
    EDU_STATUS_COMPUTING = 0x01,
    EDU_STATUS_INTERRUPT = 0x80,
    EDU_IRQ_FACTORIAL    = 0x001,
    EDU_IRQ_DMA          = 0x100,
    EDU_DMA_RUN          = 0x1,
    EDU_DMA_TO_RAM       = 0x2,
    EDU_DMA_INTERRUPT    = 0x4,
    EDU_BUFFER           = 0x40000, /* where the device's own memory is */
    EDU_BUFFER_SIZE      = 4096,
    EDU_LATENCY_NS       = 100000, /* work takes a while, so that drivers have something to wait for */
};

typedef struct Edu {
    PciDevice pci;
    Region    registers;
    Timer     factorial_timer, dma_timer;
    uint64_t  dma_mask;
    uint32_t  liveness, factorial, status, irq_status;
    uint64_t  dma_src, dma_dst, dma_count, dma_cmd;
    uint8_t   buffer[EDU_BUFFER_SIZE];
} Edu;

static void edu_update_irq(Edu *edu, bool raised)
{
    pci_set_irq(&edu->pci, edu->irq_status != 0); /* not heard while MSI is on */
    if (raised) {
        pci_msi_notify(&edu->pci, 0); /* heard only then */
    }
}

static void edu_raise(Edu *edu, uint32_t bits)
{
    edu->irq_status |= bits;
    edu_update_irq(edu, bits != 0);
}

static void edu_factorial_done(void *opaque)
{
    Edu     *edu   = opaque;
    uint32_t value = 1;
    /* From 34! on there are 32 factors of two: the product modulo 2^32 is 0. */
    for (uint32_t n = MIN(edu->factorial, 34); n > 1; n--) {
        value *= n;
    }
    edu->factorial = value;
    edu->status &= ~(uint32_t)EDU_STATUS_COMPUTING;
    if (edu->status & EDU_STATUS_INTERRUPT) {
        edu_raise(edu, EDU_IRQ_FACTORIAL);
    }
}

static void edu_dma_done(void *opaque)
{
    Edu     *edu    = opaque;
    bool     to_ram = edu->dma_cmd & EDU_DMA_TO_RAM;
    uint64_t inside = (to_ram ? edu->dma_src : edu->dma_dst) - EDU_BUFFER; /* wraps: then it does not fit */
    uint64_t bus    = (to_ram ? edu->dma_dst : edu->dma_src) & edu->dma_mask;
    if (!range_fits(inside, edu->dma_count, EDU_BUFFER_SIZE)) {
        log_print(edu->pci.dev.platform->log, LOG_GUEST_ERRORS, "edu: DMA outside of the device's buffer\n");
    } else if ((to_ram ? pci_dma_write(&edu->pci, bus, edu->buffer + inside, edu->dma_count)
                       : pci_dma_read(&edu->pci, bus, edu->buffer + inside, edu->dma_count)) != MEM_OK) {
        log_print(edu->pci.dev.platform->log, LOG_GUEST_ERRORS, "edu: DMA to what is no memory\n");
    }
    edu->dma_cmd &= ~(uint64_t)EDU_DMA_RUN;
    if (edu->dma_cmd & EDU_DMA_INTERRUPT) {
        edu_raise(edu, EDU_IRQ_DMA);
    }
}

static uint64_t edu_read(void *opaque, uint64_t offset, unsigned size)
{
    Edu *edu = opaque;
    if (offset < EDU_DMA_SRC && size != 4) {
        return UINT64_MAX;
    }
    switch (offset) {
    case EDU_IDENT: return EDU_ID;
    case EDU_LIVENESS: return edu->liveness;
    case EDU_FACTORIAL: return edu->factorial;
    case EDU_STATUS: return edu->status;
    case EDU_IRQ_STATUS: return edu->irq_status;
    case EDU_DMA_SRC: return edu->dma_src;
    case EDU_DMA_DST: return edu->dma_dst;
    case EDU_DMA_COUNT: return edu->dma_count;
    case EDU_DMA_CMD: return edu->dma_cmd;
    default: return UINT64_MAX;
    }
}

/* DMA registers stand still while a transfer runs. */
static void edu_write_dma(Edu *edu, uint64_t *reg, uint64_t value)
{
    if (!(edu->dma_cmd & EDU_DMA_RUN)) {
        *reg = value;
    }
}

static void edu_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Edu    *edu = opaque;
    int64_t now = clock_now(edu->pci.dev.platform->clocks, VIRTUAL_CLOCK);
    if (offset < EDU_DMA_SRC && size != 4) {
        return;
    }
    switch (offset) {
    case EDU_LIVENESS: edu->liveness = ~(uint32_t)value; break;
    case EDU_FACTORIAL:
        if (!(edu->status & EDU_STATUS_COMPUTING)) {
            edu->factorial = (uint32_t)value;
            edu->status |= EDU_STATUS_COMPUTING;
            timer_set(&edu->factorial_timer, now + EDU_LATENCY_NS);
        }
        break;
    case EDU_STATUS:
        edu->status = (edu->status & ~(uint32_t)EDU_STATUS_INTERRUPT) | (value & EDU_STATUS_INTERRUPT);
        break;
    case EDU_IRQ_RAISE: edu_raise(edu, (uint32_t)value); break;
    case EDU_IRQ_ACK:
        edu->irq_status &= ~(uint32_t)value;
        edu_update_irq(edu, false);
        break;
    case EDU_DMA_SRC: edu_write_dma(edu, &edu->dma_src, value); break;
    case EDU_DMA_DST: edu_write_dma(edu, &edu->dma_dst, value); break;
    case EDU_DMA_COUNT: edu_write_dma(edu, &edu->dma_count, value); break;
    case EDU_DMA_CMD:
        if ((value & EDU_DMA_RUN) && !(edu->dma_cmd & EDU_DMA_RUN)) {
            edu->dma_cmd = value & (EDU_DMA_RUN | EDU_DMA_TO_RAM | EDU_DMA_INTERRUPT);
            timer_set(&edu->dma_timer, now + EDU_LATENCY_NS);
        }
        break;
    default: break;
    }
}

static const IoOps edu_ops = {
    .name = "edu", .access = IO_LONG | IO_QUAD, .accept = IO_LONG | IO_QUAD, .read = edu_read, .write = edu_write
};

static bool edu_realize(Device *dev, Error *err)
{
    Edu *edu = (Edu *)dev;
    if (!pci_msi_init(&edu->pci, 0, 1, true, false, err)) {
        return false;
    }
    timer_init(&edu->factorial_timer, dev->platform->clocks, VIRTUAL_CLOCK, edu_factorial_done, edu);
    timer_init(&edu->dma_timer, dev->platform->clocks, VIRTUAL_CLOCK, edu_dma_done, edu);
    region_init_io(&edu->registers, dev->platform->memory, "edu-mmio", 1 << 20, &edu_ops, edu);
    pci_add_bar(&edu->pci, 0, PCI_BAR_MEM32, false, &edu->registers);
    return true;
}

static void edu_unrealize(Device *dev)
{
    Edu *edu = (Edu *)dev;
    timer_cancel(&edu->factorial_timer);
    timer_cancel(&edu->dma_timer);
    region_destroy(&edu->registers);
}

static void edu_reset(Device *dev, ResetKind kind)
{
    Edu *edu = (Edu *)dev;
    pci_device_reset(dev, kind);
    timer_cancel(&edu->factorial_timer);
    timer_cancel(&edu->dma_timer);
    edu->liveness = edu->factorial = edu->status = edu->irq_status = 0;
    edu->dma_src = edu->dma_dst = edu->dma_count = edu->dma_cmd = 0;
    memset(edu->buffer, 0, sizeof edu->buffer);
}

static bool edu_post_load(Device *dev, Error *err)
{
    Edu    *edu = (Edu *)dev;
    int64_t now = clock_now(dev->platform->clocks, VIRTUAL_CLOCK);
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    if (edu->status & EDU_STATUS_COMPUTING) {
        timer_set(&edu->factorial_timer, now + EDU_LATENCY_NS);
    }
    if (edu->dma_cmd & EDU_DMA_RUN) {
        timer_set(&edu->dma_timer, now + EDU_LATENCY_NS);
    }
    return true;
}

static const Field edu_properties[] = {
    PCI_PROPERTIES(Edu, pci),
    FIELD(Edu, dma_mask, "dma_mask", .initial = (1 << 28) - 1, .help = "address bits that DMA can reach"),
    {},
};

static const Field edu_state[] = {
    PCI_STATE(Edu, pci),
    FIELD(Edu, liveness, "liveness"),
    FIELD(Edu, factorial, "factorial"),
    FIELD(Edu, status, "status"),
    FIELD(Edu, irq_status, "irq-status"),
    FIELD(Edu, dma_src, "dma-src"),
    FIELD(Edu, dma_dst, "dma-dst"),
    FIELD(Edu, dma_count, "dma-count"),
    FIELD(Edu, dma_cmd, "dma-cmd"),
    FIELD_ARRAY(Edu, buffer, "buffer"),
    {},
};

static const PciDeviceInfo edu_info = {
    .vendor_id     = 0x1234,
    .device_id     = 0x11e8,
    .revision      = 0x10,
    .class_code    = 0x00ff00,
    .interrupt_pin = 1,
};

DEVICE_TYPE(edu) = {
    .name       = "edu",
    .help       = "PCI device to learn driver writing with",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Edu),
    .properties = edu_properties,
    .bus        = BUS_PCI,
    .category   = DEVICE_MISC,
    .bus_info   = &edu_info,
    .state      = edu_state,
    .realize    = edu_realize,
    .unrealize  = edu_unrealize,
    .reset      = edu_reset,
    .post_load  = edu_post_load,
};
