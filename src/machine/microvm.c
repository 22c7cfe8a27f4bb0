/* The board microvm: no PCI, no fixed ACPI hardware; a serial port, places for virtio devices, a generic event device.
 * Where things lie is as QEMU's microvm has it (docs/system/i386/microvm, 2024). Machine lock held. */

#include "base/text.h"
#include "cpu/x86/system.h"
#include "devices/acpi/ged.h"
#include "devices/virtio/mmio.h"
#include "machine/pc.h"

#include <string.h>

enum {
    MAX_LOW_RAM      = 0xc0000000u,
    GED_BASE         = 0xfea00000,
    GED_IRQ          = 9,
    VIRTIO_BASE      = 0xfeb00000,
    VIRTIO_FIRST_PIN = 16, /* of the first I/O APIC; with a second one they have its pins from 0 on */
    VIRTIO_SLOTS     = 8,
    VIRTIO_SLOTS2    = 24,
    IO_APIC2         = 0xfec10000,
};

static bool make(PcBoard *pc, Error *err)
{
    bus_new(BUS_ISA, "isa.0", NULL, &pc->machine->platform);
    return true;
}

static bool make_virtio(PcBoard *pc, Error *err)
{
    PcHardware *hw    = &pc->hw;
    IoApic     *chip  = pc->ioapic2 ? pc->ioapic2 : pc->ioapic;
    unsigned    first = pc->ioapic2 ? 0 : VIRTIO_FIRST_PIN;

    hw->virtio_mmio_base      = VIRTIO_BASE;
    hw->virtio_mmio_slots     = pc->ioapic2 ? VIRTIO_SLOTS2 : VIRTIO_SLOTS;
    hw->virtio_mmio_first_gsi = first + (pc->ioapic2 ? IOAPIC_PINS : 0);
    for (unsigned i = 0; i < hw->virtio_mmio_slots; i++) {
        if (!virtio_mmio_create(&pc->machine->platform, i, VIRTIO_BASE + i * VIRTIO_MMIO_SIZE,
                                ioapic_input(chip, first + i), err)) {
            return false;
        }
    }
    return true;
}

static bool make_rest(PcBoard *pc, Error *err)
{
    Machine *m = pc->machine;

    if (m->ioapic2 == ON_OFF_AUTO_ON || (m->ioapic2 == ON_OFF_AUTO_AUTO && m->acpi != ON_OFF_AUTO_OFF)) {
        pc->ioapic2 = ioapic_create_at(&m->platform, m->apic_bus, 1, IO_APIC2, err);
        if (!pc->ioapic2) {
            return false;
        }
        pc->hw.io_apic2_address = IO_APIC2;
    }
    if (m->acpi != ON_OFF_AUTO_OFF) {
        pc->ged = ged_create(&m->platform, GED_BASE, m->platform.isa_irq[GED_IRQ], err);
        if (!pc->ged) {
            return false;
        }
    }
    return make_virtio(pc, err);
}

/* Nothing is mapped there, but it is where devices are. */
static void choose_windows(PcBoard *pc)
{
    pc->hw.pci32_first = MAX_LOW_RAM;
}

static void describe(PcBoard *pc)
{
    if (!pc->ged) {
        return;
    }
    pc->hw.ged_base = GED_BASE;
    pc->hw.ged_irq  = GED_IRQ;
    pc->hw.s5_type  = GED_S5_TYPE;
}

static void set_up(PcBoard *pc)
{
}

static const PcWiring wiring = { 0 };

static const PcChipset chipset = {
    .wiring           = &wiring,
    .bios             = "bios-microvm.bin",
    .bios_in_ram      = true,
    .no_control_ports = true,
    .max_low_ram      = MAX_LOW_RAM,
    .big_low_ram      = MAX_LOW_RAM,
    .make             = make,
    .make_rest        = make_rest,
    .choose_windows   = choose_windows,
    .describe         = describe,
    .set_up           = set_up,
};

/* KVM's guests have clocks of their own; under the translator the kernel wants these. */
static void decide(const Machine *m, OnOffAuto *device)
{
    bool kvm = strcmp(accel_type(m->accel)->name, "kvm") == 0;
    if (*device == ON_OFF_AUTO_AUTO) {
        *device = kvm ? ON_OFF_AUTO_OFF : ON_OFF_AUTO_ON;
    }
}

/* What the kernel cannot find out by itself, or not well. Under the translator the frequency of the TSC: with
 * hardware-reduced ACPI Linux measures it once, early, against the 8254, and has no clock if the host is busy just
 * then. Without ACPI where virtio devices may be. */
static void extend_command_line(const PcBoard *pc)
{
    MachineConfig    *c   = &pc->machine->config;
    const PcHardware *hw  = &pc->hw;
    const X86Cpu     *cpu = pc->machine->cpus->pdata[0];

    if (!c->kernel || !pc->machine->auto_kernel_cmdline) {
        return;
    }
    GString *line = g_string_new(c->append);
    if (pc->machine->pit == ON_OFF_AUTO_ON && !strstr(line->str, "tsc_early_khz=")) {
        uint64_t hz = cpu->tsc_hz ? cpu->tsc_hz : x86_host_tsc_hz();
        g_string_append_printf(line, "%stsc_early_khz=%" G_GUINT64_FORMAT, line->len ? " " : "", hz / 1000);
    }
    for (unsigned i = 0; i < hw->virtio_mmio_slots && !pc->ged; i++) {
        g_string_append_printf(line, "%svirtio_mmio.device=%u@0x%x:%u", line->len ? " " : "", VIRTIO_MMIO_SIZE,
                               (unsigned)VIRTIO_BASE + i * VIRTIO_MMIO_SIZE, hw->virtio_mmio_first_gsi + i);
    }
    g_free(c->append);
    c->append = g_string_free(line, FALSE);
}

static bool build(Machine *m, Error *err)
{
    if (m->pcie == ON_OFF_AUTO_ON) {
        return error_set_unsupported(err, "-machine pcie=on");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(m->config.serial); i++) {
        m->config.serial_present[i] = m->config.serial_present[i] && m->isa_serial;
    }
    decide(m, &m->pit);
    decide(m, &m->rtc);
    return pc_build(m, &chipset, err);
}

static bool finish(Machine *m, Error *err)
{
    extend_command_line(pc_board(m));
    return pc_finish(m, err);
}

static const Field properties[] = {
    BOARD_PROPERTIES,
    FIELD(Machine, pic, "pic", .names = on_off_auto_names, .help = "8259 interrupt controllers"),
    FIELD(Machine, pit, "pit", .names = on_off_auto_names, .help = "8254 timer; auto: not under KVM"),
    FIELD(Machine, rtc, "rtc", .names = on_off_auto_names, .help = "real-time clock; auto: not under KVM"),
    FIELD(Machine, pcie, "pcie", .names = on_off_auto_names, .help = "PCI Express host bridge"),
    FIELD(Machine, ioapic2, "ioapic2", .names = on_off_auto_names, .help = "second I/O APIC; auto: with ACPI"),
    FIELD(Machine, isa_serial, "isa-serial", .initial = true, .help = "serial port"),
    FIELD(Machine, auto_kernel_cmdline, "auto-kernel-cmdline", .initial = true,
          .help = "tell the kernel on its command line what it cannot find out by itself"),
    FIELD(Machine, absent_flag, "x-option-roms", .unsupported = true, .help = "option ROMs"),
    {},
};

MACHINE_TYPE(microvm) = {
    .name        = "microvm",
    .help        = "microvm (i386)",
    .class       = OBJECT_CLASS_MACHINE,
    .size        = sizeof(Machine),
    .properties  = properties,
    .default_cpu = "qemu64",
    .max_cpus    = 255,
    .default_ram = 128 * MiB,
    .ram_id      = "microvm.ram",
    .numa        = true,
    .max_serial  = 1,
    .build       = build,
    .finish      = finish,
    .reset       = pc_reset,
    .detach      = pc_detach,
    .free        = pc_free,
};
