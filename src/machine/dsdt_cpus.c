/* The DSDT's part about processors: one device for each that there can be. Where they come and go, another one for the
 * registers with the methods that use them.
 * Specification: ACPI 6.4 (January 2021), sections 5.2.12, 6.2.10 and 8.4; QEMU, docs/specs/acpi_cpu_hotplug (2024). */

#include "base/bytes.h"
#include "devices/acpi/cpu_hotplug.h"
#include "machine/dsdt.h"
#include "machine/numa.h"

#include <stdio.h>

enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT = 3 };

static void cpu_name(char name[8], unsigned n)
{
    snprintf(name, 8, "C%03X", n & 0xfff);
}

/* The registers, once as they are read and once as they are written where that differs. Reading the selector's place
 * says something else, so it is only stored to. */
static void add_registers(Aml *a, const PcHardware *hw)
{
    static const AmlFieldUnit words[] = { { "CSEL", 32 }, { "", 32 }, { "CDAT", 32 } };
    static const AmlFieldUnit flags[] = {
        { "", 8 * CPU_HOTPLUG_FLAGS }, { "CENA", 1 }, { "CINS", 1 }, { "CRMV", 1 }, { "CEJE", 1 }
    };
    static const AmlFieldUnit command[] = { { "", 8 * CPU_HOTPLUG_COMMAND }, { "CCMD", 8 } };

    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, hw->cpu_hotplug_port, CPU_HOTPLUG_SIZE);
    aml_end_resources(a);
    aml_region(a, "CREG", AML_REGION_IO, hw->cpu_hotplug_port, CPU_HOTPLUG_SIZE);
    aml_field(a, "CREG", 4, words, G_N_ELEMENTS(words));
    aml_field_zeros(a, "CREG", 1, flags, G_N_ELEMENTS(flags));
    aml_field(a, "CREG", 1, command, G_N_ELEMENTS(command));
    aml_mutex(a, "CLCK");

    /* The first 0 asks for these registers, the second is a valid selector in any case. */
    aml_method(a, "_INI", 0, true);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_path(a, "CSEL");
    aml_op(a, AML_STORE), aml_int(a, 0), aml_path(a, "CSEL");
    aml_end(a);
}

/* A method about the vCPU that its first argument names, which is selected with the lock taken. */
static void begin_method(Aml *a, const char *name, unsigned args)
{
    aml_method(a, name, args, true);
    aml_acquire(a, "CLCK");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG0), aml_path(a, "CSEL");
}

static void add_methods(Aml *a)
{
    begin_method(a, "CSTA", 1);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL0);
    aml_if(a);
    aml_path(a, "CENA");
    aml_op(a, AML_STORE), aml_int(a, STA_PRESENT), aml_op(a, AML_LOCAL0);
    aml_end(a);
    aml_release(a, "CLCK");
    aml_op(a, AML_RETURN), aml_op(a, AML_LOCAL0);
    aml_end(a);

    begin_method(a, "CEJT", 1);
    aml_op(a, AML_STORE), aml_int(a, 1), aml_path(a, "CEJE");
    aml_release(a, "CLCK");
    aml_end(a);

    begin_method(a, "COST", 3);
    aml_op(a, AML_STORE), aml_int(a, CPU_COMMAND_OST_EVENT), aml_path(a, "CCMD");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG1), aml_path(a, "CDAT");
    aml_op(a, AML_STORE), aml_int(a, CPU_COMMAND_OST_STATUS), aml_path(a, "CCMD");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG2), aml_path(a, "CDAT");
    aml_release(a, "CLCK");
    aml_end(a);
}

/* Tells of what has happened to the selected one, that it has been told, and to look for more. */
static void add_told(Aml *a, const char *flag, unsigned what)
{
    aml_if(a);
    aml_path(a, flag);
    aml_path(a, "CNFY"), aml_path(a, "CDAT"), aml_int(a, what);
    aml_op(a, AML_STORE), aml_int(a, 1), aml_path(a, flag);
    aml_op(a, AML_STORE), aml_int(a, 1), aml_op(a, AML_LOCAL0);
    aml_end(a);
}

static void add_scan_methods(Aml *a, unsigned cpus)
{
    dsdt_add_notify(a, "CNFY", cpus, cpu_name);

    begin_method(a, "CSCN", 1);
    aml_op(a, AML_STORE), aml_int(a, 1), aml_op(a, AML_LOCAL0);
    aml_while(a);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_LOCAL0), aml_int(a, 1);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL0);
    aml_op(a, AML_STORE), aml_int(a, CPU_COMMAND_NEXT), aml_path(a, "CCMD");
    add_told(a, "CINS", NOTIFY_DEVICE_CHECK);
    add_told(a, "CRMV", NOTIFY_EJECT);
    aml_end(a);
    aml_release(a, "CLCK");
    aml_end(a);
}

/* The MADT's entry of the processor, enabled. */
static void add_mat(Aml *a, uint32_t uid, uint32_t apic_id)
{
    uint8_t entry[16] = { 0 };
    bool    x2        = apic_id >= 255 || uid >= 255;
    if (x2) {
        entry[0] = 9;
        entry[1] = 16;
        store_le32(entry + 4, apic_id);
        store_le32(entry + 8, 1);
        store_le32(entry + 12, uid);
    } else {
        entry[1] = 8;
        entry[2] = (uint8_t)uid;
        entry[3] = (uint8_t)apic_id;
        store_le32(entry + 4, 1);
    }
    aml_name(a, "_MAT"), aml_buffer(a, entry, entry[1]);
}

static void add_cpu(Aml *a, const PcHardware *hw, unsigned n)
{
    char name[8];
    cpu_name(name, n);
    aml_device(a, name);
    aml_name(a, "_HID"), aml_string(a, "ACPI0007");
    aml_name_int(a, "_UID", n);
    if (hw->cpu_hotplug_port) {
        aml_method(a, "_STA", 0, true);
        aml_op(a, AML_RETURN), aml_path(a, "CSTA"), aml_int(a, n);
        aml_end(a);
        add_mat(a, n, hw->apic_ids[n]);
        if (n) {
            aml_method(a, "_EJ0", 1, false);
            aml_path(a, "CEJT"), aml_int(a, n);
            aml_end(a);
        }
        aml_method(a, "_OST", 3, true);
        aml_path(a, "COST"), aml_int(a, n), aml_op(a, AML_ARG0), aml_op(a, AML_ARG1);
        aml_end(a);
    }
    if (hw->numa) {
        aml_name_int(a, "_PXM", (uint64_t)hw->numa->cpu_node[n]);
    }
    aml_end(a);
}

void dsdt_add_cpus(Aml *a, const PcHardware *hw)
{
    aml_device(a, "CPUS");
    aml_name(a, "_HID"), aml_string(a, "ACPI0010");
    aml_name(a, "_CID"), aml_eisaid(a, "PNP0A05");
    if (hw->cpu_hotplug_port) {
        add_registers(a, hw);
        add_methods(a);
    }
    for (unsigned i = 0; i < hw->cpus; i++) {
        add_cpu(a, hw, i);
    }
    if (hw->cpu_hotplug_port) {
        add_scan_methods(a, hw->cpus);
    }
    aml_end(a);
}

void dsdt_add_cpu_event(Aml *a)
{
    aml_scope(a, "\\_GPE");
    aml_method(a, "_E02", 0, false);
    aml_path(a, "\\_SB_.CPUS.CSCN"), aml_int(a, 0);
    aml_end(a);
    aml_end(a);
}
