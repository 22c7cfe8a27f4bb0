/* The boards pc-i440fx-*: 440FX, PIIX3 and PIIX4.
 *
 * Up to 3.5 GiB of RAM lie below the PCI hole, which begins at E0000000h then; with more RAM it begins at C0000000h.
 * Machine lock held. */

#include "base/text.h"
#include "devices/acpi/piix4_pm.h"
#include "devices/pci/piix3.h"
#include "devices/storage/piix3_ide.h"
#include "machine/pc.h"

enum {
    MAX_LOW_RAM = 0xe0000000u,
    BIG_LOW_RAM = 0xc0000000u,
    PMC_PAM0    = 0x59,
    PIRQRCA     = 0x60,
    IDE_DEVFN   = PCI_DEVFN(1, 1)
};

static bool make(PcBoard *pc, Error *err)
{
    Platform *p    = &pc->machine->platform;
    PciHost  *host = i440fx_create(p, &pc->ram_low, err);

    if (!host) {
        return false;
    }
    pc_use_host(pc, host);
    pc->bridge = piix3_create(p, host, err);
    return pc->bridge != NULL;
}

static bool make_rest(PcBoard *pc, Error *err)
{
    if (!piix3_ide_create(&pc->machine->platform, pc->bus, IDE_DEVFN, err) || !pc_make_drives(pc, err)) {
        return false;
    }
    if (pc->machine->acpi == ON_OFF_AUTO_OFF) {
        return true;
    }
    pc->pm  = piix4_pm_create(&pc->machine->platform, pc->bus, pc->chipset->wiring->pm_devfn,
                              piix3_sci_input(pc->bridge), pc_smi_pin(pc, false), err);
    pc->pm1 = pc->pm ? piix4_pm_pm1(pc->pm) : NULL;
    return pc->pm != NULL;
}

/* As SeaBIOS chooses it; a power of two long, for one MTRR. */
static void choose_windows(PcBoard *pc)
{
    uint64_t ram       = pc->hw.ram_below_4g;
    pc->hw.pci32_first = ram <= 2 * GiB ? 2 * GiB : ram <= BIG_LOW_RAM ? BIG_LOW_RAM : MAX_LOW_RAM;
}

static void set_up(PcBoard *pc)
{
    const PcWiring *w = pc->chipset->wiring;

    pc_show_shadow_ram(pc, PMC_PAM0);
    pci_setup(pc->bus, &pc->windows, w, pc->machine->platform.log);
    for (unsigned i = 0; i < w->n_pirqs; i++) {
        pc_config(pc, w->isa_devfn, PIRQRCA + i, w->irqs[i], 1);
    }
    pc_config(pc, IDE_DEVFN, PIIX3_IDETIM, PIIX3_IDETIM_IDE, 2);
    pc_config(pc, IDE_DEVFN, PIIX3_IDETIM + 2, PIIX3_IDETIM_IDE, 2);
    if (pc->pm) {
        piix4_pm_set_bases(pc->pm, PIIX4_PM_BASE, PIIX4_SMBUS_BASE);
    }
}

static void raise_gpe(void *pc, unsigned n)
{
    piix4_pm_raise_gpe(((PcBoard *)pc)->pm, n);
}

static const PcChipset chipset = {
    .bios           = "bios-256k.bin",
    .wiring         = &pc_i440fx_wiring,
    .max_low_ram    = MAX_LOW_RAM,
    .big_low_ram    = BIG_LOW_RAM,
    .make           = make,
    .make_rest      = make_rest,
    .choose_windows = choose_windows,
    .set_up         = set_up,
    .raise_gpe      = raise_gpe,
};

static bool build(Machine *m, Error *err)
{
    return pc_build(m, &chipset, err);
}

static const Field properties[] = { PC_PROPERTIES, {} };

MACHINE_TYPE(pc_9_1) = {
    .name         = "pc-i440fx-9.1",
    .alias        = "pc",
    .help         = "Standard PC (i440FX + PIIX, 1996)",
    .class        = OBJECT_CLASS_MACHINE,
    .size         = sizeof(Machine),
    .properties   = properties,
    .is_default   = true,
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
