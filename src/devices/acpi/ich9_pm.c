/* Power management of the ICH9: PM1 registers, general purpose events, SMI control, TCO, APM ports.
 * Specification: Intel I/O Controller Hub 9 Family data sheet, order 316972-004 (August 2008), sections 13.7.1, 13.8.3
 * and 13.9; sleep types and the bytes that turn ACPI mode on and off as QEMU's ICH9 has them. Machine lock. */

#include "devices/acpi/ich9_pm.h"

enum {
    SMI_EN     = 0x30,
    SMI_STS    = 0x34,
    TCO_OFFSET = 0x60,
    GPE_HALF   = ICH9_GPE0_LEN / 2,

    SMI_GBL       = 1 << 0, /* SMI_EN: any at all */
    SMI_EOS       = 1 << 1,
    SMI_APMC      = 1 << 5, /* in both registers */
    SMI_TCO       = 1 << 13,
    SMI_CLEARABLE = SMI_APMC | SMI_TCO,
};

static void update_sci(void *opaque)
{
    Ich9Pm *pm = opaque;
    pm->set_sci(pm->opaque, pm1_update(&pm->pm1, pm->gpe_sts & pm->gpe_en));
}

/* An event that firmware may want to hear of. */
static void smi_event(Ich9Pm *pm, uint32_t bit, bool all)
{
    pm->smi_sts |= bit;
    if (pm->smi_en & SMI_GBL && pm->smi_en & bit) {
        irq_pulse(all ? &pm->smi_all : &pm->smi);
    }
}

static void tco_smi(void *opaque)
{
    smi_event(opaque, SMI_TCO, false);
}

static bool tco_no_reboot(void *opaque)
{
    Ich9Pm *pm = opaque;
    return pm->no_reboot(pm->opaque);
}

/* --- the window at PMBASE --- */

static uint8_t gpe_read(const Ich9Pm *pm, uint64_t at)
{
    uint64_t value = at < GPE_HALF ? pm->gpe_sts : pm->gpe_en;
    return (uint8_t)(value >> (8 * (at % GPE_HALF)));
}

static void gpe_write(Ich9Pm *pm, uint64_t at, uint8_t value)
{
    unsigned shift = 8 * (at % GPE_HALF);
    if (at < GPE_HALF) {
        pm->gpe_sts &= ~((uint64_t)value << shift);
    } else {
        pm->gpe_en = (pm->gpe_en & ~(UINT64_C(0xff) << shift)) | (uint64_t)value << shift;
    }
}

static void write_smi_en(Ich9Pm *pm, uint32_t value)
{
    uint32_t kept = pm->smi_locked(pm->opaque) ? SMI_GBL : 0;
    pm->smi_en    = ((value & ~kept) | (pm->smi_en & kept)) | SMI_EOS;
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    Ich9Pm  *pm    = opaque;
    uint64_t value = 0;
    if (offset < PM1_SIZE) {
        return pm1_read(&pm->pm1, offset, size);
    }
    if (offset >= TCO_OFFSET) {
        return pm->enable_tco ? tco_read(&pm->tco, offset - TCO_OFFSET, size) : 0;
    }
    for (unsigned i = 0; i < size; i++) {
        uint64_t at   = offset + i;
        uint8_t  byte = 0;
        if (at >= ICH9_GPE0_OFFSET && at < ICH9_GPE0_OFFSET + ICH9_GPE0_LEN) {
            byte = gpe_read(pm, at - ICH9_GPE0_OFFSET);
        } else if (at >= SMI_EN && at < SMI_EN + 8) {
            byte = (uint8_t)((at < SMI_STS ? pm->smi_en : pm->smi_sts) >> (8 * (at & 3)));
        }
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ich9Pm *pm = opaque;
    if (offset < PM1_SIZE) {
        pm1_write(&pm->pm1, offset, value, size);
        return;
    }
    if (offset >= TCO_OFFSET) {
        if (pm->enable_tco) {
            tco_write(&pm->tco, offset - TCO_OFFSET, value, size);
        }
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint64_t at    = offset + i;
        uint8_t  byte  = (uint8_t)(value >> (8 * i));
        unsigned shift = 8 * (at & 3);
        if (at >= ICH9_GPE0_OFFSET && at < ICH9_GPE0_OFFSET + ICH9_GPE0_LEN) {
            gpe_write(pm, at - ICH9_GPE0_OFFSET, byte);
        } else if (at >= SMI_EN && at < SMI_EN + 4) {
            write_smi_en(pm, (pm->smi_en & ~(0xffu << shift)) | (uint32_t)byte << shift);
        } else if (at >= SMI_STS && at < SMI_STS + 4) {
            pm->smi_sts &= ~((uint32_t)byte << shift & SMI_CLEARABLE);
        }
    }
    update_sci(pm);
}

static const IoOps ports_ops = {
    .name = "ich9-pm", .access = IO_BYTE | IO_WORD | IO_LONG, .read = ports_read, .write = ports_write
};

/* --- APM: how software changes between legacy and ACPI mode --- */

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
    const Ich9Pm *pm = opaque;
    return offset ? pm->apm_sts : pm->apm_cnt;
}

static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ich9Pm *pm = opaque;
    if (offset) {
        pm->apm_sts = (uint8_t)value;
        return;
    }
    pm->apm_cnt = (uint8_t)value;
    if (value == ICH9_ACPI_ENABLE || value == ICH9_ACPI_DISABLE) {
        pm1_set_acpi_enabled(&pm->pm1, value == ICH9_ACPI_ENABLE);
    }
    smi_event(pm, SMI_APMC, pm->smi_broadcast(pm->opaque));
}

static const IoOps apm_ops = { .name = "ich9-apm", .access = IO_BYTE, .read = apm_read, .write = apm_write };

/* --- life --- */

void ich9_pm_init(Ich9Pm *pm, Device *dev)
{
    Platform *p       = dev->platform;
    pm->platform      = p;
    pm->pm1.changed   = update_sci;
    pm->pm1.name      = "ICH9";
    pm->pm1.opaque    = pm;
    pm->tco.no_reboot = tco_no_reboot;
    pm->tco.smi       = tco_smi;
    pm->tco.opaque    = pm;
    pm1_init(&pm->pm1, p);
    tco_init(&pm->tco, p);
    region_init_io(&pm->ports, p->memory, ports_ops.name, ICH9_PM_SIZE, &ports_ops, pm);
    region_init_io(&pm->apm_ports, p->memory, apm_ops.name, 2, &apm_ops, pm);
    isa_map_ports(dev, &pm->apm_ports, ICH9_APM_CNT);
}

void ich9_pm_destroy(Ich9Pm *pm)
{
    pm1_destroy(&pm->pm1);
    tco_destroy(&pm->tco);
    if (pm->ports.mapped) {
        region_unmap(&pm->ports);
    }
    region_unmap(&pm->apm_ports);
    region_destroy(&pm->ports);
    region_destroy(&pm->apm_ports);
}

/* Firmware takes APMC_EN for a sign that SMM is set up already: that is said when there is none. */
void ich9_pm_reset(Ich9Pm *pm, ResetKind kind)
{
    pm1_reset(&pm->pm1);
    tco_reset(&pm->tco, kind);
    pm->gpe_sts = pm->gpe_en = 0;
    pm->smi_en               = SMI_EOS | (pm->smi.to ? 0 : SMI_APMC);
    pm->smi_sts              = 0;
    pm->apm_cnt = pm->apm_sts = 0;
    update_sci(pm);
}

void ich9_pm_post_load(Ich9Pm *pm)
{
    tco_post_load(&pm->tco);
    update_sci(pm);
}

void ich9_pm_raise_gpe(Ich9Pm *pm, unsigned n)
{
    pm->gpe_sts |= UINT64_C(1) << n;
    update_sci(pm);
}
