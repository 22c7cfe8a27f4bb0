/* What firmware does to PCI before an operating system starts: bus numbers, BARs, bridge windows, interrupt lines. */

#ifndef QUERN_MACHINE_PCISETUP_H
#define QUERN_MACHINE_PCISETUP_H

#include "devices/pci/pci.h"
#include "machine/hardware.h"

typedef struct PciWindows {
    uint64_t io_first, io_last;
    uint64_t mem_first, mem_last;     /* below 4 GiB */
    uint64_t mem64_first, mem64_last; /* for 64-bit prefetchable BARs that do not fit below; both 0: none */
} PciWindows;

/* Sets up everything below `root` through configuration cycles. Interrupt lines get the ISA interrupts that `wiring`
 * says. What does not fit is left without an address, and logged. */
void pci_setup(PciBus *root, const PciWindows *windows, const PcWiring *wiring, const Log *log);

#endif
