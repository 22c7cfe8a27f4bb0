/* The DSDT of a PC: what an operating system cannot find out by itself. PCI is in dsdt_pci.c.
 * Specification: ACPI 6.4 (January 2021), chapters 5 to 7. */

#include "machine/dsdt.h"

#include "machine/acpi.h"

#include <stdio.h>

/* A device with fixed ports and an interrupt. */
typedef struct LegacyDevice {
    const char *name, *id;
    uint64_t    uid;   /* 0: none */
    uint16_t    ports; /* first of them; 0: none */
    uint8_t     n_ports;
    uint16_t    more_ports;
    uint8_t     irq; /* 0: none */
} LegacyDevice;

static void add_legacy(Aml *a, const LegacyDevice *d)
{
    aml_device(a, d->name);
    aml_name(a, "_HID"), aml_eisaid(a, d->id);
    if (d->uid) {
        aml_name_int(a, "_UID", d->uid);
    }
    aml_name_int(a, "_STA", STA_PRESENT);
    aml_name(a, "_CRS");
    aml_resources(a);
    if (d->ports) {
        aml_res_io(a, d->ports, d->n_ports);
    }
    if (d->more_ports) {
        aml_res_io(a, d->more_ports, d->n_ports);
    }
    if (d->irq) {
        aml_res_irq(a, d->irq);
    }
    aml_end_resources(a);
    aml_end(a);
}

void dsdt_add_isa_devices(Aml *a, const PcHardware *hw)
{
    if (hw->rtc) {
        add_legacy(a, &(LegacyDevice){ .name = "RTC_", .id = "PNP0B00", .ports = 0x70, .n_ports = 8, .irq = 8 });
    }
    if (hw->i8042) {
        add_legacy(a, &(LegacyDevice){
                          .name = "KBD_", .id = "PNP0303", .ports = 0x60, .n_ports = 1, .more_ports = 0x64, .irq = 1 });
        add_legacy(a, &(LegacyDevice){ .name = "MOU_", .id = "PNP0F13", .irq = 12 });
    }
    for (unsigned i = 0; i < 4; i++) {
        if (hw->serial[i]) {
            char name[5] = { 'C', 'O', 'M', (char)('1' + i), 0 };
            add_legacy(a, &(LegacyDevice){ .name    = name,
                                           .id      = "PNP0501",
                                           .uid     = i + 1,
                                           .ports   = hw->serial[i],
                                           .n_ports = 8,
                                           .irq     = hw->serial_irq[i] });
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        if (hw->parallel[i]) {
            char name[5] = { 'L', 'P', 'T', (char)('1' + i), 0 };
            add_legacy(a, &(LegacyDevice){ .name    = name,
                                           .id      = "PNP0400",
                                           .uid     = i + 1,
                                           .ports   = hw->parallel[i],
                                           .n_ports = 8,
                                           .irq     = hw->parallel_irq[i] });
        }
    }
    if (hw->pvpanic_port) {
        aml_device(a, "PEVT");
        aml_name(a, "_HID"), aml_string(a, "QEMU0001");
        aml_name_int(a, "_STA", STA_PRESENT);
        aml_name(a, "_CRS");
        aml_resources(a);
        aml_res_io(a, hw->pvpanic_port, 1);
        aml_end_resources(a);
        aml_end(a);
    }
}

void dsdt_add_notify(Aml *a, const char *name, unsigned n, void (*device_name)(char name[8], unsigned n))
{
    aml_method(a, name, 2, false);
    for (unsigned i = 0; i < n; i++) {
        char device[8];
        device_name(device, i);
        aml_if(a);
        aml_op(a, AML_LEQUAL), aml_op(a, AML_ARG0), aml_int(a, i);
        aml_op(a, AML_NOTIFY), aml_path(a, device), aml_op(a, AML_ARG1);
        aml_end(a);
    }
    aml_end(a);
}

static void add_sleep_state(Aml *a, const char *name, unsigned type)
{
    aml_name(a, name);
    aml_package(a, 4);
    aml_int(a, type);
    aml_int(a, type);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_end(a);
}

void dsdt_build(GByteArray *out, const PcHardware *hw)
{
    Aml  aml;
    Aml *a = &aml;

    aml_init(a, out);
    if (hw->wiring->first_gsi) { /* how interrupts are delivered: 0 by the 8259, 1 by the I/O APIC */
        aml_name_int(a, "\\PICF", 0);
        aml_method(a, "\\_PIC", 1, false);
        aml_op(a, AML_STORE), aml_op(a, AML_ARG0), aml_path(a, "PICF");
        aml_end(a);
    }
    aml_scope(a, "\\_SB_");
    if (hw->wiring->pci) {
        dsdt_add_pci(a, hw);
    } else {
        dsdt_add_isa_devices(a, hw);
    }
    if (hw->reduced) {
        dsdt_add_reduced(a, hw);
    }
    dsdt_add_cpus(a, hw);
    if (hw->memory_slots && hw->acpi_pm) {
        dsdt_add_memory(a, hw);
    }
    if (hw->hpet) {
        aml_device(a, "HPET");
        aml_name(a, "_HID"), aml_eisaid(a, "PNP0103");
        aml_name_int(a, "_UID", 0);
        aml_name(a, "_CRS");
        aml_resources(a);
        aml_res_memory32(a, 0xfed00000, 0x400, false);
        aml_end_resources(a);
        aml_end(a);
    }
    if (hw->fw_cfg) {
        aml_device(a, "FWCF");
        aml_name(a, "_HID"), aml_string(a, "QEMU0002");
        aml_name_int(a, "_STA", STA_NO_UI);
        aml_name(a, "_CRS");
        aml_resources(a);
        aml_res_io(a, 0x510, 12);
        aml_end_resources(a);
        aml_end(a);
    }
    aml_end(a);

    if (hw->cpu_hotplug_port) {
        dsdt_add_cpu_event(a);
    }
    if (hw->memory_slots && hw->acpi_pm) {
        dsdt_add_memory_event(a);
    }
    if (hw->acpi_pm || hw->reduced) {
        if (hw->s3) {
            add_sleep_state(a, "\\_S3_", hw->s3_type);
        }
        if (hw->s4) {
            add_sleep_state(a, "\\_S4_", hw->s4_type);
        }
        add_sleep_state(a, "\\_S5_", hw->s5_type);
    }
}
