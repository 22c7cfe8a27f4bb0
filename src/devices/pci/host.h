/* What the host bridges of PCs have in common: PCI's memory space, the bus, the ports of configuration mechanism #1,
 * the view of SMM, and function 00.0 with the registers of PAM and SMRAM. Embedded in each bridge's types. Machine lock
 * held. */

#ifndef QUERN_DEVICES_PCI_HOST_H
#define QUERN_DEVICES_PCI_HOST_H

#include "devices/pci/confports.h"
#include "devices/pci/pam.h"

typedef struct PciHostFunction PciHostFunction;

typedef struct PciHost {
    Device  dev;
    PciBus *bus;
    /* The PCI memory space, 2^64; it appears in system_memory at priority -1 (RAM hides it). Boards map firmware ROMs
     * into it (E0000h and below 4 GiB). */
    Region pci_memory;
    /* What a vCPU in SMM sees over its usual view: map an alias of it (offset 0, 4 GiB) with priority 1 while in SMM.
     */
    Region           smram;
    Region          *ram; /* that starts at address 0; the board's */
    PciHostFunction *function;
    /* CF8h to CFBh hear byte and word accesses too, which are none of the host bridge's: the ISA bridge sets
     * ports.reset_control. */
    PciConfigPorts ports;
} PciHost;

/* Function 00.0. */
struct PciHostFunction {
    PciDevice pci;
    PciHost  *host;
    Pam       pam;
    uint8_t   pam_reg, smram_reg; /* configuration registers: PAM0, SMRAM */
};

/* For the device type of the bridge, whose struct is PciHost. */
bool               pci_host_realize(PciHost *host, const char *bus, Error *err);
void               pci_host_unrealize(Device *dev);
void               pci_host_reset(Device *dev, ResetKind kind);
extern const Field pci_host_state[];

/* For that of the function, in its realize: command and status, PAM and SMRAM. The chip's own registers come behind it.
 */
void pci_host_function_init(PciHostFunction *f, uint16_t status, uint8_t pam_reg, uint8_t smram_reg);
/* Makes true what PAM and SMRAM say. */
void pci_host_function_update(PciHostFunction *f);
/* Stores a write to configuration space; SMRAM locks itself. `who` names the bridge in the log. */
void pci_host_function_write(PciHostFunction *f, const char *who, unsigned offset, uint32_t value, unsigned size);

/* Makes the bridge of one type with its function of another, on the board's system bus. `ram` is the region of RAM that
 * starts at address 0 (1 MiB at least; mapped by the board at priority 0). NULL on error. Lives until the machine's
 * objects are freed. */
PciHost *pci_host_create(Platform *platform, const char *type, const char *function, Region *ram, Error *err);

#endif
