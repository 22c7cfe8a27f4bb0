/* The 8042 keyboard controller with a PS/2 keyboard and mouse. See i8042.c. */

#ifndef QUERN_DEVICES_INPUT_I8042_H
#define QUERN_DEVICES_INPUT_I8042_H

#include "devices/device.h"

typedef struct I8042 I8042; /* "i8042" */

/* Makes it at 60h and 64h. Interrupts go to platform->isa_irq[1] and [12]; `a20` (may be NULL) hears the A20 gate:
 * 1 is open. */
I8042 *i8042_create(Platform *platform, IrqPin *a20, Error *err);

#endif
