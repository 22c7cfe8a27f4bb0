/* The 82093AA I/O APIC. See ioapic.c. */

#ifndef QUERN_DEVICES_IRQ_IOAPIC_H
#define QUERN_DEVICES_IRQ_IOAPIC_H

#include "devices/device.h"
#include "devices/irq/apic.h"

typedef struct IoApic IoApic; /* "ioapic" */

enum { IOAPIC_PINS = 24, IOAPIC_ADDRESS = 0xfec00000 };

/* Makes it at IOAPIC_ADDRESS, with inputs 0..23 (unnamed group). The board points platform->gsi at them. */
IoApic *ioapic_create(Platform *platform, ApicBus *bus, uint8_t id, Error *err);
IrqPin *ioapic_input(IoApic *ioapic, unsigned pin);

#endif
