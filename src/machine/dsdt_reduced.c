/* The DSDT's part that machines with hardware-reduced ACPI have: events, power button, places for virtio devices.
 * Specification: ACPI 6.4 (January 2021), section 5.6.9; the virtio-mmio device "LNRO0005" as Linux and QEMU name it.
 */

#include "devices/acpi/ged.h"
#include "devices/virtio/mmio.h"
#include "machine/dsdt.h"

#include <stdio.h>

static void add_event_device(Aml *a, const PcHardware *hw)
{
    static const AmlFieldUnit units[] = { { "ESEL", 32 } };

    aml_device(a, "GED_");
    aml_name(a, "_HID"), aml_string(a, "ACPI0013");
    aml_name(a, "_UID"), aml_string(a, "GED");
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_event(a, hw->ged_irq);
    aml_end_resources(a);
    aml_region(a, "EREG", AML_REGION_MEMORY, hw->ged_base, 4);
    aml_field(a, "EREG", 4, units, 1);
    aml_method(a, "_EVT", 1, true);
    aml_op(a, AML_STORE), aml_path(a, "ESEL"), aml_op(a, AML_LOCAL0);
    aml_if(a);
    aml_op(a, AML_AND), aml_op(a, AML_LOCAL0), aml_int(a, GED_POWER_DOWN), aml_op(a, AML_ZERO);
    aml_op(a, AML_NOTIFY), aml_path(a, "\\_SB_.PWRB"), aml_int(a, 0x80);
    aml_end(a);
    aml_end(a);
    aml_end(a);
}

static void add_virtio_slot(Aml *a, const PcHardware *hw, unsigned n)
{
    const uint32_t gsi = hw->virtio_mmio_first_gsi + n;
    char           name[8];

    snprintf(name, sizeof name, "VR%02u", n % 100);
    aml_device(a, name);
    aml_name(a, "_HID"), aml_string(a, "LNRO0005");
    aml_name_int(a, "_UID", n);
    aml_name_int(a, "_CCA", 1);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_memory32(a, (uint32_t)(hw->virtio_mmio_base + n * VIRTIO_MMIO_SIZE), VIRTIO_MMIO_SIZE, true);
    aml_res_event(a, gsi);
    aml_end_resources(a);
    aml_end(a);
}

void dsdt_add_reduced(Aml *a, const PcHardware *hw)
{
    aml_device(a, "PWRB");
    aml_name(a, "_HID"), aml_eisaid(a, "PNP0C0C");
    aml_name_int(a, "_UID", 0);
    aml_end(a);
    add_event_device(a, hw);
    for (unsigned i = 0; i < hw->virtio_mmio_slots; i++) {
        add_virtio_slot(a, hw, i);
    }
}
