/* LPC interface bridge of the 82801IB (ICH9): D31:F0.
 * Specification: Intel I/O Controller Hub 9 Family data sheet, order 316972-004 (August 2008), chapter 13 for the
 * bridge, chapter 10 for the chipset configuration registers at RCBA. The 8259s, 8254, RTC and HPET of the real chip
 * are devices of their own. Under the machine lock.
 *
 * Pins of slots 0 to 24, which are not the chip's own, go to PIRQE to PIRQH in turn; those of slots 25 to 31 where the
 * DxxIR registers at RCBA say, slot 30's to PIRQE to PIRQH. A PIRQ raises its own input of the I/O APIC and, where its
 * routing register says so, an ISA interrupt. */

#include "devices/pci/ich9_lpc.h"

#include "base/bytes.h"

enum {
    GEN_PMCON1 = 0xa0, /* 16 bits */
    GEN_PMCON3 = 0xa4,

    PMCON1_SMI_LOCK = 1 << 4,
    ACPI_CNTL_SCI   = 7, /* SCI_IRQ_SEL */
    PIRQ_OFF        = 0x80,
    PIRQ_MASK       = 0x8f,
    /* IRQs 0, 1, 2, 8 and 13 are reserved: a PIRQ routed there goes nowhere. */
    ROUTABLE    = 0xdef8,
    RCBA_ENABLE = 1,

    RC_SYS  = 1 << 1, /* hard reset rather than soft */
    RC_CPU  = 1 << 2,
    RC_FULL = 1 << 3,

    FIRST_OWN_SLOT = 25,
    PCI_SLOT_30    = 30,
    N_GSI          = 24,
};

/* Chipset configuration registers. */
enum {
    RCBA_D31IP   = 0x3100,
    RCBA_D31IR   = 0x3140,
    RCBA_D29IR   = 0x3144,
    RCBA_D28IR   = 0x3146,
    RCBA_D27IR   = 0x3148,
    RCBA_D26IR   = 0x314c,
    RCBA_D25IR   = 0x3150,
    RCBA_OIC     = 0x31fe,
    RCBA_HPTC    = 0x3404,
    RCBA_GCS     = 0x3410,
    GCS_NOREBOOT = 1 << 5,
    IR_DEFAULT   = 0x3210, /* pin A to PIRQA ... */
    RCBA_FIRST   = 0x3100, /* what has state: */
    RCBA_BYTES   = 0x400,
};

/* Registers with something in them: offset, bytes, value after reset, bits that can be written. */
static const struct {
    uint16_t offset;
    uint8_t  size;
    uint32_t value, mask;
} rcba_registers[] = {
    { RCBA_D31IP, 4, 0x03243200, 0xffffffff }, /* D31IP .. D25IP: which pin a function uses */
    { 0x3108, 4, 0x10004321, 0xffffffff },
    { 0x310c, 4, 0x00214321, 0xffffffff },
    { 0x3110, 4, 0x00000001, 0xffffffff },
    { 0x3114, 4, 0x30000321, 0xffffffff },
    { 0x3118, 4, 0x00000001, 0xffffffff },
    { RCBA_D31IR, 2, IR_DEFAULT, 0x7777 },
    { RCBA_D29IR, 2, IR_DEFAULT, 0x7777 },
    { RCBA_D28IR, 2, IR_DEFAULT, 0x7777 },
    { RCBA_D27IR, 2, IR_DEFAULT, 0x7777 },
    { RCBA_D26IR, 2, IR_DEFAULT, 0x7777 },
    { RCBA_D25IR, 2, IR_DEFAULT, 0x7777 },
    { RCBA_OIC, 2, 0, 0x03ff },
    { RCBA_HPTC, 4, 0, 0x83 },
    { RCBA_GCS, 4, 0, 0x0c64 },
};

struct Ich9Lpc {
    PciDevice       pci;
    PciHost        *host;
    Bus            *isa;
    Ich9Pm          pm;
    Ich9SmiFeatures smi;
    bool            noreboot; /* property: strap that keeps the watchdog from resetting */
    uint32_t        lines;    /* of the bus: 0..3 of slots 0 to 24 and 30, then four for each of slots 25 to 31 */
    bool            sci_level;
    uint32_t        gsi_levels; /* bit n: what interrupt n hears from here: 0 to 15 ISA, 16 to 23 I/O APIC alone */
    uint8_t         rc;         /* CF9h */
    uint8_t         rcba[RCBA_BYTES], rcba_mask[RCBA_BYTES];
    Region          rcba_region;
};

/* ---- Interrupts ---- */

/* Line 0..3: PIRQE to PIRQH without a register; above: the pins of slots 25 to 31. */
static unsigned line_of(unsigned slot, unsigned pin)
{
    if (slot < FIRST_OWN_SLOT) {
        return (slot + pin) & 3;
    }
    return slot == PCI_SLOT_30 ? pin : PCI_N_PINS * (slot - FIRST_OWN_SLOT + 1) + pin;
}

static unsigned map_pin(const PciDevice *pci, unsigned pin)
{
    return line_of(PCI_SLOT(pci->devfn), pin);
}

unsigned ich9_pirq(unsigned slot, unsigned pin)
{
    unsigned line = line_of(slot, pin);
    return line < PCI_N_PINS ? PCI_N_PINS + line : line % PCI_N_PINS;
}

static unsigned pirq_of_line(const Ich9Lpc *lpc, unsigned line)
{
    static const uint16_t registers[] = { RCBA_D25IR, RCBA_D26IR, RCBA_D27IR, RCBA_D28IR, RCBA_D29IR, 0, RCBA_D31IR };
    unsigned              slot        = line / PCI_N_PINS;
    if (slot == 0) {
        return PCI_N_PINS + line;
    }
    uint16_t routes = load_le16(lpc->rcba + (registers[slot - 1] - RCBA_FIRST));
    return routes >> (4 * (line % PCI_N_PINS)) & 7;
}

/* 9, 10, 11, 20, 21, 22, 23; the choice that is reserved goes nowhere. */
static unsigned sci_interrupt(const Ich9Lpc *lpc)
{
    static const uint8_t choices[] = { 9, 10, 11, 0, 20, 21, 22, 23 };
    return choices[lpc->pci.config[ICH9_ACPI_CNTL] & ACPI_CNTL_SCI];
}

static uint8_t route_of(const Ich9Lpc *lpc, unsigned pirq)
{
    return lpc->pci.config[pirq < 4 ? ICH9_PIRQA + pirq : ICH9_PIRQE + pirq - 4];
}

static uint32_t wanted_levels(const Ich9Lpc *lpc)
{
    uint32_t levels = 0;
    for (unsigned line = 0; line < PCI_N_LINES; line++) {
        if (!(lpc->lines >> line & 1)) {
            continue;
        }
        unsigned pirq  = pirq_of_line(lpc, line);
        uint8_t  route = route_of(lpc, pirq);
        levels |= 1u << (ICH9_FIRST_GSI + pirq);
        if (!(route & PIRQ_OFF)) {
            levels |= 1u << (route & 15) & ROUTABLE;
        }
    }
    unsigned sci = sci_interrupt(lpc);
    return levels | (lpc->sci_level && sci ? 1u << sci : 0);
}

static void update_interrupts(Ich9Lpc *lpc)
{
    Platform *p       = lpc->pci.dev.platform;
    uint32_t  levels  = wanted_levels(lpc);
    uint32_t  changed = levels ^ lpc->gsi_levels;
    lpc->gsi_levels   = levels;
    for (unsigned n = 0; changed && n < N_GSI; n++) {
        IrqPin *pin = n < ICH9_FIRST_GSI ? p->isa_irq[n] : p->gsi[n];
        if (changed >> n & 1 && pin) {
            irq_set(&(IrqLine){ pin }, levels >> n & 1);
        }
    }
}

static void set_line(void *opaque, unsigned line, bool level)
{
    Ich9Lpc *lpc = opaque;
    lpc->lines   = (lpc->lines & ~(1u << line)) | (uint32_t)level << line;
    update_interrupts(lpc);
}

static void set_sci(void *opaque, bool level)
{
    Ich9Lpc *lpc   = opaque;
    lpc->sci_level = level;
    update_interrupts(lpc);
}

/* ---- Chipset configuration registers ---- */

static uint64_t rcba_read(void *opaque, uint64_t offset, unsigned size)
{
    const Ich9Lpc *lpc = opaque;
    return offset >= RCBA_FIRST && offset < RCBA_FIRST + RCBA_BYTES ? load_le(lpc->rcba + (offset - RCBA_FIRST), size)
                                                                    : 0;
}

static void rcba_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ich9Lpc *lpc = opaque;
    if (offset < RCBA_FIRST || offset >= RCBA_FIRST + RCBA_BYTES) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint64_t at   = offset + i - RCBA_FIRST;
        uint8_t  mask = lpc->rcba_mask[at];
        lpc->rcba[at] = (uint8_t)((lpc->rcba[at] & ~mask) | (value >> (8 * i) & mask));
    }
    update_interrupts(lpc);
}

static const IoOps rcba_ops = {
    .name = "ich9-rcba", .access = IO_BYTE | IO_WORD | IO_LONG, .read = rcba_read, .write = rcba_write
};

static void reset_rcba(Ich9Lpc *lpc)
{
    memset(lpc->rcba, 0, sizeof lpc->rcba);
    for (unsigned i = 0; i < G_N_ELEMENTS(rcba_registers); i++) {
        uint16_t at    = rcba_registers[i].offset - RCBA_FIRST;
        uint32_t value = rcba_registers[i].value;
        if (rcba_registers[i].offset == RCBA_GCS && lpc->noreboot) {
            value |= GCS_NOREBOOT;
        }
        store_le(lpc->rcba + at, value, rcba_registers[i].size);
        store_le(lpc->rcba_mask + at, rcba_registers[i].mask, rcba_registers[i].size);
    }
}

/* ---- Configuration space ---- */

static void place(Region *region, Region *where, uint64_t addr, bool wanted)
{
    if (wanted == region->mapped && (!wanted || region->addr == addr)) {
        return;
    }
    if (region->mapped) {
        region_unmap(region);
    }
    if (wanted) {
        region_map(where, addr, region, 1);
    }
}

static void update_windows(Ich9Lpc *lpc)
{
    Platform *p    = lpc->pci.dev.platform;
    uint16_t  base = pci_get16(&lpc->pci, ICH9_PMBASE) & 0xff80;
    uint32_t  rcba = pci_get32(&lpc->pci, ICH9_RCBA);
    memory_begin(p->memory);
    place(&lpc->pm.ports, p->system_io, base, pci_get8(&lpc->pci, ICH9_ACPI_CNTL) & ICH9_ACPI_ENABLED && base);
    place(&lpc->rcba_region, p->system_memory, rcba & 0xffffc000, rcba & RCBA_ENABLE);
    memory_commit(p->memory);
}

static void lpc_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    Ich9Lpc *lpc  = (Ich9Lpc *)pci;
    uint8_t  lock = pci->config[GEN_PMCON1] & PMCON1_SMI_LOCK;
    pci_config_store_default(pci, offset, value, size);
    pci->config[GEN_PMCON1] |= lock; /* until reset */
    update_windows(lpc);
    update_interrupts(lpc);
}

static uint8_t reset_control_read(void *opaque)
{
    return ((Ich9Lpc *)opaque)->rc;
}

/* RST_CPU going from 0 to 1 resets, and is not kept: the reset clears it. A soft reset (INIT) is a whole one too. */
static void reset_control_write(void *opaque, uint8_t value)
{
    Ich9Lpc  *lpc = opaque;
    Platform *p   = lpc->pci.dev.platform;
    lpc->rc       = value & (RC_SYS | RC_FULL);
    if (value & RC_CPU) {
        p->request_reset(p, RESET_GUEST);
    }
}

static bool smi_locked(void *opaque)
{
    return ((Ich9Lpc *)opaque)->pci.config[GEN_PMCON1] & PMCON1_SMI_LOCK;
}

static bool no_reboot(void *opaque)
{
    return load_le32(((Ich9Lpc *)opaque)->rcba + (RCBA_GCS - RCBA_FIRST)) & GCS_NOREBOOT;
}

static bool smi_broadcast(void *opaque)
{
    return ich9_lpc_sends_smi_to_all(opaque);
}

/* ---- Life ---- */

static bool lpc_realize(Device *dev, Error *err)
{
    static const struct {
        uint8_t  offset, size;
        uint32_t value, mask;
    } registers[] = {
        { PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, PCI_COMMAND_SERR },
        { PCI_STATUS, 2, 0x0200, 0 }, /* medium DEVSEL timing */
        { ICH9_PMBASE, 4, 1, 0xff80 },
        { ICH9_ACPI_CNTL, 1, 0, 0x87 },
        { ICH9_PIRQA, 4, 0x80808080, PIRQ_MASK * 0x01010101u },
        { ICH9_PIRQE, 4, 0x80808080, PIRQ_MASK * 0x01010101u },
        { 0x48, 4, 1, 0xff80 },     /* GPIOBASE: kept, nothing is there */
        { 0x4c, 1, 0, 0x10 },       /* GPIO control */
        { 0x64, 1, 0x10, 0xc0 },    /* SIRQ_CNTL */
        { 0x80, 4, 0, 0x3f0f1377 }, /* I/O decode ranges and enables: kept, everything is decoded */
        { 0x84, 4, 0, 0x00fcfffd },
        { 0x88, 4, 0, 0x00fcfffd },
        { 0x8c, 4, 0, 0x00fcfffd },
        { 0x90, 4, 0, 0x00fcfffd },
        { GEN_PMCON1, 2, 0, 0x0697 },
        { GEN_PMCON3, 1, 0, 0xfb },
        { 0xdc, 1, 0, 0x1f }, /* BIOS_CNTL */
        { ICH9_RCBA, 4, 0, 0xffffc001 },
    };
    Ich9Lpc  *lpc = (Ich9Lpc *)dev;
    Platform *p   = dev->platform;
    for (unsigned i = 0; i < G_N_ELEMENTS(registers); i++) {
        store_le(lpc->pci.config + registers[i].offset, registers[i].value, registers[i].size);
        store_le(lpc->pci.wmask + registers[i].offset, registers[i].mask, registers[i].size);
    }
    lpc->isa              = bus_new(BUS_ISA, "isa.0", dev, p);
    lpc->pm.smi_locked    = smi_locked;
    lpc->pm.no_reboot     = no_reboot;
    lpc->pm.smi_broadcast = smi_broadcast;
    lpc->pm.set_sci       = set_sci;
    lpc->pm.opaque        = lpc;
    ich9_pm_init(&lpc->pm, dev);
    device_add_outputs(dev, "smi", &lpc->pm.smi, 1);
    device_add_outputs(dev, "smi-all", &lpc->pm.smi_all, 1);
    region_init_io(&lpc->rcba_region, p->memory, rcba_ops.name, ICH9_RCBA_SIZE, &rcba_ops, lpc);
    reset_rcba(lpc);
    pci_bus_set_router(lpc->pci.pci_bus, map_pin, set_line, lpc);
    if (lpc->host) {
        lpc->host->ports.reset_control = (ResetControl){ reset_control_read, reset_control_write, lpc };
    }
    return true;
}

static void lpc_unrealize(Device *dev)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;
    if (lpc->rcba_region.mapped) {
        region_unmap(&lpc->rcba_region);
    }
    region_destroy(&lpc->rcba_region);
    ich9_pm_destroy(&lpc->pm);
}

static void lpc_reset(Device *dev, ResetKind kind)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;
    pci_device_reset(dev, kind);
    lpc->rc = 0;
    reset_rcba(lpc);
    ich9_pm_reset(&lpc->pm, kind);
    ich9_smi_reset(&lpc->smi);
    update_windows(lpc);
    update_interrupts(lpc);
}

static bool lpc_post_load(Device *dev, Error *err)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;
    if (!pci_device_post_load(dev, err) || !ich9_smi_post_load(&lpc->smi, err)) {
        return false;
    }
    lpc->rc &= RC_SYS | RC_FULL;
    uint8_t loaded[RCBA_BYTES];
    memcpy(loaded, lpc->rcba, sizeof loaded);
    reset_rcba(lpc); /* what cannot be written is what it is */
    for (unsigned i = 0; i < RCBA_BYTES; i++) {
        lpc->rcba[i] = (uint8_t)((lpc->rcba[i] & ~lpc->rcba_mask[i]) | (loaded[i] & lpc->rcba_mask[i]));
    }
    update_windows(lpc);
    ich9_pm_post_load(&lpc->pm);
    update_interrupts(lpc);
    return true;
}

static const Field lpc_properties[] = {
    PCI_PROPERTIES(Ich9Lpc, pci),
    ICH9_PM_PROPERTIES(Ich9Lpc, pm),
    ICH9_SMI_PROPERTIES(Ich9Lpc, smi),
    FIELD(Ich9Lpc, noreboot, "noreboot", .help = "the watchdog does not reset the machine unless the guest allows it"),
    {},
};

static const Field lpc_state[] = {
    PCI_STATE(Ich9Lpc, pci),
    ICH9_PM_STATE(Ich9Lpc, pm),
    ICH9_SMI_STATE(Ich9Lpc, smi),
    FIELD(Ich9Lpc, lines, "lines"),
    FIELD(Ich9Lpc, sci_level, "sci-level"),
    FIELD(Ich9Lpc, rc, "rc"),
    FIELD_ARRAY(Ich9Lpc, rcba, "rcba"),
    {},
};

static const PciDeviceInfo lpc_info = {
    .vendor_id    = 0x8086,
    .device_id    = 0x2918,
    .revision     = 2,
    .class_code   = 0x060100,
    .no_hotplug   = true,
    .config_write = lpc_config_write,
};

DEVICE_TYPE(ich9_lpc) = {
    .name       = "ICH9-LPC",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "ISA bridge",
    .size       = sizeof(Ich9Lpc),
    .bus        = BUS_PCI,
    .bus_info   = &lpc_info,
    .category   = DEVICE_BRIDGE,
    .internal   = true,
    .properties = lpc_properties,
    .state      = lpc_state,
    .realize    = lpc_realize,
    .unrealize  = lpc_unrealize,
    .reset      = lpc_reset,
    .post_load  = lpc_post_load,
};

Ich9Lpc *ich9_lpc_create(Platform *platform, PciHost *host, IrqPin *smi, IrqPin *smi_all, Error *err)
{
    Ich9Lpc *lpc           = device_new(platform, "ICH9-LPC");
    lpc->host              = host;
    lpc->pm.smi.to         = smi;
    lpc->pm.smi_all.to     = smi_all;
    lpc->pci.addr          = 1 + PCI_DEVFN(31, 0);
    lpc->pci.multifunction = true;
    return device_realize(&lpc->pci.dev, pci_bus_base(host->bus), err) ? lpc : NULL;
}

Ich9Pm *ich9_lpc_pm(Ich9Lpc *lpc)
{
    return &lpc->pm;
}

bool ich9_lpc_sends_smi_to_all(const Ich9Lpc *lpc)
{
    return lpc->smi.features & ICH9_SMI_BROADCAST;
}

bool ich9_lpc_offer_smi_features(Ich9Lpc *lpc, FwCfg *fw_cfg, Error *err)
{
    return ich9_smi_offer(&lpc->smi, fw_cfg, err);
}
