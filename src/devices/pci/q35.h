/* The MCH of the Q35, with PCI Express configuration space and TSEG: "q35-pcihost", with the function "mch" at 00.0 and
 * the bus "pcie.0". See q35.c. */

#ifndef QUERN_DEVICES_PCI_Q35_H
#define QUERN_DEVICES_PCI_Q35_H

#include "devices/pci/host.h"

/* Where configuration space is memory-mapped, as PCIEXBAR says. Disabled after reset; direct boot and firmware enable
 * the 256 MiB at the default. */
#define Q35_ECAM_BASE UINT64_C(0xb0000000)
#define Q35_ECAM_SIZE UINT64_C(0x10000000)

enum {
    Q35_PCIEXBAR        = 0x60, /* configuration registers */
    Q35_PAM0            = 0x90,
    Q35_PCIEXBAR_ENABLE = 1,
};

/* As pci_host_create() says; `ram` ends where TSEG does. */
PciHost *q35_create(Platform *platform, Region *ram, Error *err);

/* Where configuration space is mapped now; false: nowhere. */
bool q35_ecam(const PciHost *host, uint64_t *base, uint64_t *size);

#endif
