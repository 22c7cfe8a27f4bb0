/* The SMBus controller of the ICH9. See ich9_smbus.c. */

#ifndef QUERN_DEVICES_ACPI_ICH9_SMBUS_H
#define QUERN_DEVICES_ACPI_ICH9_SMBUS_H

#include "devices/pci/pci.h"

typedef struct Ich9Smbus Ich9Smbus; /* "ICH9-SMB" */

enum {
    ICH9_SMBUS_BAR   = 4,
    ICH9_SMBUS_HOSTC = 0x40,  /* configuration register; bit 0 enables the host */
    ICH9_SMBUS_PORTS = 0x700, /* suggested */
};

/* Makes it at devfn (1f.3 on q35). */
Ich9Smbus *ich9_smbus_create(Platform *platform, PciBus *bus, uint8_t devfn, Error *err);

#endif
