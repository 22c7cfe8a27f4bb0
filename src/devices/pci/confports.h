/* Ports CF8h and CFCh of a host bridge: PCI configuration mechanism #1. Embedded in the bridge. Machine lock held. */

#ifndef QUERN_DEVICES_PCI_CONFPORTS_H
#define QUERN_DEVICES_PCI_CONFPORTS_H

#include "devices/pci/pci.h"

/* CF9h, a byte in the middle of the address register that is the ISA bridge's: the reset control register. */
typedef struct ResetControl {
    uint8_t (*read)(void *opaque); /* NULL: nobody is there */
    void (*write)(void *opaque, uint8_t value);
    void *opaque;
} ResetControl;

typedef struct PciConfigPorts {
    PciBus      *bus;
    Region       address, data;
    uint32_t     confadd; /* CF8h; saved by the bridge */
    ResetControl reset_control;
} PciConfigPorts;

void pci_config_ports_init(PciConfigPorts *ports, Platform *platform, PciBus *bus);
void pci_config_ports_destroy(PciConfigPorts *ports);

#endif
