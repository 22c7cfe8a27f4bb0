/* The 82371SB (PIIX3) ISA bridge: PIRQ routing and the reset control register. See piix3.c. */

#ifndef QUERN_DEVICES_PCI_PIIX3_H
#define QUERN_DEVICES_PCI_PIIX3_H

#include "devices/pci/i440fx.h"

typedef struct Piix3 Piix3; /* "PIIX3" at 01.0, multifunction, with the bus "isa.0" */

/* Makes it at 01.0, offers "isa.0", takes over the bus's interrupt lines and CF9h. PIRQn goes to ISA interrupt
 * PIRQRC[n] & 15 unless bit 7 is set (registers 60h..63h): platform->isa_irq must be there by then.
 * Line of a function's pin: (slot - 1 + pin) % 4, 0 is PIRQA, INTA is pin 0: what _PRT must say. */
Piix3 *piix3_create(Platform *platform, PciHost *host, Error *err);
Bus   *piix3_isa_bus(Piix3 *bridge);

/* Extra source on an ISA interrupt that PIRQs may share: the ACPI SCI (9). */
IrqPin *piix3_sci_input(Piix3 *bridge);

#endif
