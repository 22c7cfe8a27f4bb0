/* The DSDT of a PC: what an operating system cannot find out by itself about the i440FX, PIIX3 and PIIX4.
 * Specification: ACPI 6.4 (January 2021), chapters 5 to 7; PCI Firmware Specification 3.3 for _CRS of the host bridge.
 */

#include "machine/acpi.h"
#include "machine/aml.h"

#include <stdio.h>

enum {
    STA_PRESENT  = 0x0f,
    STA_NO_UI    = 0x0b,
    STA_DISABLED = 0x09,
    LINK_OFF     = 0x80, /* PIRQRC bit 7: not routed */
};

/* Resources that PCI devices may be given, and the configuration ports, which the bridge itself takes. */
static void add_host_resources(Aml *a, const PcHardware *hw)
{
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_bus(a, 0, 0xff);
    aml_res_io(a, 0xcf8, 8);
    aml_res_io_window(a, 0, 0xcf7);
    aml_res_io_window(a, 0xd00, 0xffff);
    aml_res_memory_window(a, 0xa0000, 0xbffff, true);
    aml_res_memory_window(a, hw->pci32_first, hw->pci32_last, false);
    if (hw->pci64_last) {
        aml_res_memory_window(a, hw->pci64_first, hw->pci64_last, true);
    }
    aml_end_resources(a);
}

/* Package of {address, pin, link, 0}: all 32 slots, four pins each. Pin A of slot 1 is the SCI's. */
static void add_prt(Aml *a)
{
    static const char *const links[] = { "LNKA", "LNKB", "LNKC", "LNKD" };

    aml_name(a, "_PRT");
    aml_package(a, 128);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_path(a, slot == 1 && pin == 0 ? "LNKS" : links[pc_pirq(slot, pin)]);
            aml_int(a, 0);
            aml_end(a);
        }
    }
    aml_end(a);
}

/* One PIRQ of the ISA bridge: its routing register says which ISA interrupt it raises. */
static void add_link(Aml *a, unsigned n)
{
    static const uint32_t choices[] = { 5, 10, 11 };
    static const uint32_t none      = 0;
    char                  name[5]   = { 'L', 'N', 'K', (char)('A' + n), 0 };
    char                  reg[5]    = { 'P', 'R', 'Q', (char)('0' + n), 0 };

    aml_device(a, name);
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0C0F");
    aml_name_int(a, "_UID", n);
    aml_name(a, "_PRS");
    aml_resources(a);
    aml_res_interrupts(a, choices, 3);
    aml_end_resources(a);

    aml_method(a, "_STA", 0, false);
    aml_if(a);
    aml_op(a, AML_AND), aml_path(a, reg), aml_int(a, LINK_OFF), aml_op(a, AML_ZERO);
    aml_op(a, AML_RETURN), aml_int(a, STA_DISABLED);
    aml_end(a);
    aml_op(a, AML_RETURN), aml_int(a, STA_NO_UI);
    aml_end(a);

    aml_method(a, "_DIS", 0, false);
    aml_op(a, AML_OR), aml_path(a, reg), aml_int(a, LINK_OFF), aml_path(a, reg);
    aml_end(a);

    /* The interrupt number lies 5 bytes into the one descriptor of the template. */
    aml_method(a, "_CRS", 0, true);
    aml_name(a, "PRR0");
    aml_resources(a);
    aml_res_interrupts(a, &none, 1);
    aml_end_resources(a);
    aml_op(a, AML_CREATE_DWORD_FIELD), aml_path(a, "PRR0"), aml_int(a, 5), aml_path(a, "PRRI");
    aml_if(a);
    aml_op(a, AML_LLESS), aml_path(a, reg), aml_int(a, LINK_OFF);
    aml_op(a, AML_STORE), aml_path(a, reg), aml_path(a, "PRRI");
    aml_end(a);
    aml_op(a, AML_RETURN), aml_path(a, "PRR0");
    aml_end(a);

    aml_method(a, "_SRS", 1, true);
    aml_op(a, AML_CREATE_DWORD_FIELD), aml_op(a, AML_ARG0), aml_int(a, 5), aml_path(a, "PRRI");
    aml_op(a, AML_STORE), aml_path(a, "PRRI"), aml_path(a, reg);
    aml_end(a);
    aml_end(a);
}

/* The power management function's interrupt does not go through the routing registers. */
static void add_sci_link(Aml *a)
{
    static const uint32_t sci = PC_SCI_IRQ;

    aml_device(a, "LNKS");
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0C0F");
    aml_name_int(a, "_UID", 4);
    aml_name_int(a, "_STA", STA_NO_UI);
    for (unsigned i = 0; i < 2; i++) {
        aml_name(a, i ? "_CRS" : "_PRS");
        aml_resources(a);
        aml_res_interrupts(a, &sci, 1);
        aml_end_resources(a);
    }
    aml_method(a, "_SRS", 1, false);
    aml_end(a);
    aml_method(a, "_DIS", 0, false);
    aml_end(a);
    aml_end(a);
}

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

static void add_isa_bridge(Aml *a, const PcHardware *hw)
{
    aml_device(a, "ISA_");
    aml_name_int(a, "_ADR", 0x10000);
    aml_region(a, "P40C", AML_REGION_PCI, 0x60, 4);
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
    aml_end(a);
}

static void add_pci(Aml *a, const PcHardware *hw)
{
    aml_device(a, "PCI0");
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0A03");
    aml_name_int(a, "_UID", 0);
    add_host_resources(a, hw);
    add_prt(a);
    add_isa_bridge(a, hw);
    if (hw->acpi_pm) {
        aml_device(a, "PM__");
        aml_name_int(a, "_ADR", 0x10003);
        aml_end(a);
    }
    aml_end(a);
}

static void add_cpus(Aml *a, const PcHardware *hw)
{
    aml_device(a, "CPUS");
    aml_name(a, "_HID"), aml_string(a, "ACPI0010");
    aml_name(a, "_CID"), aml_eisaid(a, "PNP0A05");
    for (unsigned i = 0; i < hw->cpus; i++) {
        char name[8];
        snprintf(name, sizeof name, "C%03X", i & 0xfff);
        aml_device(a, name);
        aml_name(a, "_HID"), aml_string(a, "ACPI0007");
        aml_name_int(a, "_UID", i);
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
    static const AmlFieldUnit pirqs[] = { { "PRQ0", 8 }, { "PRQ1", 8 }, { "PRQ2", 8 }, { "PRQ3", 8 } };
    Aml                       aml;
    Aml                      *a = &aml;

    aml_init(a, out);
    aml_scope(a, "\\_SB_");
    add_pci(a, hw);
    aml_field(a, "PCI0.ISA_.P40C", 1, pirqs, G_N_ELEMENTS(pirqs));
    for (unsigned i = 0; i < 4; i++) {
        add_link(a, i);
    }
    add_sci_link(a);
    add_cpus(a, hw);
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

    if (hw->acpi_pm) {
        if (hw->s3) {
            add_sleep_state(a, "\\_S3_", hw->s3_type);
        }
        if (hw->s4) {
            add_sleep_state(a, "\\_S4_", hw->s4_type);
        }
        add_sleep_state(a, "\\_S5_", hw->s5_type);
    }
}
