/* The PCI part of the DSDT: host bridge, its resources and interrupts, and who controls PCI Express.
 * Specification: ACPI 6.4 (January 2021), chapters 5 to 7; PCI Firmware Specification 3.3, section 4.5 for _OSC and
 * chapter 4 for _CRS of the host bridge. */

#include "machine/dsdt.h"

enum {
    LINK_OFF = 0x80, /* PIRQRC bit 7: not routed */

    /* _OSC, bits of the first dword: what went wrong */
    OSC_UNKNOWN_UUID     = 1 << 2,
    OSC_UNKNOWN_REVISION = 1 << 3,
    OSC_MASKED           = 1 << 4,
    /* control that operating systems get: SHPC hotplug, PME, AER, PCI Express capability; not native hotplug */
    OSC_GRANTED = 0x1e,
};

static const char *const gsi_names[]      = { "GSIA", "GSIB", "GSIC", "GSID", "GSIE", "GSIF", "GSIG", "GSIH" };
static const char *const link_names[]     = { "LNKA", "LNKB", "LNKC", "LNKD", "LNKE", "LNKF", "LNKG", "LNKH" };
static const char *const register_names[] = { "PRQ0", "PRQ1", "PRQ2", "PRQ3", "PRQ4", "PRQ5", "PRQ6", "PRQ7" };

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
    if (hw->pci32_low_last) {
        aml_res_memory_window(a, hw->pci32_low_first, hw->pci32_low_last, false);
    }
    aml_res_memory_window(a, hw->pci32_first, hw->pci32_last, false);
    if (hw->pci64_last) {
        aml_res_memory_window(a, hw->pci64_first, hw->pci64_last, true);
    }
    aml_end_resources(a);
}

/* Package of {address, pin, link, 0}: all 32 slots, four pins each. */
static void add_prt(Aml *a, const PcWiring *w, const char *name, const char *const links[])
{
    aml_name(a, name);
    aml_package(a, 128);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            bool sci = w->sci_devfn && slot == w->sci_devfn >> 3 && pin == 0;
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_path(a, sci ? "LNKS" : links[w->pirq(slot, pin)]);
            aml_int(a, 0);
            aml_end(a);
        }
    }
    aml_end(a);
}

/* With inputs of their own on the I/O APIC, interrupts go there when the operating system says that it uses it. */
static void add_routing(Aml *a, const PcWiring *w)
{
    if (!w->first_gsi) {
        add_prt(a, w, "_PRT", link_names);
        return;
    }
    add_prt(a, w, "PRTP", link_names);
    add_prt(a, w, "PRTA", gsi_names);
    aml_method(a, "_PRT", 0, false);
    aml_if(a);
    aml_path(a, "PICF");
    aml_op(a, AML_RETURN), aml_path(a, "PRTA");
    aml_end(a);
    aml_op(a, AML_RETURN), aml_path(a, "PRTP");
    aml_end(a);
}

/* Who controls what of PCI Express: the operating system asks with a buffer of three dwords. */
static void add_osc(Aml *a)
{
    static const uint8_t     uuid[16] = { 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                          0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66 };
    static const char *const dwords[] = { "CDW1", "CDW2", "CDW3" };

    aml_method(a, "_OSC", 4, true);
    aml_op(a, AML_CREATE_DWORD_FIELD), aml_op(a, AML_ARG3), aml_int(a, 0), aml_path(a, dwords[0]);
    aml_if(a);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_ARG0), aml_buffer(a, uuid, sizeof uuid);
    aml_op(a, AML_CREATE_DWORD_FIELD), aml_op(a, AML_ARG3), aml_int(a, 4), aml_path(a, dwords[1]);
    aml_op(a, AML_CREATE_DWORD_FIELD), aml_op(a, AML_ARG3), aml_int(a, 8), aml_path(a, dwords[2]);
    aml_op(a, AML_AND), aml_path(a, "CDW3"), aml_int(a, OSC_GRANTED), aml_op(a, AML_LOCAL0);
    aml_if(a);
    aml_op(a, AML_LNOT), aml_op(a, AML_LEQUAL), aml_op(a, AML_ARG1), aml_int(a, 1);
    aml_op(a, AML_OR), aml_path(a, "CDW1"), aml_int(a, OSC_UNKNOWN_REVISION), aml_path(a, "CDW1");
    aml_end(a);
    aml_if(a);
    aml_op(a, AML_LNOT), aml_op(a, AML_LEQUAL), aml_path(a, "CDW3"), aml_op(a, AML_LOCAL0);
    aml_op(a, AML_OR), aml_path(a, "CDW1"), aml_int(a, OSC_MASKED), aml_path(a, "CDW1");
    aml_end(a);
    aml_op(a, AML_STORE), aml_op(a, AML_LOCAL0), aml_path(a, "CDW3");
    aml_end(a);
    aml_else(a);
    aml_op(a, AML_OR), aml_path(a, "CDW1"), aml_int(a, OSC_UNKNOWN_UUID), aml_path(a, "CDW1");
    aml_end(a);
    aml_op(a, AML_RETURN), aml_op(a, AML_ARG3);
    aml_end(a);
}

/* One PIRQ of the ISA bridge: its routing register says which ISA interrupt it raises. */
static void add_link(Aml *a, unsigned n)
{
    static const uint32_t choices[] = { 5, 10, 11 };
    static const uint32_t none      = 0;
    const char           *reg       = register_names[n];

    aml_device(a, link_names[n]);
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

/* An interrupt that cannot be chosen: the SCI of a power management function, an input of the I/O APIC. */
static void add_fixed_link(Aml *a, const char *name, unsigned uid, uint32_t interrupt)
{
    aml_device(a, name);
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0C0F");
    aml_name_int(a, "_UID", uid);
    aml_name_int(a, "_STA", STA_NO_UI);
    for (unsigned i = 0; i < 2; i++) {
        aml_name(a, i ? "_CRS" : "_PRS");
        aml_resources(a);
        aml_res_interrupts(a, &interrupt, 1);
        aml_end_resources(a);
    }
    aml_method(a, "_SRS", 1, false);
    aml_end(a);
    aml_method(a, "_DIS", 0, false);
    aml_end(a);
    aml_end(a);
}

static void add_links(Aml *a, const PcWiring *w)
{
    AmlFieldUnit units[9];
    unsigned     n = 0;
    for (unsigned i = 0; i < w->n_pirqs; i++) {
        if (i == 4) {
            units[n++] = (AmlFieldUnit){ "", 32 }; /* 64h to 67h are others */
        }
        units[n++] = (AmlFieldUnit){ register_names[i], 8 };
    }
    aml_field(a, "PCI0.ISA_.PIRQ", 1, units, n);
    for (unsigned i = 0; i < w->n_pirqs; i++) {
        add_link(a, i);
    }
    for (unsigned i = 0; i < w->n_pirqs && w->first_gsi; i++) {
        add_fixed_link(a, gsi_names[i], w->first_gsi + i, w->first_gsi + i);
    }
    if (w->sci_devfn) {
        add_fixed_link(a, "LNKS", w->n_pirqs, PC_SCI_IRQ);
    }
}

static uint32_t address_of(uint8_t devfn)
{
    return (uint32_t)(devfn >> 3) << 16 | (devfn & 7);
}

/* The memory of configuration space belongs to nobody else (PCI Firmware Specification 3.3, section 4.1.2). */
static void add_ecam(Aml *a, const PcHardware *hw)
{
    aml_device(a, "DRAC");
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0C01");
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_memory32(a, (uint32_t)hw->ecam_base, (uint32_t)hw->ecam_size, true);
    aml_end_resources(a);
    aml_end(a);
}

void dsdt_add_pci(Aml *a, const PcHardware *hw)
{
    const PcWiring *w = hw->wiring;

    aml_device(a, "PCI0");
    aml_name(a, "_HID"), aml_eisaid(a, w->express ? "PNP0A08" : "PNP0A03");
    if (w->express) {
        aml_name(a, "_CID"), aml_eisaid(a, "PNP0A03");
        add_osc(a);
    }
    aml_name_int(a, "_UID", 0);
    add_host_resources(a, hw);
    add_routing(a, w);
    aml_device(a, "ISA_");
    aml_name_int(a, "_ADR", address_of(w->isa_devfn));
    aml_region(a, "PIRQ", AML_REGION_PCI, 0x60, w->n_pirqs > 4 ? 12 : 4);
    dsdt_add_isa_devices(a, hw);
    aml_end(a);
    if (hw->acpi_pm && w->pm_devfn) {
        aml_device(a, "PM__");
        aml_name_int(a, "_ADR", address_of(w->pm_devfn));
        aml_end(a);
    }
    aml_end(a);
    if (hw->ecam_size) {
        add_ecam(a, hw);
    }
    add_links(a, w);
}
