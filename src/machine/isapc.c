/* The board isapc: a PC without PCI, ACPI or I/O APIC. Machine lock held. */

#include "base/text.h"
#include "machine/pc.h"

enum { MAX_LOW_RAM = 0xe0000000u };

static bool make(PcBoard *pc, Error *err)
{
    if (pc->machine->config.ram_size > MAX_LOW_RAM) {
        return error_set(err, "-m: isapc has at most 3.5 GiB of memory");
    }
    bus_new(BUS_ISA, "isa.0", NULL, &pc->machine->platform);
    return true;
}

/* Two channels; their buses are "ide.0" and "ide.1". */
static bool make_rest(PcBoard *pc, Error *err)
{
    static const int64_t     channels[][3] = { { 0x1f0, 0x3f6, 14 }, { 0x170, 0x376, 15 } };
    static const char *const names[]       = { "iobase", "iobase2", "irq" };
    for (unsigned i = 0; i < G_N_ELEMENTS(channels); i++) {
        Device *ide = device_new(&pc->machine->platform, "isa-ide");
        bool    ok  = true;
        for (unsigned k = 0; ok && k < G_N_ELEMENTS(names); k++) {
            g_autoptr(Json) value = json_new_int(channels[i][k]);
            ok                    = object_set(&ide->obj, names[k], value, false, err);
        }
        if (!ok) {
            object_unref(&ide->obj);
            return false;
        }
        if (!device_realize(ide, NULL, err)) {
            return false;
        }
    }
    return pc_make_drives(pc, err);
}

static void choose_windows(PcBoard *pc)
{
    pc->hw.pci32_first = MAX_LOW_RAM;
}

static void set_up(PcBoard *pc)
{
}

static const PcWiring wiring = { 0 };

static const PcChipset chipset = {
    .wiring         = &wiring,
    .bios           = "bios.bin",
    .bios_in_ram    = true,
    .no_ioapic      = true,
    .max_low_ram    = MAX_LOW_RAM + 1u,
    .big_low_ram    = MAX_LOW_RAM,
    .make           = make,
    .make_rest      = make_rest,
    .choose_windows = choose_windows,
    .set_up         = set_up,
};

static bool build(Machine *m, Error *err)
{
    if (m->acpi == ON_OFF_AUTO_ON) {
        return error_set(err, "-machine acpi=on: isapc has no ACPI");
    }
    if (m->pic == ON_OFF_AUTO_OFF) {
        return error_set(err, "-machine pic=off: isapc has no other interrupt controller");
    }
    return pc_build(m, &chipset, err);
}

static const Field properties[] = { PC_PROPERTIES, {} };

MACHINE_TYPE(isapc) = {
    .name         = "isapc",
    .help         = "ISA-only PC",
    .class        = OBJECT_CLASS_MACHINE,
    .size         = sizeof(Machine),
    .properties   = properties,
    .default_cpu  = "486",
    .max_cpus     = 1,
    .no_acpi      = true,
    .default_ram  = 128 * MiB,
    .ram_id       = "pc.ram",
    .max_serial   = 4,
    .max_parallel = 3,
    .build        = build,
    .finish       = pc_finish,
    .reset        = pc_reset,
    .detach       = pc_detach,
    .free         = pc_free,
};
