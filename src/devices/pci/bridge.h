/* PCI-to-PCI bridges: the bus behind, and the windows through which its functions are reached. Embedded first in the
 * bridge's struct. Machine lock held. */

#ifndef QUERN_DEVICES_PCI_BRIDGE_H
#define QUERN_DEVICES_PCI_BRIDGE_H

#include "devices/pci/pci.h"

typedef struct PciBridge {
    PciDevice pci;
    PciBus   *bus;
    Region    memory, io;      /* what functions behind map their BARs into */
    Region    dma, dma_window; /* what they reach as bus masters: nothing unless the bridge is one */
    struct {
        Region   region; /* alias of memory or io in the bus above */
        bool     mapped;
        uint64_t base, size;
    } windows[3];
} PciBridge;

/* For realize, unrealize, reset and post_load of the type, and config_write of its PciDeviceInfo (.bridge). The bus is
 * named after the device's id, or pci.N. */
void pci_bridge_init(PciBridge *bridge);
void pci_bridge_exit(PciBridge *bridge);
void pci_bridge_reset(Device *dev, ResetKind kind);
bool pci_bridge_post_load(Device *dev, Error *err);
void pci_bridge_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size);

#endif
