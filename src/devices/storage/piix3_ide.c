/* IDE function of the 82371SB (PIIX3): two channels at the ports of old, and a bus master each.
 * Specification: Intel 82371FB (PIIX) and 82371SB (PIIX3) data sheet, order 290550-002 (April 1997), sections 2.3 and
 * 2.6; PCI IDE Controller Specification revision 1.0.
 *
 * The channels' ports are decoded at all times: firmware (edk2) looks for drives before it sets bit 15 of IDETIM, which
 * says so. Linux looks at that bit. Timings are kept and mean nothing. Machine lock. */

#include "devices/storage/piix3_ide.h"

#include "devices/storage/bmdma.h"

#include <string.h>

enum { N_CHANNELS = 2, SIDETIM = 0x44, BMIBA = 4 /* BAR */, BMIBA_SIZE = 16, BMDMA_SIZE = 8 };

static const struct {
    const char *bus;
    uint16_t    command, control;
    uint8_t     irq;
} wiring[N_CHANNELS] = { { "ide.0", 0x1f0, 0x3f6, 14 }, { "ide.1", 0x170, 0x376, 15 } };

typedef struct Piix3Ide {
    PciDevice  pci;
    Region     bmdma;
    IdeChannel channels[N_CHANNELS];
    BmDma      masters[N_CHANNELS];
} Piix3Ide;

static const PciDeviceInfo piix3_ide_info = {
    .vendor_id  = 0x8086,
    .device_id  = 0x7010,
    .class_code = 0x010180,
    .no_hotplug = true,
};

static bool piix3_ide_realize(Device *dev, Error *err)
{
    Piix3Ide *ide = (Piix3Ide *)dev;
    Memory   *m   = dev->platform->memory;
    pci_put16(&ide->pci, PCI_STATUS, 0x0280); /* medium DEVSEL timing, back-to-back */
    memset(ide->pci.wmask + PIIX3_IDETIM, 0xff, 2 * N_CHANNELS);
    ide->pci.wmask[SIDETIM] = 0xff;
    region_init_container(&ide->bmdma, m, "piix3-bmdma", BMIBA_SIZE);
    for (unsigned n = 0; n < N_CHANNELS; n++) {
        ide_channel_init(&ide->channels[n], dev, wiring[n].bus, &(IrqLine){ dev->platform->isa_irq[wiring[n].irq] },
                         &ide->masters[n]);
        ide_channel_map(&ide->channels[n], wiring[n].command, wiring[n].control);
        bmdma_init(&ide->masters[n], &ide->pci, &ide->channels[n], &ide->bmdma, (uint64_t)BMDMA_SIZE * n);
    }
    pci_add_bar(&ide->pci, BMIBA, PCI_BAR_IO, false, &ide->bmdma);
    return true;
}

static void piix3_ide_unrealize(Device *dev)
{
    Piix3Ide *ide = (Piix3Ide *)dev;
    for (unsigned n = 0; n < N_CHANNELS; n++) {
        bmdma_destroy(&ide->masters[n]);
        ide_channel_destroy(&ide->channels[n]);
    }
    region_destroy(&ide->bmdma);
}

static void piix3_ide_reset(Device *dev, ResetKind kind)
{
    Piix3Ide *ide = (Piix3Ide *)dev;
    pci_device_reset(dev, kind);
    for (unsigned n = 0; n < N_CHANNELS; n++) {
        bmdma_reset(&ide->masters[n]);
        ide_channel_reset(&ide->channels[n]);
    }
}

static bool piix3_ide_post_load(Device *dev, Error *err)
{
    Piix3Ide *ide = (Piix3Ide *)dev;
    bool      ok  = pci_device_post_load(dev, err);
    for (unsigned n = 0; ok && n < N_CHANNELS; n++) {
        ok = bmdma_post_load(&ide->masters[n], err) && ide_channel_post_load(&ide->channels[n], err);
    }
    return ok;
}

static const Field piix3_ide_properties[] = { PCI_PROPERTIES(Piix3Ide, pci), {} };

static const Field piix3_ide_state[] = {
    PCI_STATE(Piix3Ide, pci),
    FIELD(Piix3Ide, channels[0], "primary", .sub = ide_channel_state),
    FIELD(Piix3Ide, channels[1], "secondary", .sub = ide_channel_state),
    FIELD(Piix3Ide, masters[0], "primary-master", .sub = bmdma_state),
    FIELD(Piix3Ide, masters[1], "secondary-master", .sub = bmdma_state),
    {},
};

DEVICE_TYPE(piix3_ide) = {
    .name       = "piix3-ide",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "IDE controller of the PIIX3",
    .size       = sizeof(Piix3Ide),
    .bus        = BUS_PCI,
    .bus_info   = &piix3_ide_info,
    .category   = DEVICE_STORAGE,
    .internal   = true,
    .properties = piix3_ide_properties,
    .state      = piix3_ide_state,
    .realize    = piix3_ide_realize,
    .unrealize  = piix3_ide_unrealize,
    .reset      = piix3_ide_reset,
    .post_load  = piix3_ide_post_load,
};

PciDevice *piix3_ide_create(Platform *platform, PciBus *bus, uint8_t devfn, Error *err)
{
    PciDevice *pci = device_new(platform, "piix3-ide");
    pci->addr      = 1u + devfn;
    return device_realize(&pci->dev, pci_bus_base(bus), err) ? pci : NULL;
}
