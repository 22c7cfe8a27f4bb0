/* Small wiring: one line to several pins, several lines to one. */

#ifndef QUERN_DEVICES_IRQ_GATES_H
#define QUERN_DEVICES_IRQ_GATES_H

#include "devices/irq.h"

#include <stdint.h>

/* A pin that passes its level on to two others (either may be NULL): an ISA interrupt to the 8259 and I/O APIC. */
typedef struct IrqSplit {
    IrqPin  in;
    IrqLine out[2];
} IrqSplit;

void irq_split_init(IrqSplit *split, IrqPin *first, IrqPin *second);

/* Up to 8 pins, the output is high while one of them is. */
typedef struct IrqOr {
    IrqPin  in[8];
    uint8_t levels;
    IrqLine out;
} IrqOr;

void irq_or_init(IrqOr *gate, IrqPin *out);

#endif
