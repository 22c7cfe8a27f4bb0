/* The MultiProcessor table, for guests that run without ACPI. */

#ifndef QUERN_MACHINE_MPTABLE_H
#define QUERN_MACHINE_MPTABLE_H

#include "machine/hardware.h"
#include "machine/tables.h"

/* Adds the floating pointer and the configuration table. PCI interrupts are listed as direct boot routes them. vCPUs
 * with APIC IDs above 254 cannot be described and are left out. */
void mptable_build(FirmwareTables *tables, const PcHardware *hw);

#endif
