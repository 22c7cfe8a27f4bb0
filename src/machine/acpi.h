/* ACPI tables of a PC, built as relocatable blobs. */

#ifndef QUERN_MACHINE_ACPI_H
#define QUERN_MACHINE_ACPI_H

#include "base/json.h"
#include "machine/hardware.h"
#include "machine/tables.h"

/* The fw_cfg names of the blobs. */
#define ACPI_TABLES_FILE "etc/acpi/tables"
#define ACPI_FACS_FILE   "etc/acpi/facs"
#define ACPI_RSDP_FILE   "etc/acpi/rsdp"

/* Adds RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, HPET, SRAT, SLIT, HMAT and WAET to `tables`, and what -acpitable gave
 * (`user`: Json objects as GPtrArray, may be NULL). Returns the RSDP's blob, NULL with an error that names the option.
 */
TableBlob *acpi_build(FirmwareTables *tables, const PcHardware *hw, const GPtrArray *user, Error *err);

/* Brings the MADT up to date with which vCPUs are there (hw->present). `applied`: firmware_tables_apply() has been
 * called. Returns the blob that has changed. */
const TableBlob *acpi_update_cpus(FirmwareTables *tables, const PcHardware *hw, bool applied);

/* The AML of the DSDT, header not included (dsdt.c). */
void dsdt_build(GByteArray *out, const PcHardware *hw);

#endif
