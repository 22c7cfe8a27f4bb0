/* The coprocessor error register (port F0h) and what belongs to it: IRQ 13 from FERR#, and IGNNE#.
 *
 * FERR# latches IRQ 13. A write of anything to F0h takes the interrupt back, and asserts IGNNE# until FERR# goes away.
 * Chips that can turn this off (PIIX3: XBCS bit 5, ICH9: OIC bit 1) are as firmware for PCs leaves them: on.
 *
 * Specification: Intel I/O controller hub 9 data sheet, section 5.8.2 "mask by coprocessor error" and the register at
 * F0h; Intel SDM volume 1, appendix D. Machine lock. */

#include "devices/misc/coprocessor.h"

typedef struct Coprocessor {
    Device  dev;
    bool    ferr, ignored, pending; /* pending: IRQ 13 is asserted */
    IrqPin  pin;
    IrqLine irq, ignne;
    Region  port;
} Coprocessor;

static void update(Coprocessor *c)
{
    irq_set(&c->irq, c->pending);
    irq_set(&c->ignne, c->ignored);
}

static void set_ferr(void *opaque, int n, int level)
{
    Coprocessor *c = opaque;
    c->pending |= level && !c->ferr;
    c->ignored &= level != 0;
    c->ferr = level;
    update(c);
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0xff;
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Coprocessor *c = opaque;
    c->pending     = false;
    c->ignored     = c->ferr;
    update(c);
}

static const IoOps port_ops = { .name = "portF0", .access = IO_BYTE, .read = port_read, .write = port_write };

static bool coprocessor_realize(Device *dev, Error *err)
{
    Coprocessor *c = (Coprocessor *)dev;
    c->pin         = (IrqPin){ .set = set_ferr, .opaque = c };
    region_init_io(&c->port, dev->platform->memory, "portF0", 1, &port_ops, c);
    isa_map_ports(dev, &c->port, 0xf0);
    device_add_outputs(dev, "irq", &c->irq, 1);
    device_add_outputs(dev, "ignne", &c->ignne, 1);
    return true;
}

static void coprocessor_unrealize(Device *dev)
{
    Coprocessor *c = (Coprocessor *)dev;
    region_unmap(&c->port);
    region_destroy(&c->port);
}

static void coprocessor_reset(Device *dev, ResetKind kind)
{
    Coprocessor *c = (Coprocessor *)dev;
    c->ferr = c->ignored = c->pending = false;
    update(c);
}

static const Field coprocessor_state[] = {
    FIELD(Coprocessor, ferr, "ferr"),
    FIELD(Coprocessor, ignored, "ignored"),
    FIELD(Coprocessor, pending, "pending"),
    {},
};

DEVICE_TYPE(coprocessor) = {
    .name      = "coprocessor-error",
    .help      = "coprocessor error register: FERR#, IGNNE# and IRQ 13",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(Coprocessor),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = coprocessor_state,
    .realize   = coprocessor_realize,
    .unrealize = coprocessor_unrealize,
    .reset     = coprocessor_reset,
};

IrqPin *coprocessor_create(Platform *platform, IrqPin *ignne, Error *err)
{
    Coprocessor *c = device_new(platform, "coprocessor-error");
    c->irq.to      = platform->isa_irq[13];
    c->ignne.to    = ignne;
    return device_realize(&c->dev, NULL, err) ? &c->pin : NULL;
}
