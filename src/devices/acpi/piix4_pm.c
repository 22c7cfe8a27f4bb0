/* Power management function of the 82371AB (PIIX4): ACPI event and control registers, PM timer, APM ports, a general
 * purpose event block, and an SMBus host that nothing is attached to.
 * Specification: Intel 82371AB data sheet (1997), chapters 7 and 11; ACPI 6.4, chapter 4.8; the GPE block as QEMU's
 * PIIX4 has it. Machine lock; the timer fires on the main loop. */

#include "devices/acpi/piix4_pm.h"

#include <string.h>

enum { PM_SIZE = 0x40 };

enum { APM_PORTS = PIIX4_APM_CNT, DEVACTB_HIGH = 0x5b, APMC_EN = 1 << 1 };

/* SMBus host controller: its registers, and bits that a host without devices needs. */
enum { SMB_HOST_ENABLED = 0x09 /* configuration D2h: enabled, interrupts as IRQ 9 */ };
enum { SMB_HSTSTS = 0, SMB_HSTCNT = 2, SMB_SIZE = 0x10, SMB_START = 1 << 6, SMB_DEV_ERR = 1 << 2, SMB_STS_W1C = 0x1e };

struct Piix4Pm {
    PciDevice pci;
    uint32_t  smb_io_base;
    IrqLine   sci, smi;
    Region    pm_ports, gpe_ports, apm_ports, smb_ports;
    bool      pm_mapped, smb_mapped;
    AcpiPm1   pm1;
    uint16_t  gpe_sts, gpe_en;
    uint8_t   apm_cnt, apm_sts;
    uint8_t   smb[SMB_SIZE];
};

static void update_sci(void *opaque)
{
    Piix4Pm *pm = opaque;
    irq_set(&pm->sci, pm1_update(&pm->pm1, pm->gpe_sts & pm->gpe_en));
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    Piix4Pm *pm = opaque;
    return offset < PM1_SIZE ? pm1_read(&pm->pm1, offset, size) : 0;
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Piix4Pm *pm = opaque;
    if (offset < PM1_SIZE) {
        pm1_write(&pm->pm1, offset, value, size);
    }
}

/* --- general purpose events: two bytes of status, two of enable --- */

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned size)
{
    const Piix4Pm *pm = opaque;
    return (offset < 2 ? pm->gpe_sts : pm->gpe_en) >> (8 * (offset & 1)) & 0xff;
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Piix4Pm *pm    = opaque;
    unsigned shift = 8 * (offset & 1);
    if (offset < 2) {
        pm->gpe_sts &= (uint16_t) ~(value << shift);
    } else {
        pm->gpe_en = (uint16_t)((pm->gpe_en & ~(0xff << shift)) | value << shift);
    }
    update_sci(pm);
}

/* --- APM: how software changes between legacy and ACPI mode --- */

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
    const Piix4Pm *pm = opaque;
    return offset ? pm->apm_sts : pm->apm_cnt;
}

static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Piix4Pm *pm = opaque;
    if (offset) {
        pm->apm_sts = (uint8_t)value;
        return;
    }
    pm->apm_cnt = (uint8_t)value;
    if (value == PIIX4_ACPI_ENABLE || value == PIIX4_ACPI_DISABLE) {
        pm1_set_acpi_enabled(&pm->pm1, value == PIIX4_ACPI_ENABLE);
    }
    if (pci_get8(&pm->pci, DEVACTB_HIGH) & APMC_EN) {
        irq_pulse(&pm->smi);
    }
}

/* --- SMBus: every transfer ends with "no device answered" --- */

static uint64_t smb_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Piix4Pm *)opaque)->smb[offset];
}

static void smb_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Piix4Pm *pm = opaque;
    if (offset == SMB_HSTSTS) {
        pm->smb[SMB_HSTSTS] &= (uint8_t) ~(value & SMB_STS_W1C);
        return;
    }
    pm->smb[offset] = (uint8_t)value;
    if (offset == SMB_HSTCNT && (value & SMB_START)) {
        pm->smb[SMB_HSTCNT] &= (uint8_t)~SMB_START;
        pm->smb[SMB_HSTSTS] |= SMB_DEV_ERR;
    }
}

static const IoOps pm_ops = {
    .name = "piix4-pm", .access = IO_BYTE | IO_WORD | IO_LONG, .read = pm_read, .write = pm_write
};
static const IoOps gpe_ops = { .name = "piix4-gpe0", .access = IO_BYTE, .read = gpe_read, .write = gpe_write };
static const IoOps apm_ops = { .name = "piix4-apm", .access = IO_BYTE, .read = apm_read, .write = apm_write };
static const IoOps smb_ops = { .name = "piix4-smbus", .access = IO_BYTE, .read = smb_read, .write = smb_write };

/* --- configuration space --- */

static void map_window(Piix4Pm *pm, Region *ports, bool *mapped, bool enabled, uint16_t base)
{
    bool wanted = enabled && base;
    if (wanted == *mapped && (!wanted || ports->addr == base)) {
        return;
    }
    if (*mapped) {
        region_unmap(ports);
    }
    *mapped = wanted;
    if (*mapped) {
        isa_map_ports(&pm->pci.dev, ports, base);
    }
}

static void update_windows(Piix4Pm *pm)
{
    map_window(pm, &pm->pm_ports, &pm->pm_mapped, pci_get8(&pm->pci, PIIX4_PM_MISC_REG) & 1,
               pci_get16(&pm->pci, PIIX4_PM_BASE_REG) & 0xffc0);
    map_window(pm, &pm->smb_ports, &pm->smb_mapped, pci_get8(&pm->pci, PIIX4_SMB_HOST_REG) & 1,
               pci_get16(&pm->pci, PIIX4_SMB_BASE_REG) & 0xfff0);
}

static void piix4_pm_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    pci_config_store_default(pci, offset, value, size);
    if (offset + size > PIIX4_PM_BASE_REG) {
        update_windows((Piix4Pm *)pci);
    }
}

/* --- life --- */

static bool piix4_pm_realize(Device *dev, Error *err)
{
    static const struct {
        uint8_t offset, mask;
    } writable[] = { { 0x40, 0xc0 }, { 0x41, 0xff }, { 0x58, 0xff }, { 0x59, 0xff }, { 0x5a, 0xff },
                     { 0x5b, 0xff }, { 0x80, 0x01 }, { 0x90, 0xf0 }, { 0x91, 0xff }, { 0xd2, 0x0f } };

    Piix4Pm *pm = (Piix4Pm *)dev;
    Memory  *m  = dev->platform->memory;
    for (size_t i = 0; i < G_N_ELEMENTS(writable); i++) {
        pm->pci.wmask[writable[i].offset] = writable[i].mask;
    }
    pci_put16(&pm->pci, PCI_STATUS, 0x0280);   /* medium DEVSEL timing, fast back-to-back */
    pci_put32(&pm->pci, PIIX4_PM_BASE_REG, 1); /* bit 0: I/O space */
    pci_put32(&pm->pci, PIIX4_SMB_BASE_REG, (pm->smb_io_base & 0xfff0) | 1);
    pci_put8(&pm->pci, PIIX4_SMB_HOST_REG, SMB_HOST_ENABLED);
    if (!pm->smi.to) {
        pci_put8(&pm->pci, DEVACTB_HIGH, APMC_EN); /* firmware takes it for a sign that SMM is set up already */
    }
    region_init_io(&pm->pm_ports, m, "piix4-pm", PM_SIZE, &pm_ops, pm);
    region_init_io(&pm->gpe_ports, m, "piix4-gpe0", PIIX4_GPE0_LEN, &gpe_ops, pm);
    region_init_io(&pm->apm_ports, m, "piix4-apm", 2, &apm_ops, pm);
    region_init_io(&pm->smb_ports, m, "piix4-smbus", SMB_SIZE, &smb_ops, pm);
    isa_map_ports(dev, &pm->gpe_ports, PIIX4_GPE0_BASE);
    isa_map_ports(dev, &pm->apm_ports, APM_PORTS);
    pm->pm1.changed = update_sci;
    pm->pm1.name    = "piix4_pm";
    pm->pm1.opaque  = pm;
    pm1_init(&pm->pm1, dev->platform);
    device_add_outputs(dev, "sci", &pm->sci, 1);
    device_add_outputs(dev, "smi", &pm->smi, 1);
    return true;
}

static void piix4_pm_unrealize(Device *dev)
{
    Piix4Pm *pm        = (Piix4Pm *)dev;
    Region  *regions[] = { &pm->pm_ports, &pm->gpe_ports, &pm->apm_ports, &pm->smb_ports };
    pm1_destroy(&pm->pm1);
    for (size_t i = 0; i < G_N_ELEMENTS(regions); i++) {
        if (regions[i]->mapped) {
            region_unmap(regions[i]);
        }
        region_destroy(regions[i]);
    }
    pm->pm_mapped = pm->smb_mapped = false;
}

static void piix4_pm_reset(Device *dev, ResetKind kind)
{
    Piix4Pm *pm = (Piix4Pm *)dev;
    pci_device_reset(dev, kind);
    pm1_reset(&pm->pm1);
    pm->gpe_sts = pm->gpe_en = 0;
    pm->apm_cnt = pm->apm_sts = 0;
    memset(pm->smb, 0, sizeof pm->smb);
    update_windows(pm);
    update_sci(pm);
}

static bool piix4_pm_post_load(Device *dev, Error *err)
{
    Piix4Pm *pm = (Piix4Pm *)dev;
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    update_windows(pm);
    update_sci(pm);
    return true;
}

static const Field piix4_pm_properties[] = {
    PCI_PROPERTIES(Piix4Pm, pci),
    PM1_PROPERTIES(Piix4Pm, pm1),
    FIELD(Piix4Pm, smb_io_base, "smb_io_base", .initial = 0xb100, .max = 0xfff0,
          .help = "port of the SMBus host after reset"),
    {},
};

static const Field piix4_pm_state[] = {
    PCI_STATE(Piix4Pm, pci),
    PM1_STATE(Piix4Pm, pm1),
    FIELD(Piix4Pm, gpe_sts, "gpe-sts"),
    FIELD(Piix4Pm, gpe_en, "gpe-en"),
    FIELD(Piix4Pm, apm_cnt, "apm-cnt"),
    FIELD(Piix4Pm, apm_sts, "apm-sts"),
    FIELD_ARRAY(Piix4Pm, smb, "smb"),
    {},
};

static const PciDeviceInfo piix4_pm_info = {
    .vendor_id     = 0x8086,
    .device_id     = 0x7113,
    .revision      = 3,
    .class_code    = 0x068000,
    .interrupt_pin = 1,
    .config_write  = piix4_pm_config_write,
};

DEVICE_TYPE(piix4_pm) = {
    .name       = "PIIX4_PM",
    .parent     = "pci-device",
    .help       = "power management function of the PIIX4",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Piix4Pm),
    .properties = piix4_pm_properties,
    .bus        = BUS_PCI,
    .category   = DEVICE_BRIDGE,
    .internal   = true,
    .bus_info   = &piix4_pm_info,
    .state      = piix4_pm_state,
    .realize    = piix4_pm_realize,
    .unrealize  = piix4_pm_unrealize,
    .reset      = piix4_pm_reset,
    .post_load  = piix4_pm_post_load,
};

Piix4Pm *piix4_pm_create(Platform *platform, PciBus *bus, uint8_t devfn, IrqPin *sci, IrqPin *smi, Error *err)
{
    Piix4Pm *pm  = device_new(platform, "PIIX4_PM");
    pm->pci.addr = 1u + devfn;
    pm->sci.to   = sci;
    pm->smi.to   = smi;
    return device_realize(&pm->pci.dev, pci_bus_base(bus), err) ? pm : NULL;
}

void piix4_pm_set_bases(Piix4Pm *pm, uint16_t pm_base, uint16_t smbus_base)
{
    pci_config_write(&pm->pci, PIIX4_PM_BASE_REG, pm_base | 1u, 4);
    pci_config_write(&pm->pci, PIIX4_PM_MISC_REG, 1, 1);
    pci_config_write(&pm->pci, PIIX4_SMB_BASE_REG, smbus_base | 1u, 4);
    pci_config_write(&pm->pci, PIIX4_SMB_HOST_REG, SMB_HOST_ENABLED, 1);
}

AcpiPm1 *piix4_pm_pm1(Piix4Pm *pm)
{
    return &pm->pm1;
}

void piix4_pm_power_button(Piix4Pm *pm)
{
    pm1_power_button(&pm->pm1);
}

void piix4_pm_raise_gpe(Piix4Pm *pm, unsigned n)
{
    pm->gpe_sts |= (uint16_t)(1u << n);
    update_sci(pm);
}
