/* The boards pc-q35-*: Q35 MCH and ICH9.
 *
 * Up to 2.75 GiB of RAM lie below the PCI hole, which begins at B0000000h with 256 MiB of configuration space; with
 * more RAM it begins at 80000000h. Machine lock held. */

#include "base/text.h"
#include "devices/acpi/ich9_smbus.h"
#include "devices/pci/ich9_lpc.h"
#include "machine/pc.h"

enum { MAX_LOW_RAM = 0xb0000000u, BIG_LOW_RAM = 0x80000000u };

static bool make(PcBoard *pc, Error *err)
{
    Platform *p    = &pc->machine->platform;
    PciHost  *host = q35_create(p, &pc->ram_low, err);

    if (!host) {
        return false;
    }
    pc_use_host(pc, host);
    pc->bridge = ich9_lpc_create(p, host, pc_smi_pin(pc, false), pc_smi_pin(pc, true), err);
    return pc->bridge != NULL;
}

static bool make_rest(PcBoard *pc, Error *err)
{
    if (!pc_refuse_drives(pc, err)) {
        return false;
    }
    if (pc->machine->acpi != ON_OFF_AUTO_OFF) {
        pc->pm  = ich9_lpc_pm(pc->bridge);
        pc->pm1 = &ich9_lpc_pm(pc->bridge)->pm1;
    }
    if (pc_smi_pin(pc, true) && !ich9_lpc_offer_smi_features(pc->bridge, pc->fw_cfg, err)) {
        return false;
    }
    return !pc->machine->smbus || ich9_smbus_create(&pc->machine->platform, pc->bus, PCI_DEVFN(31, 3), err) != NULL;
}

/* Direct boot uses what lies above configuration space; other firmware may also use what lies below it. */
static void choose_windows(PcBoard *pc)
{
    PcHardware *hw  = &pc->hw;
    hw->ecam_base   = Q35_ECAM_BASE;
    hw->ecam_size   = Q35_ECAM_SIZE;
    hw->pci32_first = Q35_ECAM_BASE + Q35_ECAM_SIZE;
    if (hw->ram_below_4g < Q35_ECAM_BASE) {
        hw->pci32_low_first = hw->ram_below_4g;
        hw->pci32_low_last  = Q35_ECAM_BASE - 1;
    }
}

static void set_up(PcBoard *pc)
{
    const PcWiring *w = pc->chipset->wiring;

    pc_show_shadow_ram(pc, Q35_PAM0);
    pc_config(pc, 0, Q35_PCIEXBAR + 4, Q35_ECAM_BASE >> 32, 4);
    pc_config(pc, 0, Q35_PCIEXBAR, (uint32_t)Q35_ECAM_BASE | Q35_PCIEXBAR_ENABLE, 4);
    pci_setup(pc->bus, &pc->windows, w, pc->machine->platform.log);
    for (unsigned i = 0; i < w->n_pirqs; i++) {
        pc_config(pc, w->isa_devfn, i < 4 ? ICH9_PIRQA + i : ICH9_PIRQE + i - 4, w->irqs[i], 1);
    }
    pc_config(pc, w->isa_devfn, ICH9_PMBASE, ICH9_PM_BASE, 4);
    pc_config(pc, w->isa_devfn, ICH9_ACPI_CNTL, ICH9_ACPI_ENABLED, 1);
    pc_config(pc, w->isa_devfn, ICH9_RCBA, (uint32_t)ICH9_RCBA_BASE | 1, 4);
    pc_config(pc, PCI_DEVFN(31, 3), ICH9_SMBUS_HOSTC, 1, 1);
}

static void raise_gpe(void *pc, unsigned n)
{
    ich9_pm_raise_gpe(((PcBoard *)pc)->pm, n);
}

static bool smi_to_all(PcBoard *pc)
{
    return ich9_lpc_sends_smi_to_all(pc->bridge);
}

static const PcChipset chipset = {
    .bios           = "bios-256k.bin",
    .wiring         = &pc_q35_wiring,
    .max_low_ram    = MAX_LOW_RAM,
    .big_low_ram    = BIG_LOW_RAM,
    .make           = make,
    .make_rest      = make_rest,
    .choose_windows = choose_windows,
    .set_up         = set_up,
    .raise_gpe      = raise_gpe,
    .smi_to_all     = smi_to_all,
};

static bool build(Machine *m, Error *err)
{
    return pc_build(m, &chipset, err);
}

static const Field properties[] = {
    PC_PROPERTIES,
    FIELD(Machine, smbus, "smbus", .initial = true, .help = "SMBus controller"),
    FIELD(Machine, absent_flag, "sata", .unsupported = true, .help = "SATA controller"),
    {},
};

MACHINE_TYPE(q35_9_1) = {
    .name         = "pc-q35-9.1",
    .alias        = "q35",
    .help         = "Standard PC (Q35 + ICH9, 2009)",
    .class        = OBJECT_CLASS_MACHINE,
    .size         = sizeof(Machine),
    .properties   = properties,
    .default_cpu  = "qemu64",
    .max_cpus     = 255,
    .default_ram  = 128 * MiB,
    .ram_id       = "pc.ram",
    .memory_slots = true,
    .numa         = true,
    .max_serial   = 4,
    .max_parallel = 3,
    .build        = build,
    .finish       = pc_finish,
    .reset        = pc_reset,
    .detach       = pc_detach,
    .free         = pc_free,

    .hotpluggable_cpus = true,
    .check_cpu         = pc_check_cpu,
    .cpus_changed      = pc_cpus_changed,
};
