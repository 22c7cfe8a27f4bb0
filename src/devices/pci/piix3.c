/* 82371SB (PIIX3) PCI-to-ISA bridge: interrupt routing and the reset control register.
 * Specification: Intel 82371FB (PIIX) and 82371SB (PIIX3) data sheet, order 290550-002 (April 1997), sections 2.2
 * and 2.5. The 8259s, 8254, ELCR and APM ports of the real chip are devices of their own on "isa.0".
 * Under the machine lock. */

#include "devices/pci/piix3.h"

enum {
    PIRQRCA     = 0x60, /* PIRQRCA..PIRQRCD: PIRQx route control */
    PIRQRC_OFF  = 0x80, /* not routed */
    PIRQRC_MASK = 0x8f,
    N_PIRQS     = 4,
    N_ISA_IRQS  = 16,
    SCI_IRQ     = 9,
    /* IRQs 0, 1, 2, 8 and 13 are reserved: a PIRQ routed there goes nowhere. */
    ROUTABLE = 0xdef8,

    RC_SRST = 1 << 1, /* hard reset rather than soft */
    RC_RCPU = 1 << 2,
};

struct Piix3 {
    PciDevice pci;
    PciHost  *host;
    Bus      *isa;
    uint8_t   pirq_levels; /* bit n: PIRQ n is asserted */
    bool      sci_level;
    uint16_t  isa_levels; /* what the ISA interrupts that PIRQs may be routed to hear from here */
    uint8_t   rc;         /* CF9h */
};

static void update_isa(Piix3 *bridge)
{
    Platform *p      = bridge->pci.dev.platform;
    uint16_t  levels = bridge->sci_level ? 1 << SCI_IRQ : 0;
    for (unsigned n = 0; n < N_PIRQS; n++) {
        uint8_t route = bridge->pci.config[PIRQRCA + n];
        if (bridge->pirq_levels >> n & 1 && !(route & PIRQRC_OFF)) {
            levels |= (uint16_t)(1 << (route & 15) & ROUTABLE);
        }
    }
    uint16_t changed   = levels ^ bridge->isa_levels;
    bridge->isa_levels = levels;
    for (unsigned irq = 0; irq < N_ISA_IRQS; irq++) {
        if (changed >> irq & 1 && p->isa_irq[irq]) {
            irq_set(&(IrqLine){ p->isa_irq[irq] }, levels >> irq & 1);
        }
    }
}

static unsigned map_pin(const PciDevice *pci, unsigned pin)
{
    return (PCI_SLOT(pci->devfn) + pin + N_PIRQS - 1) % N_PIRQS;
}

static void set_pirq(void *opaque, unsigned line, bool level)
{
    Piix3 *bridge       = opaque;
    bridge->pirq_levels = (uint8_t)((bridge->pirq_levels & ~(1 << line)) | level << line);
    update_isa(bridge);
}

static void set_sci(void *opaque, int n, int level)
{
    Piix3 *bridge     = opaque;
    bridge->sci_level = level;
    update_isa(bridge);
}

static void config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    pci_config_store_default(pci, offset, value, size);
    update_isa((Piix3 *)pci);
}

static uint8_t reset_control_read(void *opaque)
{
    const Piix3 *bridge = opaque;
    return bridge->rc;
}

/* RCPU going from 0 to 1 resets, and is not kept: the reset clears it. A soft reset (INIT) is a whole one too. */
static void reset_control_write(void *opaque, uint8_t value)
{
    Piix3    *bridge = opaque;
    Platform *p      = bridge->pci.dev.platform;
    bridge->rc       = value & RC_SRST;
    if (value & RC_RCPU) {
        p->request_reset(p, RESET_GUEST);
    }
}

static const PciDeviceInfo piix3_info = {
    .vendor_id    = 0x8086,
    .device_id    = 0x7000,
    .class_code   = 0x060100,
    .no_hotplug   = true,
    .config_write = config_write,
};

static const Field piix3_properties[] = { PCI_PROPERTIES(Piix3, pci), {} };

static const Field piix3_state[] = {
    PCI_STATE(Piix3, pci),
    FIELD(Piix3, pirq_levels, "pirq-levels"),
    FIELD(Piix3, sci_level, "sci-level"),
    FIELD(Piix3, rc, "rc"),
    {},
};

static bool piix3_realize(Device *dev, Error *err)
{
    Piix3 *bridge = (Piix3 *)dev;
    /* Registers of functions that Quern has not got read as after reset. */
    static const struct {
        uint8_t offset, value;
    } defaults[] = {
        { 0x4c, 0x4d },                 /* IORT */
        { 0x4e, 0x03 },                 /* XBCS */
        { 0x69, 0x02 },                 /* TOM */
        { 0x70, 0x80 },                 /* MBIRQ0 */
        { 0x76, 0x0c }, { 0x77, 0x0c }, /* MBDMA */
        { 0x78, 0x02 },                 /* PCSC */
        { 0xa0, 0x08 },                 /* SMICNTL */
        { 0xa8, 0x0f },                 /* FTMR */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(defaults); i++) {
        bridge->pci.config[defaults[i].offset] = defaults[i].value;
    }
    pci_put16(&bridge->pci, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    memset(bridge->pci.wmask + PCI_COMMAND, 0, 2); /* always decodes, always may be master */
    bridge->pci.wmask[PCI_COMMAND + 1] = PCI_COMMAND_SERR >> 8;
    pci_put16(&bridge->pci, PCI_STATUS, 0x0200); /* medium DEVSEL timing */
    memset(bridge->pci.config + PIRQRCA, PIRQRC_OFF, N_PIRQS);
    memset(bridge->pci.wmask + PIRQRCA, PIRQRC_MASK, N_PIRQS);
    bridge->isa = bus_new(BUS_ISA, "isa.0", dev, dev->platform);
    pci_bus_set_router(bridge->pci.pci_bus, map_pin, set_pirq, bridge);
    device_add_inputs(dev, "sci", 1, set_sci);
    if (bridge->host) {
        bridge->host->ports.reset_control = (ResetControl){ reset_control_read, reset_control_write, bridge };
    }
    return true;
}

static void piix3_reset(Device *dev, ResetKind kind)
{
    Piix3 *bridge = (Piix3 *)dev;
    pci_device_reset(dev, kind);
    bridge->rc = 0;
    update_isa(bridge);
}

static bool piix3_post_load(Device *dev, Error *err)
{
    Piix3 *bridge = (Piix3 *)dev;
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    bridge->pirq_levels &= (1 << N_PIRQS) - 1;
    bridge->rc &= RC_SRST;
    update_isa(bridge);
    return true;
}

DEVICE_TYPE(piix3) = {
    .name       = "PIIX3",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "ISA bridge",
    .size       = sizeof(Piix3),
    .bus        = BUS_PCI,
    .bus_info   = &piix3_info,
    .category   = DEVICE_BRIDGE,
    .internal   = true,
    .properties = piix3_properties,
    .state      = piix3_state,
    .realize    = piix3_realize,
    .reset      = piix3_reset,
    .post_load  = piix3_post_load,
};

Piix3 *piix3_create(Platform *platform, PciHost *host, Error *err)
{
    Piix3 *bridge             = device_new(platform, "PIIX3");
    bridge->host              = host;
    bridge->pci.addr          = 1 + PCI_DEVFN(1, 0);
    bridge->pci.multifunction = true;
    return device_realize(&bridge->pci.dev, pci_bus_base(host->bus), err) ? bridge : NULL;
}

Bus *piix3_isa_bus(Piix3 *bridge)
{
    return bridge->isa;
}

IrqPin *piix3_sci_input(Piix3 *bridge)
{
    return device_input(&bridge->pci.dev, "sci", 0);
}
