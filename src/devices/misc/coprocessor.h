/* The coprocessor error register, port F0h. See coprocessor.c. */

#ifndef QUERN_DEVICES_MISC_COPROCESSOR_H
#define QUERN_DEVICES_MISC_COPROCESSOR_H

#include "devices/device.h"

/* `ignne` hears IGNNE# (1: asserted), platform->isa_irq[13] the interrupt. Returns the pin for FERR# (1: asserted), or
 * NULL. */
IrqPin *coprocessor_create(Platform *platform, IrqPin *ignne, Error *err);

#endif
