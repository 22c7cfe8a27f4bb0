/* IDE function of the 82371SB (PIIX3), 00:01.1 of pc-i440fx boards: channels with the buses "ide.0" and "ide.1". */

#ifndef QUERN_DEVICES_STORAGE_PIIX3_IDE_H
#define QUERN_DEVICES_STORAGE_PIIX3_IDE_H

#include "devices/pci/pci.h"

enum {
    PIIX3_IDETIM     = 0x40,   /* primary; secondary at 42h */
    PIIX3_IDETIM_IDE = 0x8000, /* the channel is in use */
};

/* On `bus` at devfn. NULL on error. Lives until the machine's devices are freed. Machine lock. */
PciDevice *piix3_ide_create(Platform *platform, PciBus *bus, uint8_t devfn, Error *err);

#endif
