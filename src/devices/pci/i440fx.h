/* The 82441FX host bridge: configuration mechanism #1, memory attributes (PAM), SMRAM. See i440fx.c. */

#ifndef QUERN_DEVICES_PCI_I440FX_H
#define QUERN_DEVICES_PCI_I440FX_H

#include "devices/pci/confports.h"

typedef struct I440fx I440fx; /* "i440FX-pcihost", with the function "i440FX" at 00.0 and the bus "pci.0" */

/* Makes the host bridge on the board's system bus and its PCI bus. Below it, `pci_memory` appears in system_memory
 * at priority -1 (RAM hides it), BAR I/O in system_io. `ram` is the region of RAM that starts at address 0 (1 MiB at
 * least; mapped by the board at priority 0): C0000h to FFFFFh show it or PCI as PAM0..PAM6 say.
 * NULL on error. Lives until the machine's objects are freed. */
I440fx *i440fx_create(Platform *platform, Region *ram, Error *err);
PciBus *i440fx_bus(I440fx *host);

/* The PCI memory space, 2^64: the board maps firmware ROMs into it (0xE0000 and below 4 GiB). */
Region *i440fx_pci_memory(I440fx *host);

/* What a vCPU in SMM sees over its usual view: map an alias of it (offset 0, 4 GiB) with priority 1 while in SMM. */
Region *i440fx_smram(I440fx *host);

/* Ports CF8h..CFBh hear byte and word accesses too, which are none of the host bridge's: PIIX3's CF9h. */
void i440fx_on_reset_control(I440fx *host, ResetControl control);

#endif
