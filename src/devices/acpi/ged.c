/* Generic Event Device: a register that says what has happened, and an interrupt that says that something has.
 * Specification: ACPI 6.4, section 5.6.9 for the device, 4.8.3.7 for sleep control and status, 4.8.3.6 for the reset
 * register; the selector's bits and the places of the registers as QEMU's microvm has them. Machine lock. */

#include "devices/acpi/ged.h"

enum {
    SELECTOR_SIZE = 4,
    REGS_SIZE     = 3,

    SLP_EN        = 1 << 5,
    SLP_TYP_SHIFT = 2,
    SLP_TYP       = 7,
    WAK_STS       = 1 << 7,
};

struct Ged {
    Device   dev;
    uint64_t base;
    IrqLine  irq;
    Region   selector, regs;
    uint32_t events;
    uint8_t  sleep_ctl, sleep_sts;
};

static uint64_t selector_read(void *opaque, uint64_t offset, unsigned size)
{
    Ged     *ged    = opaque;
    uint32_t events = ged->events;
    ged->events     = 0;
    return events;
}

static void selector_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned size)
{
    const Ged *ged = opaque;
    switch (offset + GED_REGS_OFFSET) {
    case GED_SLEEP_CTL: return ged->sleep_ctl;
    case GED_SLEEP_STS: return ged->sleep_sts;
    default: return 0;
    }
}

static void write_sleep(Ged *ged, uint8_t value)
{
    Platform *p    = ged->dev.platform;
    unsigned  type = value >> SLP_TYP_SHIFT & SLP_TYP;
    ged->sleep_ctl = value & (SLP_TYP << SLP_TYP_SHIFT); /* SLP_EN is write-only */
    if (!(value & SLP_EN)) {
        return;
    }
    if (type == GED_S5_TYPE) {
        p->request_shutdown(p, SHUTDOWN_GUEST, 0);
    } else {
        log_print(p->log, LOG_GUEST_ERRORS, "acpi-ged: sleep type %u is not offered\n", type);
    }
}

static void regs_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ged *ged = opaque;
    switch (offset + GED_REGS_OFFSET) {
    case GED_SLEEP_CTL: write_sleep(ged, (uint8_t)value); break;
    case GED_SLEEP_STS: ged->sleep_sts &= (uint8_t) ~(value & WAK_STS); break;
    default:
        if (value == GED_RESET_VALUE) {
            ged->dev.platform->request_reset(ged->dev.platform, RESET_GUEST);
        }
    }
}

static const IoOps selector_ops = {
    .name = "acpi-ged", .access = IO_LONG, .read = selector_read, .write = selector_write
};
static const IoOps regs_ops = { .name = "acpi-ged-regs", .access = IO_BYTE, .read = regs_read, .write = regs_write };

static void press_power_button(void *ged)
{
    ged_power_button(ged);
}

static bool ged_realize(Device *dev, Error *err)
{
    Ged    *ged = (Ged *)dev;
    Memory *m   = dev->platform->memory;
    region_init_io(&ged->selector, m, selector_ops.name, SELECTOR_SIZE, &selector_ops, ged);
    region_init_io(&ged->regs, m, regs_ops.name, REGS_SIZE, &regs_ops, ged);
    region_map(dev->platform->system_memory, ged->base, &ged->selector, 0);
    region_map(dev->platform->system_memory, ged->base + GED_REGS_OFFSET, &ged->regs, 0);
    device_add_outputs(dev, NULL, &ged->irq, 1);
    dev->platform->press_power_button = press_power_button;
    dev->platform->power_button       = ged;
    return true;
}

static void ged_unrealize(Device *dev)
{
    Ged *ged                          = (Ged *)dev;
    dev->platform->press_power_button = NULL;
    region_unmap(&ged->selector);
    region_unmap(&ged->regs);
    region_destroy(&ged->selector);
    region_destroy(&ged->regs);
}

static void ged_reset(Device *dev, ResetKind kind)
{
    Ged *ged       = (Ged *)dev;
    ged->events    = 0;
    ged->sleep_ctl = ged->sleep_sts = 0;
}

static const Field ged_state[] = {
    FIELD(Ged, events, "events"),
    FIELD(Ged, sleep_ctl, "sleep-ctl"),
    FIELD(Ged, sleep_sts, "sleep-sts"),
    {},
};

DEVICE_TYPE(ged) = {
    .name      = "acpi-ged",
    .parent    = "sys-bus-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "ACPI generic event device",
    .size      = sizeof(Ged),
    .bus       = BUS_SYSTEM,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = ged_state,
    .realize   = ged_realize,
    .unrealize = ged_unrealize,
    .reset     = ged_reset,
};

Ged *ged_create(Platform *platform, uint64_t base, IrqPin *irq, Error *err)
{
    Ged *ged    = device_new(platform, "acpi-ged");
    ged->base   = base;
    ged->irq.to = irq;
    return device_realize(&ged->dev, NULL, err) ? ged : NULL;
}

void ged_power_button(Ged *ged)
{
    ged->events |= GED_POWER_DOWN;
    irq_pulse(&ged->irq);
}
