/* Facts about chipsets that firmware tables and direct boot need: see hardware.h.
 * Specification: the data sheets of the chips (devices/pci/piix3.c, devices/pci/ich9_lpc.c). */

#include "devices/acpi/cpu_hotplug.h"
#include "devices/acpi/piix4_pm.h"
#include "devices/pci/ich9_lpc.h"
#include "machine/hardware.h"

static unsigned piix3_pirq(unsigned slot, unsigned pin)
{
    return (slot + 3 + pin) & 3;
}

const PcWiring pc_i440fx_wiring = {
    .pci          = true,
    .pm_base      = PIIX4_PM_BASE,
    .gpe0_base    = PIIX4_GPE0_BASE,
    .gpe0_len     = PIIX4_GPE0_LEN,
    .smi_cmd      = PIIX4_APM_CNT,
    .acpi_enable  = PIIX4_ACPI_ENABLE,
    .acpi_disable = PIIX4_ACPI_DISABLE,
    .pirq         = piix3_pirq,
    .n_pirqs      = 4,
    .irqs         = { 10, 10, 11, 11 },
    .sci_devfn    = PCI_DEVFN(1, 3),
    .isa_devfn    = PCI_DEVFN(1, 0),
    .pm_devfn     = PCI_DEVFN(1, 3),

    .cpu_hotplug_port = CPU_HOTPLUG_PORT_PIIX4,
};

const PcWiring pc_q35_wiring = {
    .pci          = true,
    .express      = true,
    .pm_base      = ICH9_PM_BASE,
    .gpe0_base    = ICH9_PM_BASE + ICH9_GPE0_OFFSET,
    .gpe0_len     = ICH9_GPE0_LEN,
    .smi_cmd      = ICH9_APM_CNT,
    .acpi_enable  = ICH9_ACPI_ENABLE,
    .acpi_disable = ICH9_ACPI_DISABLE,
    .pirq         = ich9_pirq,
    .n_pirqs      = ICH9_PIRQS,
    .irqs         = { 10, 10, 11, 11, 10, 10, 11, 11 },
    .first_gsi    = ICH9_FIRST_GSI,
    .isa_devfn    = PCI_DEVFN(31, 0),

    .cpu_hotplug_port = CPU_HOTPLUG_PORT_ICH9,
};
