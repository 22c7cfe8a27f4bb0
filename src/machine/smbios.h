/* SMBIOS tables: what dmidecode shows. */

#ifndef QUERN_MACHINE_SMBIOS_H
#define QUERN_MACHINE_SMBIOS_H

#include "base/json.h"
#include "machine/hardware.h"
#include "machine/tables.h"

#define SMBIOS_ANCHOR_FILE "etc/smbios/smbios-anchor"
#define SMBIOS_TABLES_FILE "etc/smbios/smbios-tables"

/* What the machine is called in tables of type 1, 3 and 4. Strings are borrowed. */
typedef struct SmbiosDefaults {
    const char *manufacturer, *product, *version;
    const char *cpu_version;
    uint8_t     uuid[16]; /* in the order of the text; zeros when -uuid was not given */
    bool        bios; /* describe the BIOS (type 0) even if no option asks for it: there is no firmware that would */
} SmbiosDefaults;

/* Where a PCI device named by slot (type 9's pci_device, type 41's pcidev) sits: devfn on bus 0; false: unknown. */
typedef bool (*SmbiosFindPci)(void *opaque, const char *id, uint8_t *devfn);

/* Adds the entry point (SMBIOS 2.8) and the tables to `tables`. `options` are the -smbios Json objects in order, may
 * be NULL. The entry point's blob, or NULL with an error that begins with the option. */
TableBlob *smbios_build(FirmwareTables *tables, const PcHardware *hw, const SmbiosDefaults *defaults,
                        const GPtrArray *options, SmbiosFindPci find_pci, void *opaque, Error *err);

#endif
