/* The DSDT's part about memory slots: one device for the registers with the methods that use them, one for each slot.
 * Specification: ACPI 6.4 (January 2021), section 9.11; QEMU, docs/specs/acpi_mem_hotplug (2024). */

#include "devices/acpi/memory_hotplug.h"
#include "machine/dsdt.h"

#include <stdio.h>

enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT = 3 };

static void slot_name(char name[8], unsigned n)
{
    snprintf(name, 8, "MP%02X", n & 0xff);
}

/* The registers, once as they are read and once as they are written. */
static void add_registers(Aml *a)
{
    static const AmlFieldUnit read[] = {
        { "MRAL", 32 }, { "MRAH", 32 }, { "MRLL", 32 }, { "MRLH", 32 }, { "MPXN", 32 }
    };
    static const AmlFieldUnit write[] = { { "MSEL", 32 }, { "MOEV", 32 }, { "MOSC", 32 } };
    static const AmlFieldUnit flags[] = {
        { "", 8 * MEMORY_HOTPLUG_FLAGS }, { "MENA", 1 }, { "MINS", 1 }, { "MRMV", 1 }, { "MEJE", 1 }
    };
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, MEMORY_HOTPLUG_PORT, MEMORY_HOTPLUG_SIZE);
    aml_end_resources(a);
    aml_region(a, "MREG", AML_REGION_IO, MEMORY_HOTPLUG_PORT, MEMORY_HOTPLUG_SIZE);
    aml_field(a, "MREG", 4, read, G_N_ELEMENTS(read));
    aml_field(a, "MREG", 4, write, G_N_ELEMENTS(write));
    aml_field_zeros(a, "MREG", 1, flags, G_N_ELEMENTS(flags));
    aml_mutex(a, "MLCK");
}

/* A method about the slot that its first argument names, which is selected with the lock taken. */
static void begin_slot_method(Aml *a, const char *name, unsigned args)
{
    aml_method(a, name, args, true);
    aml_acquire(a, "MLCK");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG0), aml_path(a, "MSEL");
}

static void end_slot_method(Aml *a, bool returns)
{
    aml_release(a, "MLCK");
    if (returns) {
        aml_op(a, AML_RETURN), aml_op(a, AML_LOCAL0);
    }
    aml_end(a);
}

static void add_status_method(Aml *a)
{
    begin_slot_method(a, "MSTA", 1);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL0);
    aml_if(a);
    aml_path(a, "MENA");
    aml_op(a, AML_STORE), aml_int(a, STA_PRESENT), aml_op(a, AML_LOCAL0);
    aml_end(a);
    end_slot_method(a, true);
}

/* target = high << 32 | low */
static void join_halves(Aml *a, const char *low, const char *high, const char *target)
{
    aml_op(a, AML_SHIFT_LEFT), aml_path(a, high), aml_int(a, 32), aml_op(a, AML_LOCAL1);
    aml_op(a, AML_OR), aml_op(a, AML_LOCAL1), aml_path(a, low), aml_path(a, target);
}

static void add_resources_method(Aml *a)
{
    begin_slot_method(a, "MCRS", 1);
    aml_name(a, "MR64");
    aml_resources(a);
    aml_res_memory64(a);
    aml_end_resources(a);
    aml_op(a, AML_CREATE_QWORD_FIELD), aml_path(a, "MR64"), aml_int(a, 14), aml_path(a, "MMIN");
    aml_op(a, AML_CREATE_QWORD_FIELD), aml_path(a, "MR64"), aml_int(a, 22), aml_path(a, "MMAX");
    aml_op(a, AML_CREATE_QWORD_FIELD), aml_path(a, "MR64"), aml_int(a, 38), aml_path(a, "MLEN");
    join_halves(a, "MRAL", "MRAH", "MMIN");
    join_halves(a, "MRLL", "MRLH", "MLEN");
    aml_op(a, AML_ADD), aml_path(a, "MMIN"), aml_path(a, "MLEN"), aml_op(a, AML_LOCAL1);
    aml_op(a, AML_SUBTRACT), aml_op(a, AML_LOCAL1), aml_int(a, 1), aml_path(a, "MMAX");
    aml_op(a, AML_STORE), aml_path(a, "MR64"), aml_op(a, AML_LOCAL0);
    end_slot_method(a, true);
}

static void add_other_methods(Aml *a)
{
    begin_slot_method(a, "MPXM", 1);
    aml_op(a, AML_STORE), aml_path(a, "MPXN"), aml_op(a, AML_LOCAL0);
    end_slot_method(a, true);

    begin_slot_method(a, "MOST", 3);
    aml_op(a, AML_STORE), aml_op(a, AML_ARG1), aml_path(a, "MOEV");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG2), aml_path(a, "MOSC");
    end_slot_method(a, false);

    begin_slot_method(a, "MEJ0", 1);
    aml_op(a, AML_STORE), aml_int(a, 1), aml_path(a, "MEJE");
    end_slot_method(a, false);
}

/* Tells of what has happened to a slot, and that it has been told. */
static void add_told(Aml *a, const char *flag, unsigned what)
{
    aml_if(a);
    aml_path(a, flag);
    aml_path(a, "MNFY"), aml_op(a, AML_LOCAL0), aml_int(a, what);
    aml_op(a, AML_STORE), aml_int(a, 1), aml_path(a, flag);
    aml_end(a);
}

static void add_scan_methods(Aml *a, unsigned slots)
{
    dsdt_add_notify(a, "MNFY", slots, slot_name);

    aml_method(a, "MSCN", 0, true);
    aml_acquire(a, "MLCK");
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL0);
    aml_while(a);
    aml_op(a, AML_LLESS), aml_op(a, AML_LOCAL0), aml_int(a, slots);
    aml_op(a, AML_STORE), aml_op(a, AML_LOCAL0), aml_path(a, "MSEL");
    add_told(a, "MINS", NOTIFY_DEVICE_CHECK);
    add_told(a, "MRMV", NOTIFY_EJECT);
    aml_op(a, AML_INCREMENT), aml_op(a, AML_LOCAL0);
    aml_end(a);
    aml_release(a, "MLCK");
    aml_end(a);
}

static void add_slot(Aml *a, unsigned n)
{
    static const struct {
        const char *name, *method;
        unsigned    args; /* given on, after the slot */
        bool        returns;
    } methods[] = {
        { "_STA", "MSTA", 0, true },
        { "_CRS", "MCRS", 0, true },
        { "_PXM", "MPXM", 0, true },
    };
    char name[8];
    slot_name(name, n);
    aml_device(a, name);
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0C80");
    aml_name_int(a, "_UID", n);
    for (unsigned i = 0; i < G_N_ELEMENTS(methods); i++) {
        aml_method(a, methods[i].name, 0, false);
        aml_op(a, AML_RETURN), aml_path(a, methods[i].method), aml_int(a, n);
        aml_end(a);
    }
    aml_method(a, "_OST", 3, false);
    aml_path(a, "MOST"), aml_int(a, n), aml_op(a, AML_ARG0), aml_op(a, AML_ARG1);
    aml_end(a);
    aml_method(a, "_EJ0", 1, false);
    aml_path(a, "MEJ0"), aml_int(a, n);
    aml_end(a);
    aml_end(a);
}

void dsdt_add_memory(Aml *a, const PcHardware *hw)
{
    aml_device(a, "MHPC");
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0A06");
    aml_name(a, "_UID"), aml_string(a, "Memory slots");
    add_registers(a);
    add_status_method(a);
    add_resources_method(a);
    add_other_methods(a);
    for (unsigned i = 0; i < hw->memory_slots; i++) {
        add_slot(a, i);
    }
    add_scan_methods(a, hw->memory_slots);
    aml_end(a);
}

void dsdt_add_memory_event(Aml *a)
{
    aml_scope(a, "\\_GPE");
    aml_method(a, "_E03", 0, false);
    aml_path(a, "\\_SB_.MHPC.MSCN");
    aml_end(a);
    aml_end(a);
}
