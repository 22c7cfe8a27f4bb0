/* ACPI tables about NUMA, for acpi.c. */

#ifndef QUERN_MACHINE_ACPI_NUMA_H
#define QUERN_MACHINE_ACPI_NUMA_H

#include "machine/hardware.h"
#include "machine/numa.h"

/* Append what follows the header of SRAT (revision 3), SLIT (1) and HMAT (2). hw->numa is there. */
void acpi_srat(GByteArray *out, const PcHardware *hw);
void acpi_slit(GByteArray *out, const PcHardware *hw);
void acpi_hmat(GByteArray *out, const PcHardware *hw);

#endif
