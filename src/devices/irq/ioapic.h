/* The 82093AA I/O APIC. See ioapic.c. */

#ifndef QUERN_DEVICES_IRQ_IOAPIC_H
#define QUERN_DEVICES_IRQ_IOAPIC_H

#include "devices/device.h"
#include "devices/irq/apic.h"

typedef struct IoApic IoApic; /* "ioapic" */

enum { IOAPIC_PINS = 24, IOAPIC_ADDRESS = 0xfec00000 };

/* Makes it at IOAPIC_ADDRESS, with inputs 0..23 (unnamed group). The board points platform->gsi at them. */
IoApic *ioapic_create(Platform *platform, ApicBus *bus, uint8_t id, Error *err);
IoApic *ioapic_create_at(Platform *platform, ApicBus *bus, uint8_t id, uint64_t address,
                         Error *err); /* a further one */
IrqPin *ioapic_input(IoApic *ioapic, unsigned pin);

/* What there is beside the levels of the pins. */
typedef struct IoApicState {
    uint8_t  ioregsel;
    uint32_t apic_id; /* as the register has it */
    uint64_t rte[IOAPIC_PINS];
} IoApicState;

/* An I/O APIC that runs elsewhere, in the host's kernel: from now on pins go there, and this one only keeps the state
 * while the machine stands. NULL: back to this one. Machine lock held. */
void        ioapic_set_external(IoApic *io, void (*set_pin)(void *opaque, unsigned pin, int level), void *opaque);
IoApicState ioapic_get_state(const IoApic *io);
void        ioapic_set_state(IoApic *io, const IoApicState *state);
uint32_t    ioapic_get_lines(const IoApic *io);

/* Hears of each entry that changed, with the message it sends; NULL: it is masked. For those who must know in advance
 * which vectors are level-triggered. Machine lock held. */
void ioapic_on_change(IoApic *io, void (*changed)(void *opaque, unsigned pin, const ApicMessage *message),
                      void   *opaque);

#endif
