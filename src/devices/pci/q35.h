/* The MCH of the Q35: PCI Express configuration space, memory attributes (PAM), SMRAM and TSEG. See q35.c. */

#ifndef QUERN_DEVICES_PCI_Q35_H
#define QUERN_DEVICES_PCI_Q35_H

#include "devices/pci/confports.h"

typedef struct Q35 Q35; /* "q35-pcihost", with the function "mch" at 00.0 and the bus "pcie.0" */

/* Where configuration space is memory-mapped, as PCIEXBAR says. Disabled after reset; direct boot and firmware enable
 * the 256 MiB at the default. */
#define Q35_ECAM_BASE UINT64_C(0xb0000000)
#define Q35_ECAM_SIZE UINT64_C(0x10000000)

enum {
    Q35_PCIEXBAR        = 0x60, /* configuration registers */
    Q35_PAM0            = 0x90,
    Q35_PCIEXBAR_ENABLE = 1,
};

/* Makes the host bridge. `pci_memory` appears in system_memory at priority -1 (RAM hides it), BAR I/O in system_io.
 * `ram` is the region of RAM that starts at address 0 and ends where TSEG does. NULL on error. */
Q35    *q35_create(Platform *platform, Region *ram, Error *err);
PciBus *q35_bus(Q35 *host);
Region *q35_pci_memory(Q35 *host); /* the board maps firmware ROMs into it */
Region *q35_smram(Q35 *host);      /* what a vCPU in SMM sees over its usual view, from 0 to 4 GiB */

/* Where configuration space is mapped now; false: nowhere. */
bool q35_ecam(const Q35 *host, uint64_t *base, uint64_t *size);

void q35_on_reset_control(Q35 *host, ResetControl control);

#endif
