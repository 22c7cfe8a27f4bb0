/* The pair of 8259A interrupt controllers of a PC. See i8259.c. */

#ifndef QUERN_DEVICES_IRQ_I8259_H
#define QUERN_DEVICES_IRQ_I8259_H

#include "devices/device.h"

typedef struct I8259 I8259; /* "isa-i8259" */

/* Makes the pair at 20h and A0h, ELCR at 4D0h, with its output on `intr` (LINT0 of the boot processor; may be
 * NULL). Inputs: unnamed group of 16; input 2 is the cascade and does nothing. */
I8259  *i8259_create(Platform *platform, IrqPin *intr, Error *err);
IrqPin *i8259_input(I8259 *pic, unsigned irq);

/* The INTA cycles: the vector of the highest request, which goes into service. Spurious: vector 7 (or 15) of the
 * controller. Machine lock held. */
uint8_t i8259_ack(I8259 *pic);

/* Is INTR high? */
bool i8259_pending(const I8259 *pic);

/* ELCR as one 16-bit value, and setting it (what firmware does for PIRQs in direct boot). */
uint16_t i8259_get_elcr(const I8259 *pic);
void     i8259_set_elcr(I8259 *pic, uint16_t elcr);

#endif
