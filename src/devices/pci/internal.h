/* What the files of this folder share. */

#ifndef QUERN_DEVICES_PCI_INTERNAL_H
#define QUERN_DEVICES_PCI_INTERNAL_H

#include "devices/pci/pci.h"

struct PciBus {
    Bus       *base;
    Platform  *platform;
    PciDevice *devices[256]; /* by devfn; borrowed */
    Region    *memory, *io, *dma;
    PciBusOps  ops;
    unsigned   slots;                   /* devices there is room for */
    unsigned   line_users[PCI_N_LINES]; /* functions that drive the line */
    PciDevice *bridge;                  /* the function that owns this bus; NULL: a host bridge does */
    GPtrArray *children;                /* PciBus *: behind this bus's bridges; borrowed */
};

static inline const PciDeviceInfo *pci_info(const PciDevice *pci)
{
    return device_type(&pci->dev)->bus_info;
}

/* pci.c: what plugging does to a function whose place is known, and the reverse in two steps: before unrealize
 * its BARs are unmapped and its interrupt is released. */
bool pci_device_init(PciDevice *pci, PciBus *bus, uint8_t devfn, Error *err);
void pci_device_disconnect(PciDevice *pci);
void pci_device_exit(PciDevice *pci);

/* Remembers the registers as realize left them. */
void pci_device_take_initial(PciDevice *pci);

/* pci_bus.c: drives or releases the line that the function's pin is on. */
void pci_bus_drive(PciDevice *pci, bool level);
void pci_bus_send_msi(PciDevice *pci, uint64_t addr, uint32_t data);

/* msi.c, msix.c: after the guest wrote configuration bytes [offset, offset + size), or after reset or load. */
void pci_msi_written(PciDevice *pci, unsigned offset, unsigned size);
void pci_msix_written(PciDevice *pci, unsigned offset, unsigned size);
void pci_msix_reset(PciDevice *pci);
void pci_msix_exit(PciDevice *pci);

#endif
