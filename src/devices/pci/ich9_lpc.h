/* The LPC bridge of the ICH9: interrupt routing, power management, TCO, chipset configuration registers. See
 * ich9_lpc.c. */

#ifndef QUERN_DEVICES_PCI_ICH9_LPC_H
#define QUERN_DEVICES_PCI_ICH9_LPC_H

#include "devices/acpi/ich9_pm.h"
#include "devices/acpi/ich9_smi.h"
#include "devices/pci/q35.h"

typedef struct Ich9Lpc Ich9Lpc; /* "ICH9-LPC" at 1f.0, multifunction, with the bus "isa.0" */

enum {
    ICH9_PMBASE       = 0x40, /* configuration registers */
    ICH9_ACPI_CNTL    = 0x44, /* bit 7 enables the ports at PMBASE */
    ICH9_PIRQA        = 0x60, /* PIRQA to PIRQD; E to H from 68h on */
    ICH9_PIRQE        = 0x68,
    ICH9_RCBA         = 0xf0, /* bit 0 enables the chipset configuration registers */
    ICH9_PIRQS        = 8,
    ICH9_FIRST_GSI    = 16, /* PIRQA's */
    ICH9_ACPI_ENABLED = 0x80,
};
#define ICH9_RCBA_BASE UINT64_C(0xfed1c000) /* suggested; 16 KiB */
#define ICH9_RCBA_SIZE UINT64_C(0x4000)

/* The PIRQ (0 is PIRQA) of a pin (0..3) of a slot on bus 0, as the registers have it after reset: what _PRT says. */
unsigned ich9_pirq(unsigned slot, unsigned pin);

/* Makes it at 1f.0, offers "isa.0", takes over the bus's interrupt lines and CF9h. platform->isa_irq and gsi must be
 * there by then. `smi` may be NULL: it is pulsed for an SMI; `smi_all` for one that goes to all processors. */
Ich9Lpc *ich9_lpc_create(Platform *platform, PciHost *host, IrqPin *smi, IrqPin *smi_all, Error *err);
Ich9Pm  *ich9_lpc_pm(Ich9Lpc *lpc);

/* Lets firmware ask for SMIs to all processors. Before the first reset. */
bool ich9_lpc_offer_smi_features(Ich9Lpc *lpc, FwCfg *fw_cfg, Error *err);
bool ich9_lpc_sends_smi_to_all(const Ich9Lpc *lpc);

#endif
