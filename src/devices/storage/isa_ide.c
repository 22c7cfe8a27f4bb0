/* isa-ide: an IDE channel at the ports of old, without a bus master.
 * Specification: ATA/ATAPI-6 (T13/1410D revision 3b); IBM PC AT Technical Reference for the ports. Machine lock. */

#include "devices/storage/ide.h"

typedef struct IsaIde {
    Device     dev;
    uint32_t   iobase, iobase2, irq;
    IdeChannel channel;
} IsaIde;

static bool isa_ide_realize(Device *dev, Error *err)
{
    IsaIde *ide = (IsaIde *)dev;
    if (ide->irq >= G_N_ELEMENTS(dev->platform->isa_irq) || !dev->platform->isa_irq[ide->irq]) {
        return error_set(err, "irq=%u: there is no such interrupt", ide->irq);
    }
    ide_channel_init(&ide->channel, dev, NULL, &(IrqLine){ dev->platform->isa_irq[ide->irq] }, NULL);
    ide_channel_map(&ide->channel, (uint16_t)ide->iobase, (uint16_t)ide->iobase2);
    return true;
}

static void isa_ide_unrealize(Device *dev)
{
    ide_channel_destroy(&((IsaIde *)dev)->channel);
}

static void isa_ide_reset(Device *dev, ResetKind kind)
{
    ide_channel_reset(&((IsaIde *)dev)->channel);
}

static bool isa_ide_post_load(Device *dev, Error *err)
{
    return ide_channel_post_load(&((IsaIde *)dev)->channel, err);
}

static const Field isa_ide_properties[] = {
    FIELD(IsaIde, iobase, "iobase", .initial = 0x1f0, .min = 0, .max = 0xfff8, .help = "port of the command block"),
    FIELD(IsaIde, iobase2, "iobase2", .initial = 0x3f6, .min = 0, .max = 0xffff, .help = "port of the control block"),
    FIELD(IsaIde, irq, "irq", .initial = 14, .help = "interrupt"),
    {},
};

static const Field isa_ide_state[] = { FIELD(IsaIde, channel, "channel", .sub = ide_channel_state), {} };

DEVICE_TYPE(isa_ide) = {
    .name       = "isa-ide",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "IDE channel",
    .size       = sizeof(IsaIde),
    .bus        = BUS_ISA,
    .category   = DEVICE_STORAGE,
    .properties = isa_ide_properties,
    .state      = isa_ide_state,
    .realize    = isa_ide_realize,
    .unrealize  = isa_ide_unrealize,
    .reset      = isa_ide_reset,
    .post_load  = isa_ide_post_load,
};
